// Answers of many groups of which new events touch a few: those alone are made anew, and the whole is what a direct
// read gives all the same, its order, its cut and its cursor included.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventQuery, EventsClient, NewEvent, QueryResult } from '../index.js'
import { TestDatabase } from './support/database'
import { random } from './support/wait'

let database: TestDatabase
let events: EventsClient

const DAY = 86_400_000
const START = Date.UTC(2024, 2, 1)

beforeAll(async () => {
  database = await TestDatabase.create()
  events = await database.connect()
  const next = random(11)
  for (let i = 0; i < 6; i++) await events.append(Array.from({ length: 1000 }, () => made(next, 10)))
})
afterAll(() => database.drop())

/** An event of one of 600 keys, within `days` of the start: some of them far earlier, where buckets are few. */
function made(next: () => number, days: number): NewEvent {
  const pick = <T>(items: readonly T[]) => items[Math.floor(next() * items.length)] as T
  const at = next() < 0.02 ? START - Math.floor(next() * 400) * DAY : START + next() * days * DAY
  return {
    type: pick(['A.B.C', 'A.B.D', 'Z.Z.Z']),
    timestamp: new Date(at).toISOString(),
    // The square makes some keys far more frequent than others.
    tags: { key: `k${Math.floor(next() * next() * 600)}`, side: pick(['é', 'x', '']) },
    data: { n: pick([0, 1, -1, 0.1, 7.5, 'text', null]), k: pick([1, 'one', null, true]) }
  }
}

const count = [{ fn: 'count' }] as const
const QUERIES: Record<string, EventQuery> = {
  'the most frequent': {
    filter: {},
    groupBy: ['tags.key'],
    aggregates: [...count, { fn: 'avg', field: 'data.n', as: 'avg' }],
    orderBy: [{ field: 'count', direction: 'desc' }],
    limit: 10
  },
  'the rarest, which new events make less rare': {
    filter: {},
    groupBy: ['tags.key'],
    aggregates: count,
    orderBy: [{ field: 'count', direction: 'asc' }],
    limit: 7
  },
  'those of a sum that goes up and down': {
    filter: {},
    groupBy: ['tags.key', 'tags.side'],
    aggregates: [
      { fn: 'sum', field: 'data.n', as: 's' },
      { fn: 'max', field: 'timestamp', as: 'last' }
    ],
    orderBy: [{ field: 's', direction: 'desc', nulls: 'last' }],
    limit: 25
  },
  'those above a bound': {
    filter: { eventTypes: ['A.*'] },
    groupBy: ['tags.key'],
    aggregates: [{ fn: 'count' }, { fn: 'stddev', field: 'data.n', as: 'sd' }],
    having: { field: 'count', op: 'between', value: [5, 12] },
    orderBy: [{ field: 'count', direction: 'desc' }],
    limit: 15
  },
  'by key': { filter: {}, groupBy: ['tags.key'], aggregates: count, limit: 20 },
  'by a JSON value': {
    filter: {},
    groupBy: ['data.k', 'tags.key'],
    aggregates: count,
    orderBy: [{ field: 'count', direction: 'desc' }],
    limit: 5
  },
  'the busiest hours': {
    filter: {},
    timeBucket: { interval: '1 hour' },
    groupBy: ['type'],
    aggregates: [...count, { fn: 'median', field: 'data.n', as: 'm' }],
    orderBy: [{ field: 'count', direction: 'desc' }],
    limit: 12
  },
  hours: { filter: {}, timeBucket: { interval: '1 hour' }, groupBy: ['type', 'tags.side'], aggregates: count },
  'hours, the last first': {
    filter: {},
    timeBucket: { interval: '1 hour' },
    groupBy: ['tags.key'],
    aggregates: [...count, { fn: 'sum', field: 'data.n', as: 's' }],
    orderBy: [
      { field: 'bucket', direction: 'desc' },
      { field: 'count', direction: 'desc' },
      { field: 'tags.key', direction: 'asc' }
    ]
  },
  'hours, where there are enough': {
    filter: {},
    timeBucket: { interval: '1 hour', timeZone: 'Europe/Berlin' },
    groupBy: ['data.k'],
    aggregates: count,
    having: { field: 'count', op: 'gte', value: 7 }
  },
  percentiles: {
    filter: {},
    timeBucket: { interval: '30 minutes' },
    groupBy: ['type'],
    aggregates: [
      { fn: 'percentile', percentile: 0.95, field: 'data.n', as: 'p95' },
      { fn: 'mode', field: 'tags.side', as: 'side' }
    ]
  },
  'days by the clock': {
    filter: {},
    timeBucket: { interval: '1 minute' },
    groupBy: ['type'],
    aggregates: count,
    timeWindow: { last: '30 minutes' }
  },
  'hours by their counts': {
    filter: {},
    timeBucket: { interval: '1 hour' },
    aggregates: count,
    orderBy: [
      { field: 'count', direction: 'desc' },
      { field: 'bucket', direction: 'asc' }
    ]
  }
}

