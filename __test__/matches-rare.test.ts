// Where a step is rare, the keys that have it are found first: listed where they are few, joined by the server where they
// are many, and nothing is read where there are none. The matches are those of a plain walk over all events.
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { DomainEvent, EventSequence, EventsClient } from '../index.js'
import { TestDatabase } from './support/database'

let database: TestDatabase
let client: EventsClient
let events: DomainEvent[]

beforeAll(async () => {
  database = await TestDatabase.create()
  // 1,500 keys with texts that quoting must not bend; RARE in 30 of them, several times; FREQUENT in more than are listed.
  await database.admin.query(`
    INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data)
    SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(hashint8(i)::bit(32)::int8), 12, '0'))::uuid,
           CASE WHEN i <= 24000 THEN 'T.' || substr('AB', 1 + abs(hashint8(i * 7)) % 2, 1)
                WHEN i <= 24060 THEN 'T.RARE' ELSE 'T.FREQUENT' END,
           timestamptz '2026-01-01Z' + (abs(hashint8(i * 3)) % 5000) * interval '1 minute',
           jsonb_build_object('k', (ARRAY['it''s ', '{"a,\\"} ', 'é😀 '])[1 + k % 3] || k), '{}', '{}'
    FROM generate_series(1, 25260) AS i,
         LATERAL (SELECT CASE WHEN i <= 24000 THEN i % 1500 WHEN i <= 24060 THEN i % 30 * 7 ELSE i % 1200 END AS k) AS key`)
  await database.admin.query('ANALYZE events')
  client = await database.connect()
  events = (await client.query().orderBy('timestamp').execute()).rows
})
afterAll(() => database?.drop())

const step = (name: string) => ({ as: name, where: { eventTypes: [`T.${name}`] } })
const sequence = (...names: string[]): EventSequence => ({ by: ['tags.k'], steps: names.map(step) })

/** Two steps with `latest`: the second goes with the last of the first that no other match took. */
function walked(first: string, second: string) {
  const open = new Map<string, DomainEvent>()
  const found: string[][] = []
  for (const event of events) {
    const key = event.tags.k ?? ''
    if (event.type === `T.${first}`) open.set(key, event)
    const begun = open.get(key)
    if (event.type !== `T.${second}` || begun === undefined) continue
    open.delete(key)
    found.push([begun.id, event.id])
  }
  return found.sort()
}

async function matched(first: string, second: string) {
  const { rows } = await client.query().sequence(sequence(first, second)).execute()
  return rows.map(({ events }) => events.map(event => event?.id ?? '')).sort()
}

it.each([
  ['A', 'RARE'],
  ['RARE', 'B'],
  ['A', 'FREQUENT'],
  ['FREQUENT', 'RARE'],
  ['A', 'B']
])('%s and then %s', async (first, second) => {
  const found = await matched(first, second)
  expect(found.length).toBeGreaterThan(10)
  expect(found).toEqual(walked(first, second))
})

it('a step that no event has', async () => {
  expect(await matched('A', 'NEVER')).toEqual([])
})

it('the plan says so', async () => {
  const rules = async (...names: string[]) =>
    (
      await client
        .query()
        .sequence(sequence(...names))
        .explain()
    ).rules.map(({ rule }) => rule)
  expect(await rules('A', 'RARE')).toContain('match-rare')
  expect(await rules('A', 'FREQUENT')).toContain('match-rare')
  expect(await rules('A', 'B')).not.toContain('match-rare')
})
