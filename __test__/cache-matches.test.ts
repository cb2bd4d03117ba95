// Kept matches: brought up to date by the keys that new events touch, and never other than a direct run has them.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { EventFilter, EventPattern, EventSequence, EventsClient, PipelineStage, QueryHints } from '../index.js'
import { Random } from './reference/random'
import { TestDatabase } from './support/database'

let database: TestDatabase
let client: EventsClient

beforeAll(async () => {
  database = await TestDatabase.create()
  client = await database.connect()
})
afterAll(() => database?.drop())

const where = (...letters: string[]) => ({ where: { eventTypes: letters.map(letter => `STEP.${letter}`) } })
const [A, B, C] = ['A', 'B', 'C'].map(letter => where(letter))
const issue = ['tags.issueId']
const SEQUENCES: Record<string, EventSequence> = {
  latest: { by: issue, steps: [A, B, C] },
  first: { by: issue, steps: [A, B], match: 'first', maxSpan: '40 seconds' },
  all: { by: issue, steps: [A, B], match: 'all', maxSpan: '30 seconds' },
  'of two fields': { by: ['tags.issueId', 'tags.repo'], steps: [A, B] },
  'of JSON': { by: ['data.k'], steps: [A, B] },
  'of a text and JSON': { by: ['tags.repo', 'data.k'], steps: [A, C] },
  open: { by: issue, steps: [A, { ...B, absent: true, gap: { max: '20 seconds' } }] },
  'open, with a span': { by: issue, steps: [A, B, { ...C, absent: true }], maxSpan: '50 seconds' },
  'all that are open': { by: issue, steps: [A, B, { ...C, absent: true, gap: { max: '9 seconds' } }], match: 'all' },
  'a field for each step': {
    steps: [
      { ...A, by: issue },
      { ...B, by: ['tags.parent'] }
    ]
  },
  until: { by: issue, steps: [{ ...A, runs: 2 }, B], until: C },
  'absent before': { by: issue, steps: [{ ...C, absent: true }, A, B], maxSpan: '60 seconds' }
}
const define = { A: A.where, B: B.where, C: C.where }
const PATTERNS: Record<string, EventPattern> = {
  plain: { by: issue, pattern: 'A B* C', define },
  overlapping: { by: issue, pattern: 'A (B | C)+?', define, afterMatch: 'toNext', contiguity: 'relevant' },
  'of all rows': {
    by: ['tags.repo', 'tags.issueId'],
    pattern: 'A B+',
    define: { A: A.where, B: { left: 'data.n', op: 'gte', right: { prev: 'data.n' } } },
    rows: 'all',
    measures: { from: { first: 'data.n', of: 'A' }, to: { last: 'data.n' } }
  },
  unmatched: { by: issue, pattern: 'A C', define: { A: A.where, C: C.where }, rows: 'allWithUnmatched' }
}
const filter: EventFilter = { eventTypes: ['STEP.*'] }
const late: EventFilter = { ...filter, startTime: '2024-01-01T00:01:00Z', endTime: '2024-01-01T00:06:00Z' }
const stages: PipelineStage[] = [
  { match: filter },
  { sequence: SEQUENCES.latest },
  { group: { aggregates: [{ fn: 'count' }, { fn: 'sum', field: 'durationMs', as: 'all' }] } }
]

interface Answer {
  rows: unknown
  cache?: string
}
type Ask = (hints?: QueryHints) => Promise<Answer>
/** A question of analytics, whose answer is bare. */
const bare =
  (ask: (options: { hints?: QueryHints; queryId: string }) => Promise<unknown>): Ask =>
  async hints => {
    const queryId = randomUUID()
    const rows = await ask({ queryId, ...(hints && { hints }) })
    return { rows, cache: (await client.optimizer.getQueryStats(queryId)).cache }
  }
const query =
  (asked: object): Ask =>
  hints =>
    client.optimizer.executeQuery({ ...asked, ...(hints && { hints }) } as never)

