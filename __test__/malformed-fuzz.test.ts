// Tens of thousands of broken queries: each is answered, or refused with an error that names a place in it.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type EventQuery, EventsError } from '../index.js'
import { again, each, LIMIT, seedOf } from './reference/fuzz'
import { Generator } from './reference/generate'
import { junk, mutated } from './reference/mutate'
import { Random } from './reference/random'
import { Subject } from './reference/subject'

const SEED = seedOf(20_260_102)
const QUERIES = 100_000
const WIDTH = 8

let subject: Subject
beforeAll(async () => {
  subject = await Subject.random(SEED, 40)
})
afterAll(() => subject?.drop())

it(
  `meets ${QUERIES} broken queries with answers and errors of its own`,
  async () => {
    const codes = new Map<string, number>()
    await each(SEED, QUERIES, 0.25, WIDTH, async query => {
      const random = new Random(query)
      const outcome = await run(random, brokenQuery(random))
      codes.set(outcome, (codes.get(outcome) ?? 0) + 1)
    })
    // Nothing but these occurs, as `run` has seen to; all of these do.
    const often = ['INVALID_QUERY', 'UNKNOWN_FIELD', 'UNKNOWN_TABLE', 'INDEX_HINT_NOT_HONOURED', 'answered']
    expect([...codes.keys()]).toEqual(expect.arrayContaining(often))
    const total = [...codes.values()].reduce((a, b) => a + b, 0)
    expect(codes.get('answered')).toBeGreaterThan(total / 20)
    expect((await subject.client.query().execute()).rowCount).toBe(40)
  },
  LIMIT
)

/** Codes that a query can be refused with before the server is asked for rows. */
const EXPECTED: readonly string[] = [
  'INVALID_QUERY',
  'UNKNOWN_FIELD',
  'UNKNOWN_TABLE',
  'UNKNOWN_INDEX',
  'INDEX_HINT_NOT_HONOURED',
  'UNSUPPORTED'
]

/** Parts that the generator does not make; each is broken with the rest. */
const PARTS: readonly Partial<EventQuery>[] = [
  { groupBy: ['type', 'data.n'] },
  {
    aggregates: [
      { fn: 'sum', field: 'data.n', as: 's' },
      { fn: 'percentile', field: 'data.n', percentile: 0.5 }
    ]
  },
  { aggregates: [{ fn: 'count' }, { fn: 'last', field: 'data', where: { field: 'type', op: 'exists' } }] },
  { having: { field: 's', op: 'gt', value: 1 } },
  { timeBucket: { interval: '2 months', timeZone: 'Europe/Berlin', fill: 'linear', origin: '2020-01-31' } },
  { timeBucket: { interval: '10 days', fill: 'zero' } },
  { timeWindow: { from: '2025-01-01', to: '2026-01-01' } },
  { timeWindow: { last: '30 days' } },
  { joins: [{ table: 'events', alias: 'j', type: 'left', on: { 'tags.a': 'tags.a' }, within: '1 hour' }] },
  { joins: [{ table: 'pg_catalog.pg_class', alias: 'c', on: { 'tags.a': 'relname' } }] },
  { from: 'pg_catalog.pg_class' },
  { hints: { forceIndex: ['events_pkey'] } }
]

function brokenQuery(random: Random): unknown {
  const query = new Generator(random, subject.events).query()
  while (random.chance(0.4)) Object.assign(query, random.pick(PARTS))
  if (random.chance(0.05)) return { ...query, filter: junk(random) }
  return random.chance(0.02) ? junk(random) : mutated(query, random)
}

/** What became of a query; whatever must not happen is thrown, with all it takes to repeat it. */
async function run(random: Random, query: unknown): Promise<string> {
  const given = query as EventQuery
  try {
    if (random.chance(0.9)) await subject.client.optimizer.executeQuery(given)
    else for await (const row of subject.client.optimizer.executeQueryStream(given)) expect(row).toBeTypeOf('object')
    return 'answered'
  } catch (error) {
    const wrong = complaint(error, query)
    if (wrong) throw new Error(`${again(SEED, random.seed)}: ${wrong}`, { cause: error })
    return (error as EventsError).code
  }
}

function complaint(error: unknown, query: unknown): string | undefined {
  if (!(error instanceof EventsError)) return `threw ${String(error)}`
  if (error.sqlState !== undefined) return `the server had to say it: ${error.sqlState} ${error.message}`
  if (!EXPECTED.includes(error.code)) return `was ${error.code}: ${error.message}`
  if (error.path === undefined)
    return typeof query === 'object' && query !== null && Object.hasOwn(query, 'filter')
      ? `has no path: ${error.message}`
      : undefined
  return leadsSomewhere(query, error.path) ? undefined : `has a path to nowhere: ${error.path}`
}

/** Whether a path names something in a value, or what is missing from something in it. */
function leadsSomewhere(value: unknown, path: string): boolean {
  if (path === '' || path === '…') return true
  if (typeof value !== 'object' || value === null) return false
  const rest = path.replace(/^\./u, '')
  if (!/[.[]/u.test(rest)) return true
  const keys = Array.isArray(value) ? Array.from(value.keys(), i => `[${i}]`) : Object.keys(value)
  return keys.some(
    key =>
      rest.startsWith(key) &&
      leadsSomewhere((value as Record<string, unknown>)[key.replace(/^\[(\d+)\]$/u, '$1')], rest.slice(key.length))
  )
}
