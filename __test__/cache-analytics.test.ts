// Analytics, pipelines and matches through the cache: kept for as long as no new event is among those they depend on,
// and never longer.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { EventFilter, EventSequence, EventsClient, PipelineStage, QueryHints } from '../index.js'
import { Random } from './reference/random'
import { TestDatabase } from './support/database'

let database: TestDatabase
let client: EventsClient

beforeAll(async () => {
  database = await TestDatabase.create({ events: 400 })
  client = await database.connect()
})
afterAll(() => database?.drop())

const filter: EventFilter = { eventTypes: ['CODE.*', 'PR.*'] }
const by = ['data["ключ 😀"]']
const type = (name: string) => ({ where: { eventTypes: [`${name}.*`] } })
const sequence: EventSequence = { by, steps: [type('CODE'), type('PR')], match: 'first' }
const pattern = { by, pattern: 'CODE+ PR', define: { CODE: type('CODE').where, PR: type('PR').where } }
const [timeWindow, timeBucket] = [
  { from: '2024-01-01', to: '2024-01-02' },
  { interval: '1 minute', fill: 'zero' }
] as const
const counted: PipelineStage[] = [
  { match: filter },
  { group: { by: ['type'], aggregates: [{ fn: 'count' }, { fn: 'median', field: 'data.n' }] } },
  { sort: [{ field: 'type' }] }
]
const followed: PipelineStage[] = [
  { match: filter },
  { sequence },
  { group: { aggregates: [{ fn: 'count' }, { fn: 'sum', field: 'durationMs', as: 'all' }] } }
]

type Asked = { hints?: QueryHints; queryId?: string }
/** Every question, asked in a way of its own. */
const QUESTIONS: Record<string, (options: Asked) => Promise<unknown>> = {
  statistics: o => client.analytics.statistics('data.n', filter, { groupBy: ['type'], ...o }),
  histogram: o => client.analytics.histogram('data.n', filter, { bins: 5, ...o }),
  correlation: o => client.analytics.correlation('data.n', 'data.half', filter, o),
  outliers: o => client.analytics.outliers('data.n', filter, { method: 'zscore', threshold: 1.5, ...o }),
  changepoints: o => client.analytics.changepoints({ filter, timeWindow, timeBucket, aggregate: { fn: 'count' } }, o),
  flow: o => client.analytics.flow({ by, filter, ...o }),
  variants: o => client.analytics.variants({ by: ['tags.issueId'], filter, limit: 3, ...o }),
  timeInState: o => client.analytics.timeInState({ by, state: 'type', filter, ...o }),
  funnel: o => client.analytics.funnel(sequence.steps, { by, filter, window: '1 minute', ...o }),
  retention: o =>
    client.analytics.retention({
      ...{ by, filter, start: type('CODE').where, returning: type('PR').where },
      ...{ period: '1 minute', periods: 3 },
      ...o
    }),
  findSequences: o => client.analytics.findSequences(sequence, filter, o),
  findPatterns: o => client.analytics.findPatterns(pattern, filter, o),
  pipeline: async o => (await client.analytics.pipeline(counted, o)).rows,
  'pipeline of matches': async o => (await client.analytics.pipeline(followed, o)).rows,
  'pipeline of facets': async o => {
    const facet = { types: counted.slice(1), all: [{ group: { aggregates: [{ fn: 'count' as const }] } }] }
    return (await client.analytics.pipeline([{ match: filter }, { facet }], o)).rows
  },
  'query of matches': async ({ hints, queryId }) =>
    (
      await client.optimizer.executeQuery(
        { filter, sequence, limit: 7, offset: 1, ...(hints && { hints }) },
        { queryId }
      )
    ).rows
}

/** Those that are brought up to date: matches and counts of keys whose order is not that of JSON. */
const BROUGHT_UP = new Set(['funnel', 'retention', 'findSequences', 'pipeline of matches', 'query of matches'])
const anew = (name: string) => (BROUGHT_UP.has(name) ? 'delta' : 'miss')

/** The answer through the cache, and where it came from. */
async function cached(name: string, hints: QueryHints = { cache: true }) {
  const queryId = randomUUID()
  const answer = await QUESTIONS[name]({ hints, queryId })
  return { answer, from: (await client.optimizer.getQueryStats(queryId)).cache }
}

const insert = (kind: string, n: number, text = 'plain') =>
  database.admin.query(
    `INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data)
     VALUES (gen_random_uuid(), $1, timestamptz '2024-01-01Z' + $2::int * interval '1 second', $3, '{}', $4)`,
    [kind, n, { issueId: String(n % 5) }, { n, half: n / 2, 'ключ 😀': text }]
  )

