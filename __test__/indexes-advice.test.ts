// What is recommended, measured against what the server really reads; what is tried and reverted; what is analysed.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventQuery, EventsClient, IndexRecommendation } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'

type Pattern = { query: EventQuery; frequency: number }
interface Inside {
  recommend(patterns?: readonly Pattern[], options?: object): Promise<IndexRecommendation[]>
  optimize(patterns?: readonly Pattern[], options?: object): ReturnType<EventsClient['indexes']['optimizeIndexes']>
  report(): Promise<{ decisions: { action: string; index: string; reason: string }[] }>
}

let database: TestDatabase
let client: EventsClient
let inside: Inside
beforeAll(async () => {
  database = await TestDatabase.create({ events: 20_000 })
  client = await database.connect()
  inside = (client.indexes as unknown as Record<symbol, Inside>)[Symbol.for('tamma.events.native')]
  await database.admin.query('DROP INDEX idx_events_composite_1, idx_events_composite_2, idx_events_composite_3')
  await database.admin.query('ANALYZE events')
}, 60_000)
afterAll(() => database?.drop())

const server = async <T = string>(sql: string, values: unknown[] = []) =>
  (await database.admin.query({ text: sql, values, rowMode: 'array' })).rows.map(row => row[0] as T)
const own = async () =>
  (
    await server(`SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'events'::regclass ORDER BY 1`)
  ).filter(name => !/^(events_pkey|idx_events_(timestamp|transaction_id))$/.test(name))
async function clear() {
  for (const name of await own()) await database.admin.query(`DROP INDEX ${name}`)
  await database.admin.query('DROP TABLE IF EXISTS events_index_decisions')
  for (const name of await statistics()) await database.admin.query(`DROP STATISTICS ${name}`)
}
const statistics = () => server(`SELECT stxname::text FROM pg_statistic_ext WHERE stxrelid = 'events'::regclass`)
const issue = (id: string) =>
  client
    .query()
    .where({ issueIds: [id] })
    .orderBy('timestamp', 'desc')
    .limit(20)
    .toQuery()
const byName = <T extends { name: string }>(all: T[]) => [...all].sort((a, b) => a.name.localeCompare(b.name))
const pattern = (query: EventQuery, frequency = 100): Pattern => ({ query, frequency })
const hypopg = async () =>
  (await server<boolean>(`SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'hypopg')`))[0]

/** Blocks that a query reads, by the server's own count. */
async function blocks(query: EventQuery) {
  const plan = await client.optimizer.createExecutionPlan(query, { analyze: true })
  const { hit, read } = plan.steps[0].buffers ?? { hit: 0, read: 0 }
  return hit + read
}

