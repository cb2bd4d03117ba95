// Parallel queries: the answer is that of one statement, whatever is written meanwhile.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventQuery, EventsClient } from '../index.js'
import { TestDatabase } from './support/database'

const EVENTS = 20_000

let database: TestDatabase
let client: EventsClient
beforeAll(async () => {
  database = await TestDatabase.create({ events: EVENTS })
  client = await database.connect()
}, 60_000)
afterAll(() => database?.drop())

/** The same query by one statement and by slices. */
async function both(query: EventQuery, workers = 2) {
  const single = await client.optimizer.executeQuery(query)
  const sliced = await client.optimizer.executeQuery({ ...query, hints: { parallel: true, workers } })
  return { single, sliced, outcome: sliced.hints?.find(({ hint }) => hint === 'parallel') }
}

describe('groups', () => {
  it('counts and sums by slices of the table, as SQL by hand does', async () => {
    const result = await client
      .query()
      .groupBy(['type'])
      .count()
      .sum('data.n', 'total')
      .orderBy('type')
      .parallel(2)
      .execute()
    const { rows } = await database.admin.query(
      `SELECT event_type AS type, count(*)::int AS count, sum((data->>'n')::int)::int AS total
       FROM events GROUP BY 1 ORDER BY event_type COLLATE "C"`
    )
    expect(result.rows).toEqual(rows)
    expect(result.hints).toEqual([
      { hint: 'parallel', value: '2', honoured: true, how: '2 slices by the pages of the table' }
    ])
  })

  it.each<[string, Partial<EventQuery>]>([
    ['no groups', {}],
    ['groups', { groupBy: ['tags.issueId', 'data.list[0]'] }],
    ['buckets', { timeBucket: { interval: '1 hour' } }],
    ['months of a zone', { timeBucket: { interval: '1 month', timeZone: 'Asia/Kathmandu' } }]
  ])('merges every mergeable aggregate: %s', async (_, parts) => {
    const anywhere = ['count', 'sum', 'avg', 'min', 'max', 'stddev', 'variance'] as const
    const fns = [...anywhere, 'first', 'last'] as const
    const aggregates = fns.flatMap(fn =>
      ['data.half', 'data.list[1]', 'data.n'].map((field, i) => ({ fn, field, as: `${fn}${i}` }) as const)
    )
    const { single, sliced, outcome } = await both({ filter: {}, aggregates, ...parts, limit: 10_000 }, 4)
    expect(outcome).toMatchObject({ honoured: true, how: '4 slices by timestamp' })
    expect(sliced.rows).toEqual(single.rows)
    // Without the first and the last it does not matter which events a slice reads.
    const unordered = aggregates.filter(({ fn }) => fn !== 'first' && fn !== 'last')
    const pages = await both({ filter: {}, aggregates: unordered, ...parts, limit: 10_000 }, 3)
    expect(pages.outcome).toMatchObject({ honoured: true, how: '3 slices by the pages of the table' })
    expect(pages.sliced.rows).toEqual(pages.single.rows)
  })
})

it('says so where another hint, or the cache, answers by one statement', async () => {
  const query = client.query().where('type', 'eq', 'PR.MERGED.SUCCESS').groupBy(['type']).count().parallel(2)
  const outcome = { hint: 'parallel', honoured: false, reason: expect.stringMatching(/are not cut/u) }
  for (const other of [query.hint({ useIndex: ['idx_events_timestamp'] }), query.cache()]) {
    const { hints } = await other.execute()
    expect(hints?.filter(({ hint }) => hint === 'parallel')).toMatchObject([outcome])
  }
})