/** Removes events, as their owner may. */
const remove = (where: string) =>
  database.admin.query(`BEGIN;
    SELECT set_config('tamma_events.change_in_transaction', pg_current_xact_id()::text, true);
    DELETE FROM events WHERE ${where}; COMMIT`)

it.each(Object.keys(QUESTIONS))('%s is kept until an event that it depends on is new', async name => {
  const plain = () => QUESTIONS[name]({})
  expect(await cached(name)).toEqual({ answer: await plain(), from: 'miss' })
  expect(await cached(name)).toEqual({ answer: await plain(), from: 'memory' })
  // Not of its filter.
  await insert('ISSUE.OPENED', 401)
  expect(await cached(name)).toEqual({ answer: await plain(), from: 'memory' })
  await insert('CODE.GENERATED.SUCCESS', 402)
  await insert('PR.MERGED.SUCCESS', 900)
  expect(await cached(name)).toEqual({ answer: await plain(), from: anew(name) })
  expect(await cached(name)).toEqual({ answer: await plain(), from: 'memory' })
  // Gone again.
  await remove(`event_type = 'PR.MERGED.SUCCESS' AND data->>'n' = '900'`)
  expect(await cached(name)).toEqual({ answer: await plain(), from: 'miss' })
  // Rows are the caller's own.
  const [first, second] = [await cached(name), await cached(name)]
  expect(first.answer).not.toBe(second.answer)
})

it('an event that commits late is seen, one that is rolled back is not', async () => {
  const writer = new pg.Client({ connectionString: database.url })
  await writer.connect()
  const names = Object.keys(QUESTIONS)
  const add = (n: number) =>
    writer.query(
      `INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data)
       SELECT gen_random_uuid(), t, timestamptz '2024-01-01Z' + $1::int * interval '1 second', '{"issueId": "1"}', '{}', $2
       FROM unnest(ARRAY['CODE.GENERATED.SUCCESS', 'PR.MERGED.SUCCESS']) AS t`,
      [n, { n, half: 1, 'ключ 😀': 'plain' }]
    )
  try {
    for (const end of ['ROLLBACK', 'COMMIT']) {
      await writer.query('BEGIN')
      await add(777)
      // What is read while the transaction is open is kept with a snapshot that cannot see it.
      const before = new Map<string, unknown>()
      for (const name of names) before.set(name, (await cached(name)).answer)
      await insert('ISSUE.OPENED', 5)
      await writer.query(end)
      for (const name of names) {
        const { answer, from } = await cached(name)
        expect([name, answer]).toEqual([name, await QUESTIONS[name]({})])
        expect([name, from]).toEqual([name, end === 'COMMIT' ? anew(name) : 'memory'])
        if (end === 'ROLLBACK') expect([name, answer]).toEqual([name, before.get(name)])
      }
    }
  } finally {
    await writer.end()
  }
})

it('whatever is written, a strict answer is that of a direct read', async () => {
  const random = new Random(20_261_130)
  const names = Object.keys(QUESTIONS)
  const seen = new Map<string, number>()
  for (let round = 0; round < 12; round++) {
    const kind = random.pick(['CODE.GENERATED.SUCCESS', 'PR.MERGED.SUCCESS', 'ISSUE.OPENED', 'OTHER.X'])
    if (random.chance(0.6)) await insert(kind, random.int(500), random.pick(['plain', '', 'new']))
    else if (random.chance(0.5)) await remove(`event_type = '${kind}' AND (data->>'n')::int % 40 = ${random.int(40)}`)
    for (const name of random.some(names, 4, 8)) {
      const { answer, from } = await cached(name)
      expect([name, answer]).toEqual([name, await QUESTIONS[name]({})])
      seen.set(from, (seen.get(from) ?? 0) + 1)
    }
  }
  expect([...seen.keys()].sort()).toEqual(['delta', 'memory', 'miss'])
})

it('a bounded answer asks nothing; one of a session includes the write', async () => {
  const bounded: QueryHints = { cache: { consistency: 'bounded', maxStaleness: '1 hour' } }
  await cached('flow', bounded)
  const before = await cached('flow', bounded)
  const { token } = await client.append([{ type: 'CODE.NEW', tags: {}, data: { 'ключ 😀': 'session' } }])
  expect(await cached('flow', bounded)).toEqual({ answer: before.answer, from: 'memory' })
  const { answer, from } = await cached('flow', { cache: { consistency: 'session', token } })
  expect([answer, from]).toEqual([await QUESTIONS.flow({}), 'miss'])
})