const direct = (query: EventQuery) => events.optimizer.executeQuery(query) as Promise<QueryResult<object>>
const cached = (query: EventQuery) => direct({ ...query, hints: { cache: { consistency: 'strict' } } })

async function follows(query: EventQuery, rounds: number) {
  const seed = Number(process.env.TAMMA_SEED ?? Date.now() % 1e6)
  const next = random(seed)
  const outcomes: string[] = []
  for (let round = 0; round < rounds; round++) {
    if (round > 0) {
      const some = Array.from({ length: 1 + Math.floor(next() * 40) }, () => made(next, 14))
      if (query.timeWindow !== undefined) for (const event of some) event.timestamp = new Date().toISOString()
      await events.append(some)
    }
    const [before, kept, after] = [await direct(query), await cached(query), await direct(query)]
    if (JSON.stringify(before.rows) !== JSON.stringify(after.rows)) continue
    outcomes.push(kept.cache)
    expect(kept.rows, `seed ${seed}, round ${round}`).toEqual(before.rows)
    expect(kept.rowCount).toBe(before.rows.length)
    expect(kept.nextCursor).toBe(before.nextCursor)
  }
  return outcomes
}

describe.each(Object.entries(QUERIES))('%s', (name, query) => {
  it('is what a direct read gives, after every batch of new events', async () => {
    const before = (await events.cache.getCacheStats()).spliced
    const outcomes = await follows(query, 25)
    expect(new Set(outcomes.slice(1))).not.toContain('miss')
    const spliced = (await events.cache.getCacheStats()).spliced - before
    // Some orders can't be put together from parts. Keys that are equal without being the same bytes are now and then
    // among the new ones.
    if (name === 'hours by their counts') expect(spliced).toBe(0)
    else if (name !== 'by a JSON value') expect(spliced, outcomes.join()).toBeGreaterThan(10)
  })

  it('is so page by page', async () => {
    if (query.limit === undefined) return
    const { nextCursor } = await direct(query)
    if (nextCursor === undefined) return
    await follows({ ...query, after: nextCursor }, 10)
  })
})

it('the first are looked for among all once too few of those before are left', async () => {
  const add = (keys: string[]) => events.append(keys.map(key => ({ type: 'FALL.A.X', tags: { key } })))
  await add(Array.from({ length: 400 }, (_, i) => `f${String(i).padStart(3, '0')}`))
  const query: EventQuery = {
    filter: { eventTypes: ['FALL.A.X'] },
    groupBy: ['tags.key'],
    aggregates: [{ fn: 'count' }],
    orderBy: [{ field: 'count', direction: 'asc' }],
    limit: 5
  }
  await cached(query)
  for (let round = 0; round < 12; round++) {
    // Whoever is first now falls behind all that were not touched.
    const { rows } = await direct({ ...query, limit: 65 })
    await add(rows.map(row => (row as { 'tags.key': string })['tags.key']))
    expect(await cached(query), `round ${round}`).toMatchObject({ cache: 'delta', rows: (await direct(query)).rows })
  }
})

