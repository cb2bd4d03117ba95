// Grouped answers that are kept current by what new events add to their groups: equal, to the last digit, to
// the same question asked directly.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventQuery, EventsClient, NewEvent, QueryResult } from '../index.js'
import { TestDatabase } from './support/database'
import { random } from './support/wait'

let database: TestDatabase
let events: EventsClient

beforeAll(async () => {
  database = await TestDatabase.create()
  events = await database.connect()
})
afterAll(() => database.drop())

const aggregates = [
  { fn: 'count' },
  { fn: 'count', field: 'data.n', as: 'ns' },
  { fn: 'sum', field: 'data.n', as: 'sum' },
  { fn: 'avg', field: 'data.n', as: 'avg' },
  { fn: 'min', field: 'data.n', as: 'min' },
  { fn: 'max', field: 'data.n', as: 'max' },
  { fn: 'stddev', field: 'data.n', as: 'sd' },
  { fn: 'variance', field: 'data.n', as: 'variance' },
  { fn: 'min', field: 'timestamp', as: 'first_at' },
  { fn: 'max', field: 'type', as: 'last_type' },
  { fn: 'sum', field: 'data.n', as: 'some', where: { field: 'tags.a', op: 'eq', value: 'x' } }
] as const

const window = { from: '2024-03-01T00:00:00Z', to: '2024-03-03T00:00:00Z' }
const DELTA: Record<string, EventQuery> = {
  whole: { filter: {}, aggregates },
  'by a column': { filter: {}, groupBy: ['type'], aggregates },
  'by a tag and a JSON value': { filter: {}, groupBy: ['tags.a', 'data.k'], aggregates },
  'groups alone': { filter: {}, groupBy: ['data.k'] },
  'the largest': {
    filter: {},
    groupBy: ['tags.b'],
    aggregates: [{ fn: 'count' }, { fn: 'sum', field: 'data.n', as: 's' }],
    orderBy: [{ field: 's', direction: 'desc' }],
    limit: 3
  },
  'some of the largest': {
    filter: {},
    groupBy: ['tags.b'],
    aggregates: [{ fn: 'count' }],
    having: { field: 'count', op: 'gt', value: 3 },
    orderBy: [{ field: 'count', direction: 'desc' }],
    limit: 2,
    offset: 1
  },
  hours: { filter: {}, timeBucket: { interval: '1 hour' }, groupBy: ['type'], aggregates, timeWindow: window },
  'days of a zone, filled': {
    filter: {},
    timeBucket: { interval: '1 day', timeZone: 'Europe/Berlin', fill: 'previous' },
    aggregates: [{ fn: 'count' }, { fn: 'avg', field: 'data.n', as: 'avg' }],
    timeWindow: window
  },
  'hours, between the lines': {
    filter: {},
    timeBucket: { interval: '3 hours', fill: 'linear' },
    groupBy: ['tags.a'],
    aggregates: [{ fn: 'sum', field: 'data.n', as: 's' }],
    timeWindow: window
  },
  months: { filter: {}, timeBucket: { interval: '1 month' }, aggregates },
  'what only whole buckets tell': {
    filter: {},
    timeBucket: { interval: '1 day', timeZone: 'America/New_York', fill: 'null' },
    groupBy: ['data.k'],
    aggregates: [
      { fn: 'median', field: 'data.n', as: 'median' },
      { fn: 'percentile', percentile: 0.95, field: 'data.n', as: 'p95' },
      { fn: 'mode', field: 'tags.b', as: 'mode' },
      { fn: 'countDistinct', field: 'data.k', as: 'kinds' },
      { fn: 'first', field: 'data.n', as: 'first' },
      { fn: 'last', field: 'tags.a', as: 'last' }
    ],
    timeWindow: window
  },
  'months, whole': {
    filter: { tags: { a: ['x', 'y'] } },
    timeBucket: { interval: '1 month' },
    aggregates: [{ fn: 'median', field: 'data.n', as: 'm' }]
  },
  'a window that ends at the clock': {
    filter: {},
    timeBucket: { interval: '1 minute', fill: 'zero' },
    aggregates: [{ fn: 'count' }, { fn: 'max', field: 'data.n', as: 'max' }],
    timeWindow: { last: '10 minutes' }
  }
}

const direct = (query: EventQuery) => events.optimizer.executeQuery(query) as Promise<QueryResult<object>>
const cached = (query: EventQuery) => direct({ ...query, hints: { cache: { consistency: 'strict' } } })

const NUMBERS = [0, 1, -1, 0.1, 0.25, 1e-9, 123456789.123, 1e15, -7.5, 3]

function made(next: () => number, now: number): NewEvent {
  const pick = <T>(items: readonly T[]) => items[Math.floor(next() * items.length)] as T
  // Some of long ago, some late, some of now.
  const at = pick([Date.UTC(2024, 2, 1) + next() * 2.5 * 86_400_000, now - next() * 900_000, Date.UTC(2023, 5, 1)])
  return {
    type: pick(['A.B.C', 'A.B.D', 'Z.Z.Z']),
    timestamp: new Date(at).toISOString(),
    tags: { a: pick(['x', 'y', 'é']), b: String(Math.floor(next() * 6)) },
    data: { n: pick([...NUMBERS, 'text', null]), k: pick([1, 1.5, 'one', null, true, [1, 2], { a: 1 }]) }
  }
}

/** Rows come in no order that was not asked for. */
const sorted = (query: EventQuery, rows: object[]) =>
  query.orderBy || query.timeBucket ? rows : rows.map(row => JSON.stringify(row)).sort()