const QUESTIONS: Record<string, Ask> = {
  ...Object.fromEntries(Object.entries(SEQUENCES).map(([name, sequence]) => [name, query({ filter, sequence })])),
  ...Object.fromEntries(
    Object.entries(PATTERNS).map(([name, pattern]) => [`pattern ${name}`, query({ filter, pattern })])
  ),
  'a page': query({ filter, sequence: SEQUENCES.latest, limit: 5, offset: 2 }),
  'the first page': query({ filter, sequence: SEQUENCES.all, limit: 3 }),
  'a page of a pattern': query({ filter, pattern: PATTERNS.plain, limit: 4, offset: 3 }),
  'a window': query({ filter: late, sequence: SEQUENCES.latest }),
  'a window of a pattern': query({ filter: late, pattern: PATTERNS.overlapping }),
  ...Object.fromEntries(
    (['default', 'strictOrder', 'strictIncrease', 'strictDeduplication'] as const).map(mode => [
      `funnel ${mode}`,
      bare(o => client.analytics.funnel([A, B, C], { by: issue, filter, window: '1 minute', mode, ...o }))
    ])
  ),
  'funnel of JSON': bare(o => client.analytics.funnel([A, B], { by: ['data.k'], filter, window: '1 minute', ...o })),
  retention: bare(o =>
    client.analytics.retention({
      ...{ by: issue, filter, start: A.where, returning: B.where, period: '1 minute', periods: 4 },
      ...o
    })
  ),
  'pipeline of matches': hints => client.analytics.pipeline(stages, { hints })
}

const random = new Random(Number(process.env.TAMMA_SEED ?? 20_261_125))
/** Some events: any time in ten minutes, few keys, the same JSON key in several texts. */
const some = (count: number) =>
  Array.from({ length: count }, () => ({
    type: `STEP.${random.pick(['A', 'B', 'C', 'D'])}`,
    at: random.int(600),
    tags: {
      issueId: `issue ${random.int(15)}`,
      repo: random.pick(['x', 'é', 'Z']),
      ...(random.chance(0.7) && { parent: `issue ${random.int(15)}` })
    },
    data: `{"n": ${random.int(50)}, "k": ${random.pick(['1', '1.0', '"1"', 'null', 'true', '[1]', '2e0', '"é"'])}}`
  }))

const insert = (into: pg.Client, events: ReturnType<typeof some>) =>
  into.query(
    `INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data)
     SELECT gen_random_uuid(), t, timestamptz '2024-01-01Z' + s * interval '1 second', g, '{}', d
     FROM unnest($1::text[], $2::int[], $3::jsonb[], $4::jsonb[]) AS u(t, s, g, d)`,
    [events.map(e => e.type), events.map(e => e.at), events.map(e => JSON.stringify(e.tags)), events.map(e => e.data)]
  )

/** The answer through the cache, which must be that of a direct run; where it came from. */
async function check(name: string, note: unknown = '') {
  const { rows, cache } = await QUESTIONS[name]({ cache: true })
  expect({ name, note, rows }).toEqual({ name, note, rows: (await QUESTIONS[name]()).rows })
  return cache
}

it('whatever is appended, in whatever order it is committed, the answer is that of a direct run', async () => {
  const names = Object.keys(QUESTIONS)
  const writer = new pg.Client({ connectionString: database.url })
  await writer.connect()
  const seen: Record<string, Record<string, number>> = {}
  try {
    await insert(database.admin, some(120))
    let open = false
    for (let round = 0; round < Number(process.env.TAMMA_ROUNDS ?? 60); round++) {
      // Another transaction stays open over some rounds, and its events are then late in every sense.
      if (!open && random.chance(0.3)) {
        await writer.query('BEGIN')
        await insert(writer, some(1 + random.int(3)))
        open = true
      } else if (open && random.chance(0.4)) {
        await writer.query(random.chance(0.8) ? 'COMMIT' : 'ROLLBACK')
        open = false
      }
      if (random.chance(0.8)) await insert(database.admin, some(random.pick([1, 1, 2, 5])))
      for (const name of random.some(names, 8, 16)) {
        const from = await check(name, { seed: random.seed, round })
        seen[name] ??= {}
        seen[name][from ?? ''] = (seen[name][from ?? ''] ?? 0) + 1
      }
    }
  } finally {
    await writer.end()
  }
  for (const name of names) {
    // All but the first read, and those where nothing was new.
    expect([name, seen[name].miss]).toEqual([name, 1])
    expect([name, seen[name].delta > 3]).toEqual([name, true])
  }
}, 240_000)

/** Events that scans of the event table have come upon since the statistics were reset. */
async function touched() {
  await database.admin.query('SELECT pg_stat_force_next_flush()')
  const { rows } = await database.admin.query(
    `SELECT (seq_tup_read + coalesce(idx_tup_fetch, 0))::int AS n FROM pg_stat_user_tables WHERE relname = 'events'`
  )
  return rows[0].n as number
}

