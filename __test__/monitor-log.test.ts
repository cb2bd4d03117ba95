// The log of queries in the database: what is written, what is kept, and what happens when it cannot be written.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { TestDatabase } from './support/database'
import { inParallel, timed, until } from './support/wait'

let database: TestDatabase

beforeAll(async () => {
  database = await TestDatabase.create({ events: 1000 })
})
afterAll(() => database.drop())

const logged = async (where = 'true') => {
  const { rows } = await database.admin.query(`SELECT * FROM query_performance_log WHERE ${where} ORDER BY created_at`)
  return rows
}

describe('what is written', () => {
  test('flush writes the runs, without their values', async () => {
    const client = await database.connect()
    const query = client.query().where('tags.text', 'eq', 's3cret value')
    await query.execute({ queryId: 'flushed' })
    await client.sql`SELECT 's3cret literal', pg_sleep(${0.01}::float8)`.execute({ queryId: 'flushed sql' })
    await client.monitor.flush()
    const [first, second, ...others] = await logged("query_id LIKE 'flushed%'")
    expect(others).toEqual([])
    expect(first).toMatchObject({ query_id: 'flushed', query_text: query.toSQL().sql, rows_returned: 0 })
    expect(second.query_text).toBe('SELECT ?, pg_sleep($1::float8)')
    expect(second.execution_time_ms).toBeGreaterThanOrEqual(10)
    expect(Math.abs(second.created_at - Date.now())).toBeLessThan(10_000)
    expect(JSON.stringify(await logged())).not.toContain('s3cret')
  })

  test('closing writes what waits', async () => {
    const client = await database.connect()
    await client
      .query()
      .limit(1)
      .execute({ queryId: 'x'.repeat(300) })
    await client.close()
    expect(await logged(`query_id = '${'x'.repeat(255)}'`)).toHaveLength(1)
    // The server takes a moment to notice a goodbye.
    await until('the connection to be gone', async () => {
      const { rowCount } = await database.admin.query(
        "SELECT FROM pg_stat_activity WHERE application_name = 'tamma-events monitor' AND datname = current_database()"
      )
      return rowCount === 0 ? true : undefined
    })
  })

  test('a sample, but all that is slow or failed; nothing where persist is false', async () => {
    const client = await database.connect({ monitor: { sampleRate: 0, slowQueryThreshold: 50 } })
    await client.sql`SELECT 'sampled'`.execute({ queryId: 'sampled fast' })
    await client.sql`SELECT pg_sleep(0.06)`.execute({ queryId: 'sampled slow' })
    await client.sql`SELECT 1 / ${0}`.execute({ queryId: 'sampled failed' }).catch(() => {})
    await client.monitor.flush()
    expect((await logged("query_id LIKE 'sampled%'")).map(row => row.query_id)).toEqual([
      'sampled slow',
      'sampled failed'
    ])

    const silent = await database.connect({ monitor: { persist: false } })
    await silent.query().limit(1).execute({ queryId: 'silent' })
    await silent.monitor.flush()
    await silent.close()
    expect(await logged("query_id = 'silent'")).toEqual([])
  })

  test('bursts are sampled, by bounded batches', async () => {
    const client = await database.connect()
    await inParallel(1500, 8, i =>
      client
        .query()
        .limit(1)
        .execute({ queryId: `burst ${i}` })
    )
    await client.monitor.flush()
    const written = (await logged("query_id LIKE 'burst %'")).length
    expect(written).toBeLessThanOrEqual(1000)
    expect(written).toBeGreaterThanOrEqual(500)
    const dropped = Number(/^tamma_events_log_dropped_total (\d+)$/m.exec(client.monitor.metrics())?.[1])
    expect(written + dropped).toBe(1500)
  })

  test('old rows are swept out', async () => {
    await database.admin.query(
      `INSERT INTO query_performance_log (query_id, query_text, execution_time_ms, rows_returned, created_at)
       SELECT 'old ' || i, 'SELECT', 1, 1, now() - i * interval '1 hour' FROM generate_series(1, 6000) i`
    )
    const client = await database.connect({ monitor: { retention: '90 minutes' } })
    await client.monitor.flush()
    expect((await logged("query_id LIKE 'old %'")).map(row => row.query_id)).toEqual(['old 1'])
  })

  test('the use of indexes is noted, once a day', async () => {
    const client = await database.connect()
    await client.monitor.flush()
    await client.monitor.flush()
    const { rows } = await database.admin.query('SELECT * FROM index_usage_stats ORDER BY index_name')
    expect(rows.length).toBeGreaterThan(2)
    expect(rows.find(row => row.index_name === 'events_pkey')).toMatchObject({ table_name: 'events' })
    expect(new Set(rows.map(row => row.index_name)).size).toBe(rows.length)
  })
})

