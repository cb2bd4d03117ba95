// Rolling indexes, partitions, and maintenance inside the process.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventsClient, IndexDefinition } from '../index.js'
import { connect, indexSets } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'
import { until } from './support/wait'

let database: TestDatabase
let client: EventsClient
beforeAll(async () => {
  database = await TestDatabase.create({ events: 2000 })
  client = await database.connect()
  await database.admin.query(`
    INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data)
    SELECT gen_random_uuid(), 'RECENT', now() - i * interval '1 minute', jsonb_build_object('issueId', (i % 10)::text), '{}', '{}'
    FROM generate_series(1, 20000) i`)
  await database.admin.query('ANALYZE events')
})
afterAll(() => database?.drop())

const server = async <T = string>(sql: string, values: unknown[] = []) =>
  (await database.admin.query({ text: sql, values, rowMode: 'array' })).rows.map(row => row[0] as T)
const names = () =>
  server(
    `SELECT relname::text FROM pg_class WHERE relkind IN ('i', 'I') AND oid IN (SELECT indexrelid FROM pg_index WHERE indrelid::regclass::text ~ '^(events|parted)') ORDER BY 1`
  )
const predicate = async (name: string) =>
  (await server(`SELECT pg_get_expr(indpred, indrelid) FROM pg_index WHERE indexrelid = $1::regclass`, [name]))[0]
const recent: IndexDefinition = {
  name: 'recent',
  table: 'events',
  type: 'btree',
  columns: [{ field: 'timestamp', direction: 'desc' }, { field: 'type' }],
  rolling: { field: 'timestamp', keep: '2 days', refreshEvery: '1 hour' }
}
/** Makes the cut-off of a rolling index look so old. */
async function age(name: string, interval: string) {
  const [comment] = await server(`SELECT obj_description($1::regclass, 'pg_class')`, [name])
  const told = JSON.parse(comment.slice(comment.indexOf('{')))
  const [at] = await server(`SELECT to_char(now() AT TIME ZONE 'UTC' - $1::interval, 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`, [
    interval
  ])
  await database.admin.query(`COMMENT ON INDEX ${name} IS '@tamma/events ${JSON.stringify({ ...told, cutoff: at })}'`)
}

describe('a rolling index', () => {
  it('has a literal cut-off that the planner can prove', async () => {
    await client.indexes.createIndex(recent)
    expect(await predicate('recent')).toMatch(/^\("timestamp" >= '.+'::timestamp with time zone\)$/)
    const [rows] = await server<number>(`SELECT reltuples::int FROM pg_class WHERE relname = 'recent'`)
    expect(rows).toBeGreaterThan(2870)
    expect(rows).toBeLessThan(2890)
    const since = new Date(Date.now() - 86_400_000).toISOString()
    await database.admin.query('SET enable_seqscan = off; DROP INDEX idx_events_timestamp')
    const plan = await server<unknown>(
      `EXPLAIN (FORMAT JSON) SELECT event_type FROM events WHERE "timestamp" >= '${since}'`
    )
    expect(JSON.stringify(plan)).toContain('"recent"')
    await database.admin.query('RESET ALL; CREATE INDEX idx_events_timestamp ON events ("timestamp", event_id)')
  })

  it('serves questions that ask since a moment, chosen or forced: the statement says the cut-off itself', async () => {
    const other = await database.connect()
    const since = new Date(Date.now() - 3_600_000).toISOString()
    const cutoff = (await predicate('recent')).split("'")[1]
    for (const query of [
      other
        .query()
        .where({ startTime: since })
        .hint({ forceIndex: ['recent'] }),
      other
        .query()
        .timeWindow({ last: '1 hour' })
        .hint({ forceIndex: ['recent'] })
    ]) {
      const plan = await query.explain()
      expect(plan.indexesUsed).toEqual(['recent'])
      expect(String(plan)).toContain(`timestamp >= ${new Date(cutoff).toISOString().slice(0, 19)}`)
      expect(await query.count().execute()).toMatchObject({ rows: [{ count: expect.any(Number) }] })
    }
    // What asks for older events as well cannot be served by it.
    const older = other.query().timeWindow({ last: '5 days' })
    expect((await older.explain()).indexesUsed).not.toContain('recent')
    await other.close()
  })

  it('is moved on, without a moment in which there is none', async () => {
    const before = await predicate('recent')
    const filenode = () => server(`SELECT relfilenode::text FROM pg_class WHERE relname = 'recent'`)
    const [old] = await filenode()
    await client.indexes.optimizeIndexes()
    expect(await filenode()).toEqual([old]) // not yet due
    await age('recent', '2 days 61 minutes')
    let gone = 0
    let looking = true
    const look = (async () => {
      while (looking) {
        const found = await server<boolean>(`SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('recent')`)
        if (found[0] !== true) gone += 1
      }
    })()
    const done = await client.indexes.optimizeIndexes()
    looking = false
    await look
    expect(done.rebuilt).toEqual(['recent'])
    expect(gone).toBe(0)
    expect(await filenode()).not.toEqual([old])
    expect(Date.parse((await predicate('recent')).split("'")[1])).toBeGreaterThanOrEqual(
      Date.parse(before.split("'")[1])
    )
    expect((await names()).filter(name => name.startsWith('tamma~'))).toEqual([])
    expect((await client.indexes.listIndexes()).find(one => one.name === 'recent')).toMatchObject({
      managed: true,
      valid: true
    })
  })

  it('goes on from any point at which a maintainer died', async () => {
    await age('recent', '3 days')
    await database.admin.query(
      `CREATE INDEX "tamma~new~x" ON events ("timestamp" DESC, event_type) WHERE "timestamp" >= '2024-01-01Z'`
    )
    await client.indexes.rebuildIndex('recent') // died before the swap: the half-built one is swept out
    expect((await names()).filter(name => name.startsWith('tamma~'))).toEqual([])
    await database.admin.query(`CREATE INDEX "tamma~old~x" ON events ("timestamp" DESC)`)
    await age('recent', '3 days')
    expect((await client.indexes.optimizeIndexes()).rebuilt).toEqual(['recent']) // died after it: the old one is
    expect((await names()).filter(name => name.startsWith('tamma~'))).toEqual([])
    await client.indexes.dropIndex('recent')
  })
})

