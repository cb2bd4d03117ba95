// Answers that survive the process, in the table query_cache: a check comes first, so whatever becomes of the table
// costs a read at most.
import pg from 'pg'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import type { ConnectOptions, EventsClient } from '../index.js'
import { TestDatabase } from './support/database'
import { until } from './support/wait'

let database: TestDatabase
beforeAll(async () => {
  database = await TestDatabase.create({ events: 2000 })
})
afterAll(() => database?.drop())
const open: EventsClient[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map(client => client.close()))
  await database.admin.query('TRUNCATE query_cache')
})

/** A client as a process that was started again would have it. */
async function fresh(options: ConnectOptions['cache'] = {}) {
  const client = await database.connect({ cache: { persistent: true, ...options } })
  open.push(client)
  return client
}
const list = (client: EventsClient, limit = 20) =>
  client.query().orderBy('timestamp', 'desc').limit(limit).cache({ consistency: 'strict' })
const groups = (client: EventsClient) =>
  client.query().groupBy(['type']).count().avg('data.n').aggregate({ fn: 'median', field: 'data.n' }).orderBy('type')
const perHour = (client: EventsClient) =>
  client.query().groupBy(['type']).timeBucket('1 hour').count().sum('data.n').orderBy('bucket').orderBy('type')
const strict = { consistency: 'strict' } as const
const kept = async () =>
  (
    await database.admin.query<{ query_key: string; hit_count: number; result_data: Record<string, unknown> }>(
      'SELECT query_key, hit_count, result_data FROM query_cache ORDER BY created_at, query_key'
    )
  ).rows
const written = (count: number) =>
  until(`${count} entries`, async () => {
    const rows = await kept()
    return rows.length >= count ? rows : undefined
  })
const told = async (client: EventsClient) => (await client.cache.getCacheStats()).table

it('are taken up after a restart, true or brought up to date', async () => {
  const a = await fresh()
  const lists = await list(a).execute()
  const hours = await perHour(a).cache(strict).execute()
  const all = await groups(a).cache(strict).execute()
  expect([lists.cache, hours.cache, all.cache]).toEqual(['miss', 'miss', 'miss'])
  await a.close()
  expect(await kept()).toHaveLength(3)

  const b = await fresh()
  const again = await list(b).execute()
  expect([again.cache, again.rows, again.nextCursor]).toEqual(['table', lists.rows, lists.nextCursor])
  expect((await list(b).execute()).cache).toBe('memory')
  expect(await perHour(b).cache(strict).execute()).toMatchObject({ cache: 'table', rows: hours.rows })
  expect(await groups(b).cache(strict).execute()).toMatchObject({ cache: 'table', rows: all.rows })
  expect(await told(b)).toMatchObject({ enabled: true, hits: 3, misses: 0, errors: 0, problem: null })

  const c = await fresh()
  await c.append([{ type: 'CODE.GENERATED.SUCCESS', data: { n: -1 } }])
  const newer = await list(c).execute()
  expect([newer.cache, newer.rows[0].data]).toEqual(['delta', { n: -1 }])
  const merged = await perHour(c).cache(strict).execute()
  expect([merged.cache, merged.rows]).toEqual(['delta', (await perHour(c).execute()).rows])
  expect((await groups(c).cache(strict).execute()).rows).toEqual((await groups(c).execute()).rows)
})

it('are written in the background, and count what they were good for', async () => {
  const a = await fresh()
  await list(a, 7).execute()
  const [row] = await written(1)
  const query = a.query().orderBy('timestamp', 'desc').limit(7).toQuery()
  expect(row.query_key).toBe(a.cache.keyOf(query))
  expect(row.result_data).toMatchObject({ table: 'events', tags: [], rows: 7 })
  for (const client of [await fresh(), await fresh()]) {
    expect((await list(client, 7).execute()).cache).toBe('table')
    await client.close()
  }
  expect((await kept())[0].hit_count).toBe(2)
})

it('are not believed where they are broken, or of another key', async () => {
  const a = await fresh()
  const read = [await list(a, 1).execute(), await list(a, 2).execute(), await list(a, 3).execute()]
  await a.close()
  await database.admin.query(`UPDATE query_cache SET result_data = jsonb_set(result_data, '{answer}',
    (SELECT o.result_data->'answer' FROM query_cache o WHERE o.id <> query_cache.id LIMIT 1))`)
  for (const data of [undefined, '{}', '[]', '{"answer":"!"}', '{"answer":7}', '{"answer":"IQAA"}']) {
    if (data) await database.admin.query('UPDATE query_cache SET result_data = $1', [data])
    const client = await fresh()
    for (const limit of [1, 2, 3])
      expect(await list(client, limit).execute()).toMatchObject({ cache: 'miss', rows: read[limit - 1].rows })
    // It is not to put them right before the next round.
    await database.admin.query('BEGIN; LOCK TABLE query_cache IN SHARE MODE')
    await client.close()
    await database.admin.query('COMMIT')
  }
})