describe.each(['with', 'without'])('recommendIndexes %s HypoPG', how => {
  beforeAll(async () => {
    await clear()
    if (how === 'with' && (await hypopg())) await database.admin.query('CREATE EXTENSION IF NOT EXISTS hypopg')
    if (how === 'without') await database.admin.query('DROP EXTENSION IF EXISTS hypopg')
  })

  it('finds the composite index for a tag, newest first, and what it says holds', async () => {
    const query = issue('7')
    const [best, ...rest] = await client.indexes.recommendIndexes([pattern(query)])
    expect(rest).toEqual([])
    if (best.action !== 'create') throw new Error(best.action)
    const there = how === 'with' && (await hypopg())
    expect(best.method).toBe(there ? 'hypopg' : 'sample')
    expect(best.definition.columns.slice(0, 2)).toEqual([
      { field: 'tags.issueId' },
      { field: 'timestamp', direction: 'desc' }
    ])
    expect(best.costAfter).toBeLessThan(best.costBefore / 2)
    expect(best.queries).toHaveLength(1)
    expect(best.writeCostBytesPerEvent).toBeGreaterThan(50)
    const before = await blocks(query)
    await client.indexes.createIndex(best.definition)
    expect(await blocks(query)).toBeLessThan(before / 3)
    const size = (await client.indexes.listIndexes()).find(one => one.name === best.indexName)?.sizeBytes ?? 0
    expect(best.estimatedSizeBytes / size).toBeGreaterThan(0.3)
    expect(best.estimatedSizeBytes / size).toBeLessThan(3.5)
    // And nothing more, once it is there.
    expect(await client.indexes.recommendIndexes([pattern(query)])).toEqual([])
    await clear()
  })

  it('finds GIN for containment, a path for a range in JSON, and nothing where nothing helps', async () => {
    const contains = client
      .query()
      .where({ where: { field: 'data', op: 'contains', value: { n: 77 } } })
      .toQuery()
    const [gin] = await client.indexes.recommendIndexes([pattern(contains)])
    expect([gin.action === 'create' && gin.definition.type, gin.method]).toEqual(['gin', 'sample'])
    const range = client
      .query()
      .where({ where: { field: 'data.n', op: 'gte', value: 19_990 } })
      .toQuery()
    const [path] = await client.indexes.recommendIndexes([pattern(range)])
    expect(path.action === 'create' && path.definition.columns[0]).toEqual({ field: 'data.n' })
    for (const query of [
      client.query().toQuery(),
      client.query().orderBy('timestamp', 'desc').limit(10).toQuery(),
      client
        .query()
        .where({ eventIds: ['018bcfe5-6800-7000-8000-000000000007'] })
        .toQuery(),
      client.query().where({ startTime: '2024-01-01T01:00:00Z', endTime: '2024-01-01T01:10:00Z' }).toQuery(),
      client
        .query()
        .where({ where: { field: 'type', op: 'regex', value: 'MERGED' } })
        .toQuery()
    ])
      expect(await client.indexes.recommendIndexes([pattern(query)])).toEqual([])
  })

  it('keeps to its budget, leaves nothing behind, and changes nothing', async () => {
    const patterns = [
      pattern(issue('7')),
      pattern(
        client
          .query()
          .where({ where: { field: 'data.n', op: 'gte', value: 19_990 } })
          .toQuery(),
        10
      ),
      pattern(
        client
          .query()
          .where({ where: { field: 'metadata.actor.name', op: 'eq', value: 'user 3' } })
          .orderBy('timestamp')
          .limit(5)
          .toQuery(),
        10
      )
    ]
    const all = await client.indexes.recommendIndexes(patterns)
    expect(all.length).toBeGreaterThan(1)
    expect(await client.indexes.recommendIndexes(patterns, { maxIndexes: 1 })).toHaveLength(1)
    expect(await client.indexes.recommendIndexes(patterns, { maxIndexes: 0 })).toEqual([])
    const small = await client.indexes.recommendIndexes(patterns, { maxBytes: 100_000 })
    expect(small.reduce((sum, one) => sum + one.estimatedSizeBytes, 0)).toBeLessThanOrEqual(100_000)
    expect(await own()).toEqual([])
    expect(await server(`SELECT stxname::text FROM pg_statistic_ext`)).toEqual([])
    expect(await server(`SELECT relname::text FROM pg_class WHERE relname LIKE '%whatif%'`)).toEqual([])
  })
})

describe('recommendIndexes', () => {
  it('learns from what the client was asked', async () => {
    const other = await database.connect()
    for (const id of ['1', '2', '3', '4'])
      await other
        .query()
        .where({ issueIds: [id] })
        .orderBy('timestamp', 'desc')
        .limit(20)
        .execute()
    const [best] = await other.indexes.recommendIndexes()
    expect(best.action === 'create' && best.definition.columns[0]).toEqual({ field: 'tags.issueId' })
    const usage = await other.optimizer.analyzeIndexUsage()
    expect(usage.optimalIndexRatio).toBe(0)
    if (best.action === 'create') await other.indexes.createIndex(best.definition)
    expect((await other.indexes.getIndexUsage()).optimalIndexRatio).toBe(1)
    await clear()
  })

  it('says what is wrong with patterns, by their path', async () => {
    const wrong = async (patterns: unknown, options?: object) => {
      const { code, path } = await failure(client.indexes.recommendIndexes(patterns as never, options))
      return [code, path]
    }
    expect(await wrong('x')).toEqual(['INVALID_QUERY', 'queryPatterns'])
    expect(await wrong([{}])).toEqual(['INVALID_QUERY', 'queryPatterns[0].query'])
    expect(await wrong([{ query: { filter: { where: { field: 'nope', op: 'eq', value: 1 } } } }])).toEqual([
      'UNKNOWN_FIELD',
      'queryPatterns[0].query.filter.where.field'
    ])
    expect(await wrong([{ query: { filter: {} }, frequency: -1 }])).toEqual([
      'INVALID_QUERY',
      'queryPatterns[0].frequency'
    ])
    expect(await wrong([], { maxIndexes: -1 })).toEqual(['INVALID_QUERY', 'maxIndexes'])
    expect(await wrong([], { most: 1 })).toEqual(['INVALID_QUERY', 'most'])
  })
})