describe("the story's own indexes", () => {
  it('can be built as a set', async () => {
    for (const definition of indexSets.story) await client.indexes.createIndex(definition)
    const listed = await client.indexes.listIndexes()
    for (const { name } of indexSets.story)
      expect(listed.find(one => one.name === name)).toMatchObject({ valid: true, managed: true })
    for (const { name } of indexSets.story) await client.indexes.dropIndex(name)
  })
})

describe('a partitioned table', () => {
  let parted: EventsClient
  beforeAll(async () => {
    await database.admin.query(`
      CREATE TABLE parted (LIKE events INCLUDING DEFAULTS) PARTITION BY RANGE ("timestamp");
      CREATE TABLE parted_old PARTITION OF parted FOR VALUES FROM (MINVALUE) TO ('2025-01-01Z');
      CREATE TABLE parted_new PARTITION OF parted FOR VALUES FROM ('2025-01-01Z') TO (MAXVALUE) PARTITION BY HASH (event_id);
      CREATE TABLE parted_new_0 PARTITION OF parted_new FOR VALUES WITH (MODULUS 2, REMAINDER 0);
      CREATE TABLE parted_new_1 PARTITION OF parted_new FOR VALUES WITH (MODULUS 2, REMAINDER 1);
      INSERT INTO parted SELECT * FROM events;
      ANALYZE parted`)
    parted = await database.connect({ table: { name: 'parted' } })
  })
  const tree = (name: string) =>
    server(
      `SELECT (i.indrelid::regclass::text || ' ' || i.indisvalid) FROM pg_partition_tree($1::regclass) t JOIN pg_index i ON i.indexrelid = t.relid ORDER BY 1`,
      [name]
    )
  const VALID = ['parted true', 'parted_new true', 'parted_new_0 true', 'parted_new_1 true', 'parted_old true']

  it('gets an index of each partition, built concurrently and attached', async () => {
    const definition: IndexDefinition = {
      name: 'by_issue',
      table: 'parted',
      type: 'btree',
      columns: [{ field: 'tags.issueId' }, { field: 'timestamp', direction: 'desc' }]
    }
    await parted.indexes.createIndex(definition)
    expect(await tree('by_issue')).toEqual(VALID)
    expect((await failure(parted.indexes.createIndex(definition))).code).toBe('INDEX_EXISTS')
    const listed = (await parted.indexes.listIndexes()).find(one => one.name === 'by_issue')
    expect(listed).toMatchObject({ valid: true, managed: true })
    expect(listed?.sizeBytes).toBe(
      Number((await server(`SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree('by_issue') WHERE isleaf`))[0])
    )
    await parted.indexes.rebuildIndex('by_issue')
    expect(await tree('by_issue')).toEqual(VALID)
    expect((await parted.indexes.analyzeIndex('by_issue')).verdict).toBe('keep')
    await parted.indexes.dropIndex('by_issue')
    expect((await names()).filter(name => /by_issue|tamma~/.test(name))).toEqual([])
  })

  it('moves a rolling one on', async () => {
    await parted.indexes.createIndex({ ...recent, name: 'parted_recent', table: 'parted' })
    await age('parted_recent', '3 days')
    await parted.indexes.optimizeIndexes()
    expect(await tree('parted_recent')).toEqual(VALID)
    expect((await names()).filter(name => name.startsWith('tamma~'))).toEqual([])
    await parted.indexes.dropIndex('parted_recent')
  })

  it('leaves nothing where a partition refuses', async () => {
    const error = await failure(
      parted.indexes.createIndex({
        name: 'u',
        table: 'parted',
        type: 'btree',
        columns: [{ expression: "(tags->>'text')::integer" }]
      })
    )
    expect(error.code).toBe('INDEX_INVALID')
    await until('nothing of it to be left', async () =>
      (await names()).some(name => /^u|tamma~/.test(name)) ? undefined : true
    )
  })

  it('is recommended for', async () => {
    const query = parted
      .query()
      .where({ issueIds: ['7'] })
      .orderBy('timestamp', 'desc')
      .limit(10)
      .toQuery()
    const [best] = await parted.indexes.recommendIndexes([{ query, frequency: 10 }])
    expect(best.action === 'create' && best.definition.columns[0]).toEqual({ field: 'tags.issueId' })
    if (best.action === 'create') await parted.indexes.createIndex(best.definition)
    expect(await tree(best.indexName)).toEqual(VALID)
    await parted.indexes.dropIndex(best.indexName)
  })
})

