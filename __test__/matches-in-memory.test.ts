// Matches are the same whether the rows of all keys fit into memory or are sorted by the server, and whatever the keys
// are: texts, times, JSON of one value and several texts, several fields, none. Keys that share events with others, and
// events of the same time, are what the two ways could differ in.
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { EventPattern, EventSequence, EventsClient, FieldPath } from '../index.js'
import { TestDatabase } from './support/database'

let database: TestDatabase
let inMemory: EventsClient
let sorted: EventsClient

/** Enough for several threads. */
const ROWS = 12_000

beforeAll(async () => {
  database = await TestDatabase.create()
  // Times in steps of a minute, of several events each, which were not stored in order.
  await database.admin.query(`
    INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data)
    SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(hashint8(i)::bit(32)::int8), 12, '0'))::uuid,
           'T.' || substr('ABCX', 1 + abs(hashint8(i * 7)) % 4, 1),
           timestamptz '2026-01-01Z' + (abs(hashint8(i * 3)) % 500) * interval '1 minute',
           CASE WHEN i % 11 = 0 THEN '{}' ELSE jsonb_build_object('k', 'Key ' || i % 37, 'other', 'é' || i % 5) END,
           '{}',
           jsonb_build_object('n', ('["1", "1.0", 1, 1.0, 2, [1], [1.00], null, {"a": 1}, {"a": 1e0}]'::jsonb)->(i % 10), 'v', i % 13)
    FROM generate_series(1, ${ROWS}) AS i`)
  await database.admin.query('ANALYZE events')
  inMemory = await database.connect()
  // Rows of so many bytes are not kept; those of one key are.
  sorted = await database.connect({ limits: { maxResultBytes: 250_000 } })
})
afterAll(() => database?.drop())

async function all(client: EventsClient, what: { sequence: EventSequence } | { pattern: EventPattern }) {
  const query = client.query()
  const asked = 'sequence' in what ? query.sequence(what.sequence) : query.pattern(what.pattern)
  const rows: unknown[] = []
  for await (const row of asked.executeStream()) rows.push(row)
  return rows
}

const step = (letter: string) => ({ as: letter, where: { eventTypes: [`T.${letter}`] } })
const BY: FieldPath[][] = [['tags.k'], ['data.n'], ['tags.k', 'tags.other'], ['timestamp'], ['tags.k', 'data.n']]

it.each(BY.map(by => ({ by })))('sequences by $by', async ({ by }) => {
  for (const match of ['latest', 'first', 'all'] as const) {
    const maxSpan = match === 'all' ? '2 minutes' : '1 hour'
    const sequence: EventSequence = { by, steps: [step('A'), step('B')], match, maxSpan }
    const found = await all(inMemory, { sequence })
    expect(found.length).toBeGreaterThan(10)
    expect(await all(sorted, { sequence })).toEqual(found)
  }
})

it('sequences of several fields and of absent steps', async () => {
  const several: EventSequence = {
    steps: [
      { ...step('A'), by: ['tags.k'] },
      { ...step('B'), by: ['tags.other'] },
      { ...step('C'), by: ['tags.k'] }
    ]
  }
  const absent: EventSequence = {
    by: ['tags.k'],
    steps: [step('A'), { where: step('X').where, absent: true, gap: { max: '2 hours' } }]
  }
  for (const sequence of [several, absent])
    expect(await all(sorted, { sequence })).toEqual(await all(inMemory, { sequence }))
})

it.each(BY.map(by => ({ by })))('patterns by $by, with measures and the events of no match', async ({ by }) => {
  const pattern: EventPattern = {
    by,
    pattern: 'A (B | C)* D?',
    define: {
      A: step('A').where,
      B: step('B').where,
      C: { left: 'data.v', op: 'gte', right: { prev: 'data.v' } }
    },
    measures: { sum: { agg: 'sum', field: 'data.v' }, last: { last: 'data.v' } },
    rows: 'allWithUnmatched'
  }
  const found = await all(inMemory, { pattern })
  expect(found.length).toBeGreaterThan(100)
  expect(await all(sorted, { pattern })).toEqual(found)
})

it('funnels and retention', async () => {
  for (const by of [BY[0]!, BY[1]!]) {
    const funnel = (client: EventsClient) =>
      client.analytics.funnel([step('A'), step('B'), step('C')], { by, window: '6 hours' })
    const counts = await funnel(inMemory)
    expect(counts.steps[0]!.count).toBeGreaterThan(0)
    expect(await funnel(sorted)).toEqual(counts)
    const retention = (client: EventsClient) =>
      client.analytics.retention({
        by,
        start: step('A').where,
        returning: step('B').where,
        period: '1 hour',
        periods: 4
      })
    expect(await retention(sorted)).toEqual(await retention(inMemory))
  }
})

it('tell where the rows are sorted', async () => {
  const sequence: EventSequence = { by: ['tags.k'], steps: [step('A'), step('B')] }
  const rules = async (client: EventsClient) =>
    (await client.query().sequence(sequence).explain()).rules.map(({ rule }) => rule)
  expect(await rules(inMemory)).toContain('match-unsorted')
  const narrow = await database.connect({ limits: { maxResultBytes: 50_000 } })
  expect(await rules(narrow)).not.toContain('match-unsorted')
})