it('reads the events of the keys that are touched, and fetches those of new matches', async () => {
  const log = await TestDatabase.create({ events: 20_000 })
  try {
    const of = await log.connect()
    await log.admin.query('ANALYZE events')
    const steps = [{ where: { eventTypes: ['CODE.*'] } }, { where: { eventTypes: ['PR.*'] } }]
    const ask = (hints?: QueryHints) =>
      of.optimizer.executeQuery({ filter: {}, sequence: { by: issue, steps }, ...(hints && { hints }) })
    expect((await ask({ cache: true })).cache).toBe('miss')
    await of.append([{ type: 'PR.MERGED.SUCCESS', tags: { issueId: '7' } }])
    const plan = await of.query().where({}).sequence({ by: issue, steps }).cache({ consistency: 'strict' }).explain()
    expect([plan.strategy, plan.steps[0].details?.finds]).toEqual([
      'delta',
      'an answer of which the keys that new events touch are matched again'
    ])
    const before = await touched()
    const { rows, cache } = await ask({ cache: true })
    expect(cache).toBe('delta')
    // 200 events of the key, and those of its matches; not the 20,000.
    await expect.poll(async () => (await touched()) - before).toBeLessThan(2_000)
    expect(rows).toEqual((await ask()).rows)
  } finally {
    await log.drop()
  }
})

it('what it can not bring up to date is run anew', async () => {
  const cases: Record<string, Ask> = {
    'one partition': query({ filter, sequence: { by: [], steps: [A, B] } }),
    'the order of JSON': query({
      filter,
      pattern: { by: ['data.k'], pattern: 'A B', define: { A: A.where, B: B.where } }
    }),
    times: query({ filter, sequence: { by: ['timestamp'], steps: [A, B] } })
  }
  for (const ask of Object.values(cases)) await ask({ cache: true })
  await insert(database.admin, some(1))
  for (const [name, ask] of Object.entries(cases)) {
    const { rows, cache } = await ask({ cache: true })
    expect([name, cache, rows]).toEqual([name, 'miss', (await ask()).rows])
  }
  // More keys than are read again, and an event without a key, which is one of a pattern's partitions.
  for (const name of ['latest', 'pattern plain']) await check(name)
  await database.admin.query(`INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data)
    SELECT gen_random_uuid(), 'STEP.A', timestamptz '2024-01-01Z' + i * interval '1 second', jsonb_build_object('issueId', 'many ' || i), '{}', '{}'
    FROM generate_series(1, 1001) AS i`)
  expect([await check('latest'), await check('pattern plain')]).toEqual(['miss', 'miss'])
  await client.append([{ type: 'STEP.C' }])
  expect([await check('latest'), await check('pattern plain')]).toEqual(['delta', 'miss'])
  // What was removed may have been in any match.
  await database.admin.query(`BEGIN;
    SELECT set_config('tamma_events.change_in_transaction', pg_current_xact_id()::text, true);
    DELETE FROM events WHERE tags->>'issueId' LIKE 'many%'; COMMIT`)
  expect([await check('latest'), await check('pattern plain')]).toEqual(['miss', 'miss'])
  await insert(database.admin, [{ type: 'STEP.C', at: 5, tags: { issueId: 'issue 3', repo: 'x' }, data: '{}' }])
  expect([await check('latest'), await check('pattern plain')]).toEqual(['delta', 'delta'])
})

it('a limit of matches is one of all keys', async () => {
  const sequence = { by: issue, steps: [where('L'), where('M')], maxMatches: 2 }
  const ask = query({ filter, sequence })
  const add = (key: string) =>
    client.append(
      ['L', 'M'].map((letter, i) => ({ type: `STEP.${letter}`, tags: { issueId: key }, timestamp: new Date(i) }))
    )
  await add('one')
  expect((await ask({ cache: true })).cache).toBe('miss')
  await add('two')
  const second = await ask({ cache: true })
  expect([second.cache, (second.rows as unknown[]).length]).toEqual(['delta', 2])
  await add('three')
  await expect(ask({ cache: true })).rejects.toMatchObject({ code: 'MATCH_LIMIT' })
  await expect(ask()).rejects.toMatchObject({ code: 'MATCH_LIMIT' })
})

it('a window that ends at the clock is run anew once it has left events behind', async () => {
  const sequence = { by: issue, steps: [where('X'), where('Y')] }
  const asked = { filter: {}, timeWindow: { last: '6 seconds' }, sequence }
  const ask = query(asked)
  const both = (key: string) =>
    client.append(['X', 'Y'].map(letter => ({ type: `STEP.${letter}`, tags: { issueId: key } })))
  await both('a')
  await ask({ cache: true })
  await both('b')
  const { rows, cache } = await ask({ cache: true })
  expect([cache, (rows as unknown[]).length]).toEqual(['delta', 2])
  await new Promise(resolve => setTimeout(resolve, 6500))
  await both('c')
  const after = await ask({ cache: true })
  expect([after.cache, (after.rows as unknown[]).length]).toEqual(['miss', 1])
})