describe('maintenance', () => {
  it('moves, mends and builds by itself, says so, and stops with the client', async () => {
    await client.indexes.createIndex(recent)
    await age('recent', '3 days')
    await client.indexes.createIndex({ name: 'broken', table: 'events', type: 'btree', columns: [{ field: 'data.n' }] })
    await database.admin.query(`UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken'::regclass`)
    const told: string[] = []
    const maintained = await connect({
      url: database.url,
      maintenance: { interval: 300, autoCreate: true },
      onLog: ({ target, fields }) =>
        void (target === 'tamma_events::indexes' && told.push(`${fields.action} ${fields.index}`))
    })
    for (let i = 0; i < 5; i++)
      await maintained
        .query()
        .where({ issueIds: [String(i)] })
        .orderBy('timestamp', 'desc')
        .limit(5)
        .execute()
    const decided = (action: string) =>
      server(`SELECT index_name FROM events_index_decisions WHERE action = $1 AND decided_by = 'maintenance'`, [action])
    await until(
      'both to be mended',
      async () =>
        (await decided('moved')).includes('recent') && (await decided('rebuilt')).includes('broken') ? true : undefined,
      30_000
    )
    expect(told).toEqual(expect.arrayContaining(['moved recent', 'rebuilt broken']))
    const html = await maintained.monitor.report()
    expect(html).toContain('What was decided about indexes')
    await maintained.close()
    await database.deserted().catch(() => {}) // the others of this file stay
    const runs = await server<string>(
      `SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'tamma-events indexes'`
    )
    expect(runs).toEqual(['0'])
    for (const name of ['recent', 'broken']) await client.indexes.dropIndex(name)
  }, 60_000)

  it('keeps quiet hours', async () => {
    const quiet = await database.connect({
      maintenance: { interval: 50, quietHours: { from: 0, to: 24, timeZone: 'UTC' } }
    })
    const native = (
      quiet.indexes as unknown as Record<
        symbol,
        { report(): Promise<{ maintenance: { runs: number; outcome: string } }> }
      >
    )[Symbol.for('tamma.events.native')]
    const status = await until('a turn', async () => {
      const { maintenance } = await native.report()
      return maintenance.runs > 0 ? maintenance : undefined
    })
    expect(status.outcome).toBe('quiet hours')
    await quiet.close()
  })

  it('is checked before anything is connected', async () => {
    const { code, path } = await failure(
      connect({ url: 'postgres://nowhere.invalid/x', maintenance: { quietHours: { from: 8, to: 99 } } })
    )
    expect([code, path]).toEqual(['INVALID_QUERY', 'maintenance.quietHours.to'])
  })
})