it('more groups than can be sent each time', async () => {
  await database.admin.query(
    `INSERT INTO events (event_id, event_type, "timestamp", tags)
     SELECT gen_random_uuid(), 'WIDE.A.X', now(), jsonb_build_object('key', 'w' || k % 120000) FROM generate_series(1, 120500) AS k`
  )
  const query: EventQuery = {
    filter: { eventTypes: ['WIDE.A.X'] },
    groupBy: ['tags.key'],
    aggregates: [{ fn: 'count' }],
    orderBy: [{ field: 'count', direction: 'desc' }],
    limit: 5
  }
  await cached(query)
  for (let i = 0; i < 3; i++) {
    await events.append([1, 2, 3].map(n => ({ type: 'WIDE.A.X', tags: { key: `w${9000 * n + i}` } })))
    await events.append([{ type: 'WIDE.A.X', tags: { key: 'w77777' } }])
    expect(await cached(query)).toMatchObject({ cache: 'delta', rows: (await direct(query)).rows })
  }
})

it('what has left a window that ends at the clock is gone', async () => {
  const query: EventQuery = {
    filter: { eventTypes: ['LEFT.A.X'] },
    timeBucket: { interval: '1 second' },
    aggregates: [{ fn: 'count' }],
    timeWindow: { last: '2 seconds' }
  }
  for (let i = 0; i < 4; i++) {
    await events.append([{ type: 'LEFT.A.X' }])
    const kept = await cached(query)
    const { rows } = await direct(query)
    // The clock may pass an edge between the two.
    if (i > 0 && rows.length === kept.rows.length) expect(kept.rows).toEqual(rows)
    expect(kept.rows.length).toBeLessThan(4)
    await sleep(1300)
  }
})

it('numbers that are equal and written differently are one group', async () => {
  const insert = (k: string, times: number) =>
    database.admin.query(
      `INSERT INTO events (event_id, event_type, "timestamp", data)
       SELECT gen_random_uuid(), 'EQUAL.A.X', now(), jsonb_build_object('k', $1::numeric) FROM generate_series(1, $2)`,
      [k, times]
    )
  await database.admin.query(
    `INSERT INTO events (event_id, event_type, "timestamp", data)
     SELECT gen_random_uuid(), 'EQUAL.A.X', now(), jsonb_build_object('k', k) FROM generate_series(1, 300) AS k, generate_series(1, k) AS i`
  )
  const query: EventQuery = {
    filter: { eventTypes: ['EQUAL.A.X'] },
    groupBy: ['data.k'],
    aggregates: [{ fn: 'count' }],
    orderBy: [{ field: 'count', direction: 'desc' }],
    limit: 3
  }
  expect((await cached(query)).rows[0]).toEqual({ 'data.k': 300, count: 300 })
  // Far from the first, and then the first of all.
  await insert('100.0', 250)
  expect((await cached(query)).rows[0]).toEqual({ 'data.k': 100, count: 350 })
  await insert('100.00', 1)
  expect(await cached(query)).toMatchObject({ cache: 'delta', rows: (await direct(query)).rows })
})

it('keeps the limit of a result', async () => {
  const small = await database.connect({ limits: { maxRows: 60 } })
  const query = small
    .query()
    .where({ eventTypes: ['GROW.A.X'] })
    .timeBucket('1 minute')
    .count()
    .cache({ consistency: 'strict' })
  const add = (from: number, many: number) =>
    events.append(
      Array.from({ length: many }, (_, i) => ({
        type: 'GROW.A.X',
        timestamp: new Date(START + (from + i) * 60_000).toISOString()
      }))
    )
  await add(0, 50)
  expect((await query.execute()).rows).toHaveLength(50)
  await add(50, 10)
  expect(await query.execute()).toMatchObject({ cache: 'delta', rowCount: 60 })
  await add(60, 1)
  await expect(query.execute()).rejects.toMatchObject({ code: 'RESULT_TOO_LARGE' })
})
