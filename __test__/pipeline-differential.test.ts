// Random pipelines, answered by the database and by a plain reference over the same events.
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { EventsClient, PipelineStage } from '../index.js'
import { C_LOCALE } from './reference/condition'
import type { StoredEvent } from './reference/field'
import { again, each, LIMIT, seedOf } from './reference/fuzz'
import { PipelineGenerator } from './reference/generate-pipelines'
import { PipelineReference, sameRows } from './reference/pipeline'
import { Random } from './reference/random'
import { TestDatabase } from './support/database'

const SEED = seedOf(20_260_700)
const PIPELINES = 1200
let database: TestDatabase
let client: EventsClient
let events: StoredEvent[]

beforeAll(async () => {
  const random = new Random(SEED)
  const start = BigInt(Date.UTC(2026, 0, 1)) * 1000n
  let at = start
  events = Array.from({ length: 80 }, (_, i) => {
    if (!random.chance(0.3)) at += BigInt(random.int(90)) * 1_000_000n + BigInt(random.int(3))
    const data: StoredEvent['data'] = {}
    // Halves and quarters: a double holds their sums and products exactly.
    if (random.chance(0.8)) data.n = random.int(30) - 8
    if (random.chance(0.7)) data.d = random.int(40) / 4 - 3
    if (random.chance(0.8)) data.mixed = random.pick([1, 2.5, 'x', 'yy', null, true, [1], { a: 1 }])
    if (random.chance(0.6)) data.t = random.pick(['Alpha', 'beta', '', 'GAMMA'])
    return {
      id: `01900000-0000-7000-8000-${String(i).padStart(12, '0')}`,
      type: random.pick(['A.X', 'A.Y', 'B.X']),
      timestamp: at,
      createdAt: at,
      tags: (random.chance(0.8) ? { k: random.pick(['a', 'b', 'AB']) } : {}) as Record<string, string>,
      metadata: {},
      data
    }
  })
  database = await TestDatabase.create()
  client = await database.connect()
  await database.admin.query(
    `INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data)
     SELECT id, type, timestamptz '1970-01-01Z' + us * interval '1 microsecond', tags, '{}', data
     FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::jsonb[], $5::jsonb[]) AS r(id, type, us, tags, data)`,
    [
      events.map(e => e.id),
      events.map(e => e.type),
      events.map(e => String(e.timestamp)),
      events.map(e => JSON.stringify(e.tags)),
      events.map(e => JSON.stringify(e.data))
    ]
  )
})
afterAll(() => database?.drop())

/** An order for rows that come in none: numbers by their leading digits. */
const key = (row: unknown) =>
  JSON.stringify(row, (_, value) =>
    typeof value === 'number'
      ? Number(value.toPrecision(6))
      : value !== null && typeof value === 'object' && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).sort())
        : value
  )
const arranged = (rows: unknown[], ordered: boolean) =>
  ordered
    ? rows
    : rows
        .map(row => [key(row), row] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([, row]) => row)

async function check(stages: PipelineStage[], random: Random): Promise<string | undefined> {
  const reference = new PipelineReference(events, C_LOCALE)
  const expected = reference.run(stages)
  const { rows } = await client.analytics.pipeline(stages)
  const say = (got: unknown[]) =>
    `${JSON.stringify(stages)}\ngot      ${JSON.stringify(got).slice(0, 1500)}\nexpected ${JSON.stringify(expected).slice(0, 1500)}`
  if (!sameRows(arranged(rows, reference.ordered), arranged(expected, reference.ordered))) return say(rows)
  if (!random.chance(0.2)) return undefined
  // The same behind a facet, wherever it begins.
  const at = random.int(stages.length)
  const [row] = (await client.analytics.pipeline([...stages.slice(0, at), { facet: { 'the rest': stages.slice(at) } }]))
    .rows
  const inside = row['the rest'] as unknown[]
  return sameRows(arranged(inside, reference.ordered), arranged(expected, reference.ordered))
    ? undefined
    : `facet at ${at}: ${say(inside)}`
}

it('answers as the reference does', { timeout: LIMIT }, async () => {
  let answered = 0
  let asked = 0
  await each(SEED, PIPELINES, 0.2, 4, async seed => {
    const random = new Random(seed)
    const stages = new PipelineGenerator(random).pipeline()
    asked++
    const wrong = await check(stages, random).catch(error => `${JSON.stringify(stages)}\n${String(error)}`)
    if (wrong !== undefined) throw new Error(`${again(SEED, seed)}: ${wrong}`)
    if (new PipelineReference(events, C_LOCALE).run(stages).length > 0) answered++
  })
  if (asked > 100) expect(answered / asked).toBeGreaterThan(0.5)
})