describe.each(Object.entries(DELTA))('%s', (_, query) => {
  it('is what a direct read gives, after every batch of new events', async () => {
    const seed = Number(process.env.TAMMA_SEED ?? Date.now() % 1e6)
    const next = random(seed)
    const outcomes = new Set<string>()
    for (let round = 0; round < 12; round++) {
      if (round > 0)
        await events.append(Array.from({ length: 1 + Math.floor(next() * 20) }, () => made(next, Date.now())))
      const [before, kept, after] = [await direct(query), await cached(query), await direct(query)]
      outcomes.add(kept.cache)
      // The clock may pass an edge between the three.
      if (JSON.stringify(sorted(query, before.rows)) !== JSON.stringify(sorted(query, after.rows))) continue
      expect(sorted(query, kept.rows), `seed ${seed}, round ${round}`).toEqual(sorted(query, before.rows))
      expect(kept.nextCursor).toBe(before.nextCursor)
    }
    // Nothing was read anew but the first time; where no new event matched, nothing was read at all.
    outcomes.delete('memory')
    expect([...outcomes].sort()).toEqual(['delta', 'miss'])
  })
})

it('adds contributions up once there are many, and stays right', async () => {
  const query: EventQuery = { filter: { eventTypes: ['MANY.A.X'] }, groupBy: ['tags.k'], aggregates: [{ fn: 'count' }] }
  const add = (from: number, count: number) =>
    events.append(
      Array.from({ length: count }, (_, i) => ({ type: 'MANY.A.X', tags: { k: String((from + i) % 500) } }))
    )
  await cached(query)
  for (let n = 0; n < 8; n++) {
    await add(n * 37, 1000)
    const { rows, cache } = await cached(query)
    expect(cache).toBe('delta')
    expect(sorted(query, rows)).toEqual(sorted(query, (await direct(query)).rows))
  }
})

it('reads anew where the delta is larger than it is worth', async () => {
  const query: EventQuery = { filter: { eventTypes: ['BULK.A.X'] }, aggregates: [{ fn: 'count' }] }
  await cached(query)
  await database.admin.query(
    `INSERT INTO events (event_id, event_type, "timestamp") SELECT gen_random_uuid(), 'BULK.A.X', now() FROM generate_series(1, 81000)`
  )
  expect(await cached(query)).toMatchObject({ cache: 'miss', rows: [{ count: 81000 }] })
})

it('keeps what can only be read anew while nothing matches, and reads it anew once something does', async () => {
  const aggregates = [
    { fn: 'median', field: 'data.n', as: 'm' },
    { fn: 'mode', field: 'tags.b', as: 'mode' },
    { fn: 'countDistinct', field: 'tags.b', as: 'd' },
    { fn: 'last', field: 'data.n', as: 'l' }
  ] as const
  const query: EventQuery = { filter: { eventTypes: ['Z.Z.Z'] }, aggregates }
  await cached(query)
  await events.append([{ type: 'OTHER.A.X' }])
  expect((await cached(query)).cache).toBe('memory')
  await events.append([{ type: 'Z.Z.Z', data: { n: 77 }, tags: { b: '3' } }])
  const kept = await cached(query)
  expect(kept.cache).toBe('miss')
  expect(kept.rows).toEqual((await direct(query)).rows)
})

it('partitions: attached, detached, truncated and written to directly', async () => {
  const other = await TestDatabase.create()
  const { admin } = other
  const client = await other.connect()
  await admin.query(`
    ALTER TABLE events RENAME TO old; DROP TABLE old CASCADE;
    CREATE TABLE events (event_id uuid, event_type text COLLATE "C" NOT NULL, "timestamp" timestamptz NOT NULL,
      tags jsonb NOT NULL DEFAULT '{}', metadata jsonb NOT NULL DEFAULT '{}', data jsonb NOT NULL DEFAULT '{}',
      created_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (event_id, "timestamp")) PARTITION BY RANGE ("timestamp");
    CREATE TABLE p1 PARTITION OF events FOR VALUES FROM ('2024-01-01Z') TO ('2024-02-01Z');
    DROP TABLE IF EXISTS events_migrations`)
  await client.close()
  const migrated = await other.connect({ migrate: true }).catch(() => undefined)
  // Where this version cannot adopt a partitioned table there is nothing to show.
  if (migrated === undefined) return other.drop()
  const count = async () => {
    const asked = migrated.query().count().cache({ consistency: 'strict' })
    const { rows, cache } = await asked.execute()
    return [cache, rows[0]?.count]
  }
  const insert = (table: string, at: string) =>
    admin.query(`INSERT INTO ${table} (event_id, event_type, "timestamp") VALUES (gen_random_uuid(), 'A', $1)`, [at])
  await insert('events', '2024-01-05Z')
  expect((await count())[1]).toBe(1)
  await insert('p1', '2024-01-06Z')
  expect((await count())[1]).toBe(2)
  await admin.query(
    `CREATE TABLE p2 (LIKE events INCLUDING ALL EXCLUDING IDENTITY); ALTER TABLE p2 ALTER COLUMN position SET DEFAULT 1`
  )
  await insert('p2', '2024-02-05Z')
  expect((await count())[1]).toBe(2)
  await admin.query(`BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE;
    ALTER TABLE events ATTACH PARTITION p2 FOR VALUES FROM ('2024-02-01Z') TO ('2024-03-01Z'); COMMIT`)
  expect((await count())[1]).toBe(3)
  await admin.query('TRUNCATE p2')
  expect((await count())[1]).toBe(2)
  await admin.query('ALTER TABLE events DETACH PARTITION p1')
  expect((await count())[1]).toBe(0)
  await other.drop()
})
