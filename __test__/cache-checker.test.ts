// Never stale: scripts/check-cache.mjs for a few seconds, or for as many reads as TAMMA_CHECK_READS says.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { TestDatabase } from './support/database'

const checker = fileURLToPath(new URL('../scripts/check-cache.mjs', import.meta.url))
const reads = Number(process.env.TAMMA_CHECK_READS ?? 2500)

it(
  `no answer of ${reads} is stale`,
  async () => {
    const database = await TestDatabase.create()
    await database.admin.query('ALTER TABLE events DISABLE TRIGGER tamma_1_refuse_truncate')
    const run = promisify(execFile)(
      process.execPath,
      [
        checker,
        '--url',
        database.url,
        '--reads',
        String(reads),
        '--truncates',
        '--burst',
        '10',
        '--quiet',
        '0.3',
        '--claimers',
        '64'
      ],
      {
        maxBuffer: 64 << 20
      }
    )
    const { stdout } = await run.catch((failed: { stdout: string }) => failed)
    const told = JSON.parse(stdout)
    expect(told.failures, `seed ${told.seed}`).toEqual([])
    expect(told.reads).toBeGreaterThanOrEqual(reads)
    expect(told.compared).toBeGreaterThan(reads / 4)
    expect(told.followed).toBeGreaterThan(0)
    expect(told.claimed).toBeGreaterThan(0)
    expect(told.conflicts).toBeGreaterThan(0)
    for (const way of ['strict memory', 'strict delta', 'strict miss', 'bounded memory', 'session delta'])
      expect(told.outcomes[way], way).toBeGreaterThan(0)
    await database.drop()
  },
  reads * 60 + 60_000
)