describe('optimizeIndexes', () => {
  it('builds what helps, and a dry run builds nothing', async () => {
    await clear()
    const patterns = [pattern(issue('7'))]
    const dry = await inside.optimize(patterns, { dryRun: true })
    expect(dry).toMatchObject({
      created: [],
      dropped: [],
      rebuilt: [],
      reverted: [],
      skipped: [{ reason: expect.stringContaining('dry run') }]
    })
    expect(dry.recommendations).toHaveLength(1)
    expect(await own()).toEqual([])
    const done = await inside.optimize(patterns)
    expect(done.created).toEqual([dry.recommendations[0].indexName])
    expect(done.improvement).toBeGreaterThan(0.6)
    expect(await inside.optimize(patterns)).toMatchObject({ created: [], reverted: [], improvement: 0 })
    expect((await inside.report()).decisions).toEqual([
      expect.objectContaining({ action: 'created', index: done.created[0] })
    ])
  })

  it('reverts what helps nobody and what hurts one, and does not try it again', async () => {
    await clear()
    // Events whose newest are far from those that the filter wants: an index in time order lures the planner into
    // reading backwards through all of them.
    const lured = client
      .query()
      .where({
        where: {
          and: [
            { field: 'data.half', op: 'lt', value: 10 },
            { field: 'metadata.actor.bot', op: 'eq', value: true }
          ]
        }
      })
      .select(['id'])
      .toQuery()
    const planted = [
      { name: 'never_used', table: 'events', type: 'btree', columns: [{ field: 'createdAt' }] },
      { name: 'helps_not', table: 'events', type: 'btree', columns: [{ field: 'metadata.actor.bot' }] }
    ]
    const done = await inside.optimize([pattern(lured, 1)], { planted, maxIndexes: 0 })
    expect(byName(done.reverted)).toEqual([
      { name: 'helps_not', reason: expect.stringMatching(/helped no query|blocks with it/) },
      { name: 'never_used', reason: expect.stringContaining('none uses it') }
    ])
    expect(done.created).toEqual([])
    expect(await own()).toEqual([])
    const again = await inside.optimize([pattern(lured, 1)], { planted, maxIndexes: 0 })
    expect(again).toMatchObject({ created: [], reverted: [] })
    expect(byName(again.skipped).map(one => one.name)).toEqual(['helps_not', 'never_used'])
    const kept = (await inside.report()).decisions.filter(one => one.action === 'reverted')
    expect(kept.map(one => one.index).sort()).toEqual(['helps_not', 'never_used'])
  })

  it('reverts what slows one query by a tenth, though it helps another, and does not flap', {
    timeout: 60_000
  }, async () => {
    await clear()
    // In time order the planner hopes to meet one of the first ten events soon: they come last. It reads all of the
    // table as before, and the index on top, which is made so large that this is more than a tenth.
    await database.admin.query('DROP INDEX idx_events_timestamp')
    const slowed = client
      .query()
      .where({ where: { field: 'data.n', op: 'lt', value: 10 } })
      .orderBy('timestamp', 'desc')
      .limit(5)
      .select(['id', 'timestamp'])
      .toQuery()
    const helped = client.query().orderBy('timestamp', 'desc').limit(5).select(['id', 'timestamp']).toQuery()
    const planted = [
      {
        name: 'lures',
        table: 'events',
        type: 'btree',
        columns: [{ field: 'timestamp', direction: 'desc' }],
        storageParams: { fillfactor: 40 }
      }
    ]
    const patterns = [pattern(slowed, 1), pattern(helped, 1)]
    try {
      // The statistics that would mend it are there already, and say nothing.
      await inside.optimize(patterns, { planted, maxIndexes: 0 })
      const [name] = await statistics()
      await database.admin.query(`DROP STATISTICS ${name}; DROP INDEX lures; DROP TABLE events_index_decisions`)
      await database.admin.query(
        `CREATE STATISTICS ${name} ON (data->'n') FROM events; ALTER STATISTICS ${name} SET STATISTICS 0`
      )
      const before = await blocks(slowed)
      const done = await inside.optimize(patterns, { planted, maxIndexes: 0 })
      expect(done).toMatchObject({
        created: [],
        reverted: [{ name: 'lures', reason: expect.stringMatching(/ read \d+ blocks with it, and \d+ without/) }]
      })
      const [, is, was] =
        done.reverted[0].reason.match(/ read (\d+) blocks with it, and (\d+) without/)?.map(Number) ?? []
      expect(is / was).toBeGreaterThan(1.08)
      expect(is / was).toBeLessThan(1.4)
      expect(await own()).toEqual([])
      expect(await blocks(slowed)).toBeLessThan(before * 1.02)
      for (let turn = 0; turn < 2; turn++) {
        const again = await inside.optimize(patterns, { planted, maxIndexes: 0 })
        expect(again).toMatchObject({
          created: [],
          reverted: [],
          skipped: [{ name: 'lures', reason: 'it was reverted before' }]
        })
      }
    } finally {
      await database.admin.query('CREATE INDEX IF NOT EXISTS idx_events_timestamp ON events ("timestamp", event_id)')
    }
  })

  it('tells the planner how rare a value is before it takes back what helps', { timeout: 60_000 }, async () => {
    await clear()
    await database.admin.query('DROP INDEX idx_events_timestamp')
    // Ten events, which come last; without statistics the planner takes them for a third of all.
    const slowed = client
      .query()
      .where({ where: { field: 'data.n', op: 'lt', value: 10 } })
      .orderBy('timestamp', 'desc')
      .limit(5)
      .toQuery()
    const helped = client.query().orderBy('timestamp', 'desc').limit(5).toQuery()
    const planted = [
      {
        name: 'lures',
        table: 'events',
        type: 'btree',
        columns: [{ field: 'timestamp', direction: 'desc' }],
        storageParams: { fillfactor: 40 }
      }
    ]
    const patterns = [pattern(slowed, 1), pattern(helped, 1)]
    try {
      const before = await blocks(slowed)
      const done = await inside.optimize(patterns, { planted, maxIndexes: 0 })
      expect(done).toMatchObject({ created: ['lures'], reverted: [] })
      expect(await statistics()).toHaveLength(1)
      expect(await blocks(slowed)).toBeLessThan(before * 1.02)
      expect(await blocks(helped)).toBeLessThan(10)
      expect(done.writeTax).toBeGreaterThan(0.02)
      expect(done.writeTax).toBeLessThan(0.1)
    } finally {
      await clear()
      await database.admin.query('CREATE INDEX IF NOT EXISTS idx_events_timestamp ON events ("timestamp", event_id)')
    }
  })

  it('keeps the cut-off of a rolling index that proves itself', async () => {
    await clear()
    await database.admin.query('DROP INDEX idx_events_timestamp')
    const recent = client
      .query()
      .where({ startTime: new Date(Date.UTC(2024, 0, 1, 5, 30)) })
      .orderBy('timestamp', 'desc')
      .limit(5)
      .toQuery()
    const planted = [
      {
        name: 'recent',
        table: 'events',
        type: 'btree',
        columns: [{ field: 'timestamp', direction: 'desc' }],
        rolling: { field: 'timestamp', keep: '4000 days' }
      }
    ]
    try {
      const done = await inside.optimize([pattern(recent)], { planted, maxIndexes: 0 })
      expect(done).toMatchObject({ created: ['recent'], reverted: [] })
      const [comment] = await server(`SELECT obj_description('recent'::regclass)`)
      const [predicate] = await server(`SELECT pg_get_indexdef('recent'::regclass)`)
      const { by, cutoff } = JSON.parse(comment.slice(comment.indexOf('{')))
      expect(by).toBe('optimizeIndexes')
      expect(predicate).toContain(cutoff.slice(0, 10))
    } finally {
      await clear()
      await database.admin.query('CREATE INDEX IF NOT EXISTS idx_events_timestamp ON events ("timestamp", event_id)')
    }
  })

  it('builds no more than writing may cost', async () => {
    await clear()
    const patterns = [
      pattern(issue('7')),
      pattern(
        client
          .query()
          .where({ where: { field: 'data.n', op: 'gte', value: 19_990 } })
          .toQuery()
      )
    ]
    const [first, ...more] = await client.indexes.recommendIndexes(patterns)
    expect(more).toHaveLength(1)
    expect(first.writeTax).toBeGreaterThan(0.05)
    expect(first.writeTax).toBeLessThan(0.15)
    expect(await client.indexes.recommendIndexes(patterns, { maxWriteTax: 0.12 })).toHaveLength(1)
    expect(await client.indexes.recommendIndexes(patterns, { maxWriteTax: 0 })).toEqual([])
    // What stands counts as well.
    if (first.action === 'create') await client.indexes.createIndex(first.definition)
    expect(await client.indexes.recommendIndexes(patterns, { maxWriteTax: 0.12 })).toEqual([])
    await clear()
    const { code, path } = await failure(client.indexes.recommendIndexes(patterns, { maxWriteTax: 'x' as never }))
    expect([code, path]).toEqual(['INVALID_QUERY', 'maxWriteTax'])
  })

  it('drops what a run that died left on trial', async () => {
    await clear()
    const { created } = await inside.optimize([pattern(issue('7'))])
    const comment = async () => (await server(`SELECT obj_description($1::regclass)`, [created[0]]))[0]
    expect(await comment()).toContain('"by":"optimizeIndexes"')
    await database.admin.query(
      `COMMENT ON INDEX ${created[0]} IS '${(await comment()).replace('"optimizeIndexes"', '"trial"').replaceAll("'", "''")}'`
    )
    await inside.optimize([])
    expect(await own()).toEqual([])
  })

  it('drops its own index that another makes up for, and never one of somebody else', async () => {
    await clear()
    await client.indexes.createIndex({ name: 'narrow', table: 'events', type: 'btree', columns: [{ field: 'data.n' }] })
    await client.indexes.createIndex({
      name: 'wide',
      table: 'events',
      type: 'btree',
      columns: [{ field: 'data.n' }, { field: 'timestamp' }]
    })
    await database.admin.query(`CREATE INDEX theirs ON events ((data->'n'))`)
    expect(await client.indexes.analyzeIndex('narrow')).toMatchObject({
      coveredBy: ['wide'],
      duplicates: ['theirs'],
      verdict: 'drop'
    })
    expect(await client.indexes.analyzeIndex('theirs')).toMatchObject({ verdict: 'drop', managed: false })
    expect((await client.indexes.recommendIndexes([])).map(one => [one.action, one.indexName]).sort()).toEqual([
      ['drop', 'narrow'],
      ['drop', 'theirs']
    ])
    const done = await inside.optimize([])
    expect(done.dropped).toEqual(['narrow'])
    expect(done.skipped).toEqual([{ name: 'theirs', reason: expect.stringContaining("not this module's") }])
    expect(await own()).toEqual(['theirs', 'wide'])
  })

  it('is done by one at a time', async () => {
    await clear()
    const other = await database.connect()
    const second = (other.indexes as unknown as Record<symbol, Inside>)[Symbol.for('tamma.events.native')]
    const both = await Promise.all([inside.optimize([pattern(issue('7'))]), second.optimize([pattern(issue('7'))])])
    expect(both.flatMap(one => one.created)).toHaveLength(1)
    expect(await own()).toHaveLength(1)
    await clear()
  })
})