describe('what cannot be written', () => {
  test('a table that is dropped while queries run: they go on, and the health report says why', async () => {
    const own = await TestDatabase.create({ events: 100 })
    try {
      const client = await own.connect()
      let failed = 0
      let dropped = false
      const queries = inParallel(400, 4, async i => {
        const { rows } = await client
          .query()
          .limit(5)
          .execute({ queryId: `q${i}` })
        if (rows.length !== 5) failed++
        if (i === 100) {
          await own.admin.query('DROP TABLE query_performance_log')
          dropped = true
        }
        if (i % 50 === 0) await client.monitor.flush()
      })
      await queries
      expect({ failed, dropped }).toEqual({ failed: 0, dropped: true })
      const health = await client.monitor.getHealth()
      expect(health).toMatchObject({ ok: false, postgres: { connected: true }, capabilities: { queryLog: false } })
      expect(health.problems).toEqual([expect.stringMatching(/not logged.*missing.*migrate\(\)/)])
      // The hundred there were is still counted.
      expect((await client.monitor.getFingerprints())[0]?.calls).toBe(400)
      await own.admin.query(
        'CREATE TABLE IF NOT EXISTS query_performance_log (id uuid DEFAULT gen_random_uuid(), query_id text, query_text text, execution_time_ms int, rows_returned int, indexes_used text[], created_at timestamptz)'
      )
      await client.query().limit(5).execute({ queryId: 'again' })
      await client.monitor.flush()
      expect((await client.monitor.getHealth()).ok).toBe(true)
      expect((await own.admin.query("SELECT FROM query_performance_log WHERE query_id = 'again'")).rowCount).toBe(1)
    } finally {
      await own.drop()
    }
  })

  test('a table that is locked holds up neither queries nor close', async () => {
    const client = await database.connect({ pool: { max: 1 } })
    await database.admin.query('BEGIN; LOCK TABLE query_performance_log')
    try {
      const flushing = client.monitor.flush()
      for (let i = 0; i < 20; i++) expect((await timed(client.query().limit(1).execute())).ms).toBeLessThan(500)
      await flushing
      expect((await client.monitor.getHealth()).problems).toEqual([expect.stringMatching(/not logged.*lock/)])
      expect((await timed(client.close())).ms).toBeLessThan(500)
    } finally {
      await database.admin.query('ROLLBACK')
    }
  })

  test('a disk that is full, as the server says it', async () => {
    const own = await TestDatabase.create({ events: 10 })
    try {
      await own.admin.query(`
        CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          RAISE 'could not extend file "base/5/1": No space left on device' USING ERRCODE = '53100'; END $$;
        CREATE TRIGGER full_disk BEFORE INSERT ON query_performance_log FOR EACH ROW EXECUTE FUNCTION full_disk()`)
      const logs: string[] = []
      const client = await own.connect({ onLog: ({ message }) => logs.push(message) })
      for (let i = 0; i < 3; i++) {
        expect((await client.query().execute()).rowCount).toBe(10)
        await client.monitor.flush()
      }
      expect((await client.monitor.getHealth()).problems).toEqual([
        expect.stringMatching(/No space left on device \(53100\)/)
      ])
    } finally {
      await own.drop()
    }
  })
})

test('the health of a server that is well', async () => {
  const client = await database.connect()
  const health = await client.monitor.getHealth()
  expect(health).toEqual({
    ok: true,
    postgres: {
      connected: true,
      version: expect.stringMatching(/^\d+/),
      extensions: expect.arrayContaining(['plpgsql'])
    },
    redis: { enabled: false, connected: false },
    capabilities: expect.objectContaining({ events: true, tokens: true, queryLog: true, cache: true }),
    slowQueryRatio: 0,
    cacheHitRate: 0,
    optimalIndexRatio: 0,
    cacheMemoryBytes: 0,
    problems: []
  })
  const strict = await database.connect({ monitor: { slowQueryThreshold: 0 } })
  for (let i = 0; i < 20; i++) await strict.query().limit(1).execute()
  const report = await strict.monitor.getHealth()
  expect(report).toMatchObject({ ok: false, slowQueryRatio: 1 })
  expect(report.problems).toEqual([expect.stringMatching(/100 % of 20 queries/)])
})
