// Random (query, index, hint) triples, each held against the server's counters and plans.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EventsClient } from '../index.js'
import { LIMIT, seedOf } from './reference/fuzz'
import { Random } from './reference/random'
import { TestDatabase } from './support/database'
import { checkTriple, type Ending, INDEXES, randomTriple } from './support/hint-triples'

const SEED = seedOf(4_2026)
/** In each of the two databases. `TAMMA_HINT_TRIPLES=5000` makes 10,000 of it. */
const TRIPLES = Number(process.env.TAMMA_HINT_TRIPLES ?? (process.env.TAMMA_FUZZ_MINUTES ? 5000 : 150))

describe.each([
  // Without statistics planning never looks at an index, so that the counters count the run alone.
  { statistics: false, exact: true },
  { statistics: true, exact: false }
])('statistics: $statistics', ({ statistics, exact }) => {
  let database: TestDatabase
  let client: EventsClient

  beforeAll(async () => {
    database = await TestDatabase.create()
    await database.admin.query('ALTER TABLE events SET (autovacuum_enabled = off)')
    await database.fill(6000)
    await database.admin.query(INDEXES)
    if (statistics) await database.admin.query('ANALYZE events, issues')
    else await database.admin.query("DELETE FROM pg_statistic WHERE starelid = 'events'::regclass")
    client = await database.connect({ pool: { max: 1 }, monitor: { persist: false } })
  })
  afterAll(() => database.drop())

  test('what is reported is what the server counted', { timeout: LIMIT + TRIPLES * 200 }, async () => {
    const endings = new Map<Ending, number>()
    for (let i = 0; i < TRIPLES; i++) {
      const triple = randomTriple(new Random(SEED + i))
      try {
        const ending = await checkTriple(database, client, triple, { exact, probe: true })
        endings.set(ending, (endings.get(ending) ?? 0) + 1)
      } catch (error) {
        throw new Error(`TAMMA_SEED=${SEED + i}: ${JSON.stringify(triple)}: ${(error as Error).message}`, {
          cause: error
        })
      }
    }
    console.log(`${TRIPLES} triples`, Object.fromEntries(endings))
    // Else the test shows less than it says.
    if (TRIPLES >= 100)
      for (const ending of ['planned so', 'by settings', 'predicate', 'cannot serve', 'other table'] as const)
        expect(endings.get(ending) ?? 0, ending).toBeGreaterThan(TRIPLES / 200)
  })
})
