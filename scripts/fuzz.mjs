// Random queries for as long as you like: `npm run fuzz -- --minutes N`. Needs the addon (`npm run build:dev`).
//
//   --minutes N   how long; default 5
//   --seed S      only this seed, as an error names it
//   --only TEXT   only tests whose name contains TEXT
//
// Each round has a seed, and events, of its own: the database against the reference evaluator, and broken queries
// against all that must not happen. The server is the one of TAMMA_TEST_DATABASE_URL, else the embedded PostgreSQL.
import { randomInt } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Steps, tool } from './steps.mjs'

/** The longest round: what is wrong with some events shows soon, or not with them. */
const ROUND = 4
const FILES = ['differential', 'differential-groups', 'malformed-fuzz'].map(name => `__test__/${name}.test.ts`)

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '5' }, seed: { type: 'string' }, only: { type: 'string' } }
})
const minutes = Number(values.minutes)
if (!(minutes > 0)) throw new Error('--minutes must be a number of minutes')

const steps = new Steps('fuzz')
const folder = mkdtempSync(join(tmpdir(), 'tamma-fuzz-'))
chmodSync(folder, 0o755) // as root, the server runs as another user, who has to come in

/** Rounds until the time is up, or something is wrong. */
async function rounds(url) {
  const until = performance.now() + minutes * 60_000
  for (;;) {
    const left = (until - performance.now()) / 60_000
    if (left <= 0.05) return
    const seed = values.seed ?? String(randomInt(2 ** 31))
    const only = values.only ? ['--testNamePattern', values.only] : []
    const well = await steps.run(
      `seed ${seed}`,
      [...tool('vitest/vitest.mjs'), 'run', '--retry=0', ...FILES, ...only],
      {
        TAMMA_TEST_DATABASE_URL: url,
        TAMMA_SEED: seed,
        TAMMA_FUZZ_MINUTES: String(Math.min(left, ROUND))
      }
    )
    if (!well || values.seed) return
  }
}

async function embedded() {
  const { startEmbedded } = createRequire(import.meta.url)('../lib/embedded/index.js')
  const server = await startEmbedded({ directory: join(folder, 'database'), persistent: false })
  try {
    await rounds(server.url)
  } finally {
    await server.stop()
  }
}

try {
  const given = process.env.TAMMA_TEST_DATABASE_URL
  await (given ? rounds(given) : embedded())
} finally {
  rmSync(folder, { recursive: true, force: true })
  steps.close()
}