it('a result and a plan tell of the cache', async () => {
  const hints = { cache: { consistency: 'strict', tags: ['told'] } } as const
  for (const [stages, strategy] of [
    [counted, 'single'],
    [followed, 'sequence']
  ] as const) {
    await client.cache.invalidateByPattern('told')
    await client.cache.clear()
    const before = await client.analytics.explainPipeline(stages, { hints })
    expect(before.strategy).toBe(strategy)
    expect(before.steps[0].operation).toBe('Cache lookup')
    expect((await client.analytics.pipeline(stages, { hints })).cache).toBe('miss')
    const { cache, token } = await client.analytics.pipeline(stages, { hints })
    expect([cache, token.length > 0]).toEqual(['memory', true])
    const plan = await client.analytics.explainPipeline(stages, { hints })
    expect([plan.strategy, plan.hints[0].honoured]).toEqual(['cached', true])
    expect(plan.steps[0].details?.finds).toMatch(/current answer/)
    await client.cache.invalidateByPattern('told')
    expect((await client.analytics.pipeline(stages, { hints })).cache).toBe('miss')
  }
  const found = await client.query().where(filter).sequence(sequence).cache({ consistency: 'strict' }).execute()
  expect(found.cache).toBe('miss')
  const plan = await client.query().where(filter).sequence(sequence).cache({ consistency: 'strict' }).explain()
  expect(plan.strategy).toBe('cached')
})

it('a time series is brought up to date by what is new', async () => {
  const series = (hints?: QueryHints) =>
    client.analytics.timeSeries({
      filter,
      timeWindow,
      timeBucket,
      aggregates: [{ fn: 'count' }, { fn: 'avg', field: 'data.n' }],
      ...(hints && { hints })
    })
  await series({ cache: true })
  await insert('CODE.GENERATED.SUCCESS', 66)
  const { rows, cache } = await series({ cache: true })
  expect([rows, cache]).toEqual([(await series()).rows, 'delta'])
})

it('hints that nothing acts on are told or refused', async () => {
  const { hints } = await client.analytics.pipeline(counted, { hints: { parallel: true, useIndex: ['events_pkey'] } })
  expect(hints?.map(({ hint, honoured }) => [hint, honoured])).toEqual([
    ['useIndex', false],
    ['parallel', false]
  ])
  await expect(client.analytics.flow({ by, hints: { forceIndex: ['events_pkey'] } })).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    path: 'hints.forceIndex'
  })
  await expect(client.analytics.flow({ by, hints: { cash: true } as never })).rejects.toMatchObject({
    code: 'INVALID_QUERY',
    path: 'hints.cash'
  })
})

it('a snapshot sees its own state, and says that the cache has no part in it', async () => {
  await cached('pipeline')
  await client.snapshot(async at => {
    await insert('CODE.GENERATED.SUCCESS', 3)
    await cached('pipeline')
    const { rows, hints, cache } = await at.analytics.pipeline(counted, { hints: { cache: true } })
    expect(rows).toEqual((await at.analytics.pipeline(counted)).rows)
    expect([cache, hints?.[0]?.honoured]).toEqual(['off', false])
  })
})

it('a series of a window that ends at the clock has its new buckets', async () => {
  const aggregate = { fn: 'count' } as const
  const question = {
    filter: { eventTypes: ['TICK.*'] },
    timeWindow: { last: '4 seconds' },
    timeBucket: { interval: '500 milliseconds', fill: 'zero' },
    aggregate
  } as const
  await client.append(Array.from({ length: 30 }, () => ({ type: 'TICK.X' })))
  const ask = (hints?: QueryHints) => client.analytics.changepoints(question, { hints })
  await ask({ cache: true })
  // Once the events have left the window, there is no level to shift from.
  await new Promise(resolve => setTimeout(resolve, 5000))
  expect(await ask({ cache: true })).toEqual([])
})

it('two who ask at once share one computation; one who gives up leaves no connection', async () => {
  const computed = async () => {
    const { misses, deltas } = await client.cache.getCacheStats()
    return misses + deltas
  }
  await insert('CODE.GENERATED.SUCCESS', 11)
  const before = await computed()
  const all = await Promise.all(Array.from({ length: 8 }, () => cached('pipeline of matches')))
  for (const { answer } of all) expect(answer).toEqual(all[0].answer)
  expect((await computed()) - before).toBe(1)
  await insert('CODE.GENERATED.SUCCESS', 12)
  const controller = new AbortController()
  const given = client.analytics.pipeline(followed, { hints: { cache: true }, signal: controller.signal })
  controller.abort()
  await expect(given).rejects.toMatchObject({ code: 'QUERY_CANCELLED' })
  await database.quiet()
  expect((await cached('pipeline of matches')).answer).toEqual(await QUESTIONS['pipeline of matches']({}))
})