describe.each(['with', 'without'])('analysis %s pgstattuple', how => {
  it('tells bloat, use and sizes', async () => {
    await clear()
    if (how === 'with') await database.admin.query('CREATE EXTENSION IF NOT EXISTS pgstattuple')
    await client.indexes.createIndex({
      name: 'bloated',
      table: 'events',
      type: 'btree',
      columns: [{ field: 'data.n' }],
      storageParams: { fillfactor: 20 }
    })
    const bloated = await client.indexes.analyzeIndex('bloated')
    expect(bloated.bloatRatio).toBeGreaterThan(0.5)
    expect(bloated.verdict).toBe('rebuild')
    const { indexes } = await client.indexes.getIndexFragmentation()
    expect(indexes.find(one => one.name === 'bloated')?.method).toBe(how === 'with' ? 'pgstattuple' : 'estimate')
    for (const one of indexes.filter(one => one.name !== 'bloated'))
      expect([one.name, one.bloatRatio < 0.5]).toEqual([one.name, true])
    const sizes = await client.indexes.getIndexSize()
    expect(sizes.tableBytes).toBe(Number((await server(`SELECT pg_relation_size('events')`))[0]))
    expect(sizes.totalBytes).toBe(sizes.indexes.reduce((sum, one) => sum + one.sizeBytes, 0))
    if (how === 'with') await database.admin.query('DROP EXTENSION pgstattuple')
    await clear()
  })
})