it('are replaced by newer ones, never by older', async () => {
  const query = (client: EventsClient) => list(client, 5).execute()
  await query(await fresh())
  await written(1)
  const change = (path: string, value: string) =>
    database.admin.query('UPDATE query_cache SET result_data = jsonb_set(result_data, $1, $2)', [`{${path}}`, value])
  await change('xmax', '1e18')
  await change('answer', '"older"')
  const later = await fresh()
  await query(later)
  await later.close()
  expect((await kept())[0].result_data).toMatchObject({ answer: 'older', xmax: 1e18 })
  await change('incarnation', '"another"')
  const next = await fresh()
  await query(next)
  await next.close()
  expect((await kept())[0].result_data.answer).not.toBe('older')
})

it('take no more room than the cache may, and go when they expire', async () => {
  const a = await fresh({ maxMemoryBytes: 300_000 })
  for (let limit = 100; limit < 180; limit++) await list(a, limit).execute()
  await until('all written', async () => ((await told(a)).written === 80 ? true : undefined))
  const size = async () =>
    (await database.admin.query<{ sum: string }>('SELECT sum(pg_column_size(result_data)) FROM query_cache')).rows[0]
      .sum
  await a.cache.optimize()
  expect(Number(await size())).toBeLessThanOrEqual(300_000)
  const left = (await kept()).length
  expect([left > 10, left < 80]).toEqual([true, true])
  await database.admin.query("UPDATE query_cache SET expires_at = now() - interval '1 s'")
  const b = await fresh()
  expect((await list(b, 179).execute()).cache).toBe('miss')
  await b.cache.optimize()
  expect(await kept()).toHaveLength(0)
})

it('a table that is locked, missing, or not to be written is seen in the statistics alone', async () => {
  const read = await (await database.connect()).query().orderBy('timestamp', 'desc').limit(12).execute()
  const holder = new pg.Client({ connectionString: database.url })
  await holder.connect()
  try {
    await holder.query('BEGIN; LOCK TABLE query_cache IN ACCESS EXCLUSIVE MODE')
    const locked = await fresh()
    for (let limit = 1; limit < 12; limit++)
      expect((await list(locked, limit).execute()).rows).toEqual(read.rows.slice(0, limit))
    expect((await told(locked)).errors).toBeGreaterThan(0)
    await holder.query('ROLLBACK; ALTER TABLE query_cache RENAME TO elsewhere')
    const without = await fresh()
    for (let limit = 1; limit < 12; limit++)
      expect((await list(without, limit).execute()).rows).toEqual(read.rows.slice(0, limit))
    expect(await told(without)).toMatchObject({ errors: 1, problem: expect.stringContaining('42P01') })
    await without.cache.optimize()
  } finally {
    await holder.query('ROLLBACK; ALTER TABLE IF EXISTS elsewhere RENAME TO query_cache')
    await holder.end()
  }
  const url = new URL(database.url)
  url.searchParams.set('options', '-c default_transaction_read_only=on')
  const only = await database.connect({ url: url.href, cache: { persistent: true } })
  open.push(only)
  expect((await list(only, 3).execute()).rows).toEqual(read.rows.slice(0, 3))
  await until('a refused write', async () => ((await told(only)).problem?.includes('25006') ? true : undefined))
  expect((await list(only, 4).execute()).rows).toEqual(read.rows.slice(0, 4))
})

it('warms up from what was asked for lately, in earlier processes too', async () => {
  const a = await fresh()
  await list(a, 31).execute()
  await perHour(a).cache('1 hour').execute()
  await a
    .query()
    .limit(1)
    .cache({ consistency: 'session', token: (await list(a, 1).execute()).token })
    .execute()
  await a.query().limit(2).execute()
  await a.close()
  await database.admin.query(
    `INSERT INTO query_cache (query_key, query_hash, result_data, expires_at)
     VALUES ('events:odd', '', '{"query": "{\\"nonsense\\": 1}"}', now() + interval '1 h')`
  )
  const b = await fresh()
  await b.cache.warmup()
  expect(await told(b)).toMatchObject({ hits: 3, misses: 0 })
  expect((await list(b, 31).execute()).cache).toBe('memory')
  expect((await perHour(b).cache('1 hour').execute()).cache).toBe('memory')
  // And in this one, after all was forgotten.
  await b.cache.clear()
  expect(await kept()).toEqual([])
  await b.cache.warmup()
  expect((await perHour(b).cache('1 hour').execute()).cache).toBe('memory')
})

it('leaves no connection behind', async () => {
  const other = await TestDatabase.create({ events: 50 })
  try {
    const client = await other.connect({ cache: { persistent: true } })
    await list(client).execute()
    await client.close()
    await other.deserted()
    const { rows } = await other.admin.query('SELECT FROM query_cache')
    expect(rows).toHaveLength(1)
    // Killed while it is idle: the next read opens another.
    const again = await other.connect({ cache: { persistent: true } })
    await list(again).execute()
    await other.admin.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tamma-events cache'"
    )
    expect((await list(again, 3).execute()).rowCount).toBe(3)
    expect((await list(again, 4).execute()).rowCount).toBe(4)
  } finally {
    await other.drop()
  }
})

it('is off unless it is asked for', async () => {
  const client = await database.connect()
  await list(client).execute()
  await client.close()
  expect(await kept()).toEqual([])
})
