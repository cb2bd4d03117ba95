// Random queries, answered with all rules of the planner and with none.
import { isDeepStrictEqual } from 'node:util'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, type EventQuery, type EventsClient } from '../index.js'
import { shown } from './reference/check'
import { again, each, LIMIT, seedOf } from './reference/fuzz'
import { Generator } from './reference/generate'
import { groupedQuery, spreadEvents } from './reference/generate-groups'
import { Random } from './reference/random'
import { ENGLISH, ODD_SETTINGS, Subject } from './reference/subject'

const SEED = seedOf(20_260_107)
const EVENTS = 500
const WIDTH = 4

type Row = Record<string, unknown>
interface Native {
  rules(): string[]
  leaveOutRules(names: string[]): void
}
const nativeOf = (client: EventsClient) =>
  (client as unknown as Record<symbol, Native>)[Symbol.for('tamma.events.native')]

describe.each([
  { name: 'usual settings', options: {}, queries: 1200 },
  { name: 'an English collation', options: ENGLISH, queries: 300 },
  { name: 'odd settings', options: ODD_SETTINGS, queries: 300 }
])('over a database with $name', ({ options, queries }) => {
  let subject: Subject
  let plain: EventsClient
  let ours: EventsClient
  beforeAll(async () => {
    subject = await Subject.of(spreadEvents(new Random(SEED), EVENTS), options)
    await indexed(subject.url)
    ours = await connect({ url: subject.url, bigint: 'bigint' })
    plain = await connect({ url: subject.url, bigint: 'bigint' })
    nativeOf(plain).leaveOutRules(nativeOf(plain).rules())
  })
  afterAll(async () => {
    await Promise.all([plain?.close(), ours?.close()])
    await subject?.drop()
  })

  it('the rules change no answer', { timeout: LIMIT }, async () => {
    const met = new Set<string>()
    await each(SEED, queries, 0.1, WIDTH, async number => {
      const random = new Random(number)
      const generator = new Generator(random, subject.events)
      const query = anyQuery(random, generator)
      const wrong = await difference(ours, plain, query).catch(error => String(error))
      if (wrong) throw new Error(`${again(SEED, number)}: ${shown(query)}\n${wrong}`)
      if (random.chance(0.2)) {
        const { rules, query: rewritten } = await ours.optimizer.optimizeQuery(query)
        for (const { rule } of rules) met.add(rule)
        const off = await difference(ours, plain, rewritten, query).catch(error => String(error))
        if (off) throw new Error(`${again(SEED, number)}: ${shown(query)} rewritten as ${shown(rewritten)}\n${off}`)
      }
    })
    if (queries > 1000)
      expect([...met].sort()).toEqual(
        expect.arrayContaining(['contradiction', 'one-list', 'tag-containment', 'tighten-ranges', 'union-arms'])
      )
  })
})

/** Indexes for the rules to find a use for. */
async function indexed(url: string) {
  const admin = new pg.Client({ connectionString: url })
  await admin.connect()
  try {
    await admin.query(`
      CREATE INDEX ON events (event_type, "timestamp");
      CREATE INDEX ON events ((tags->>'platform'), "timestamp" DESC);
      CREATE INDEX ON events USING gin (tags);
      CREATE INDEX ON events ((tags->>'userId')) WHERE "timestamp" >= '2026-01-01Z';
      CREATE INDEX ON events (created_at) WHERE event_type IN ('CODE.A', 'CODE.A.B');
      ANALYZE events`)
  } finally {
    await admin.end()
  }
}

/** Queries that give the rules something to do more often than the other tests' do. */
function anyQuery(random: Random, generator: Generator): EventQuery {
  const query = random.chance(0.35) ? groupedQuery(random, generator) : generator.query()
  const { where, ...filter } = query.filter
  const more = random.list(0, 3, () => generator.condition(random.int(2)))
  if (more.length === 0) return query
  return { ...query, filter: { ...filter, where: { and: [...(where ? [where] : []), ...more] } } }
}

/** What differs between the answers of two clients; undefined where nothing does. */
async function difference(ours: EventsClient, plain: EventsClient, query: EventQuery, asked = query) {
  const [a, b] = await Promise.all([ours.optimizer.executeQuery<Row>(query), plain.optimizer.executeQuery<Row>(asked)])
  if (a.rowCount !== b.rowCount) return `${a.rowCount} rows with the rules, ${b.rowCount} without`
  const cut = query.limit !== undefined || query.offset !== undefined || (query.timeBucket && !query.orderBy)
  const [left, right] = cut ? [a.rows, b.rows] : [sorted(a.rows), sorted(b.rows)]
  const odd = left.findIndex((row, i) => !isDeepStrictEqual(row, right[i]))
  if (odd >= 0) return `row ${odd}: ${shown(left[odd])} with the rules, ${shown(right[odd])} without`
  if (query === asked && a.nextCursor !== b.nextCursor) return 'the cursors differ'
  return undefined
}

const text = (row: Row) => JSON.stringify(row, (_, value) => (typeof value === 'bigint' ? `${value}n` : value))
const sorted = (rows: readonly Row[]) => [...rows].sort((a, b) => (text(a) < text(b) ? -1 : 1))
