// The monitor over a real database: what it counts, what it keeps, and what it must never keep.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EventsClient } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'
import { until } from './support/wait'

let database: TestDatabase

beforeAll(async () => {
  database = await TestDatabase.create({ events: 1000 })
})
afterAll(() => database.drop())

const typed = (client: EventsClient) => client.query().where('type', 'eq', 'ISSUE.OPENED')

describe('runs', () => {
  test('a run can be looked up by its id when it has ended', async () => {
    const client = await database.connect()
    const before = Date.now()
    const { rows } = await typed(client).execute({ queryId: 'one' })
    const stats = await client.optimizer.getQueryStats('one')
    expect(stats).toEqual({
      queryId: 'one',
      fingerprint: expect.stringMatching(/^[0-9a-f]{16}$/),
      queryText: typed(client).toSQL().sql,
      status: 'done',
      startedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      executionTime: expect.any(Number),
      rowsReturned: rows.length,
      bytesReturned: expect.any(Number),
      cache: 'off',
      indexesUsed: []
    })
    expect(Date.parse(stats.startedAt)).toBeGreaterThanOrEqual(before - 1)
    expect(stats.bytesReturned).toBeGreaterThan(rows.length * 100)
    expect(stats.executionTime).toBeGreaterThan(0)
    expect((await failure(client.optimizer.getQueryStats('never'))).code).toBe('UNKNOWN_QUERY')
  })

  test('the plan has the fingerprint of its runs, buffered, streamed, with another limit', async () => {
    const client = await database.connect()
    const { fingerprint } = await typed(client).limit(3).explain()
    await typed(client).limit(5).execute({ queryId: 'buffered' })
    for await (const _ of typed(client).limit(7).executeStream({ queryId: 'streamed' }));
    for (const id of ['buffered', 'streamed'])
      expect((await client.optimizer.getQueryStats(id)).fingerprint).toBe(fingerprint)
    const found = (await client.monitor.getFingerprints()).find(one => one.fingerprint === fingerprint)
    expect(found).toMatchObject({ calls: 2, errors: 0, rows: 12 })
    expect(found?.queryText).toContain('LIMIT ?')
  })

  test('every way to end has its status', async () => {
    const client = await database.connect()
    await failure(client.sql`SELECT pg_sleep(5)`.execute({ queryId: 'late', timeout: 50 }))
    await failure(client.sql`SELECT 1 / ${0}`.execute({ queryId: 'wrong' }))
    const cancelled = failure(client.sql`SELECT pg_sleep(6)`.execute({ queryId: 'cancelled' }))
    await database.running('pg_sleep')
    await client.optimizer.cancelQuery('cancelled')
    await cancelled
    for await (const _ of client.query().executeStream({ queryId: 'left' })) break
    const status = async (id: string) => {
      const { status, error } = await client.optimizer.getQueryStats(id)
      return { status, error }
    }
    expect(await status('late')).toEqual({ status: 'timeout', error: 'QUERY_TIMEOUT' })
    expect(await status('wrong')).toEqual({ status: 'failed', error: 'DATABASE_ERROR (22012)' })
    expect(await status('cancelled')).toEqual({ status: 'cancelled', error: 'QUERY_CANCELLED' })
    await until('the stream to be left', async () => ((await status('left')).status === 'running' ? undefined : true))
  })

  test('a query that runs is among the running ones, and its stats say so', async () => {
    const client = await database.connect()
    expect(await client.monitor.getRunningQueries()).toEqual([])
    const running = failure(client.sql`SELECT pg_sleep(${7})`.execute({ queryId: 'runs' }))
    await database.running('pg_sleep')
    const [query, ...others] = await client.monitor.getRunningQueries()
    expect(others).toEqual([])
    expect(query).toMatchObject({ queryId: 'runs', status: 'running', queryText: 'SELECT pg_sleep($1)' })
    expect(await client.optimizer.getQueryStats('runs')).toMatchObject({ status: 'running' })
    expect(client.monitor.getPool()).toMatchObject({ size: 1, idle: 0, inUse: 1, waiting: 0, maxSize: 10 })
    await client.optimizer.cancelQuery('runs')
    await running
    expect(await client.monitor.getRunningQueries()).toEqual([])
  })

  test('slow queries, the slowest first, by the option or the call', async () => {
    const client = await database.connect({ monitor: { slowQueryThreshold: 60 } })
    for (const [id, seconds] of [
      ['a', 0.08],
      ['b', 0.16],
      ['c', 0.001]
    ] as const)
      await client.sql`SELECT pg_sleep(${seconds}::float8)`.execute({ queryId: id })
    const ids = async (threshold?: number) =>
      (await client.optimizer.getSlowQueries(threshold)).map(({ queryId }) => queryId)
    expect(await ids()).toEqual(['b', 'a'])
    expect(await ids(120)).toEqual(['b'])
    expect(await ids(0)).toEqual(['b', 'a', 'c'])
    expect((await failure(client.optimizer.getSlowQueries(-1))).path).toBe('threshold')
  })
})

describe('fingerprints', () => {
  test('are ordered and cut as asked', async () => {
    const client = await database.connect()
    for (let i = 0; i < 5; i++) await typed(client).limit(i).execute()
    await client.sql`SELECT pg_sleep(0.1)`.execute()
    const first = async (orderBy?: 'totalTime' | 'meanTime' | 'calls' | 'p95') =>
      (await client.monitor.getFingerprints({ orderBy, limit: 1 })).map(({ queryText }) => queryText.slice(0, 15))
    expect(await first('calls')).toEqual([typed(client).limit(1).toSQL().sql.slice(0, 15)])
    for (const order of ['totalTime', 'meanTime', 'p95', undefined] as const)
      expect(await first(order)).toEqual(['SELECT pg_sleep'])
    expect(await client.monitor.getFingerprints()).toHaveLength(2)
    expect(await client.monitor.getFingerprints({ limit: 0 })).toEqual([])
    // @ts-expect-error not an order
    expect((await failure(client.monitor.getFingerprints({ orderBy: 'rows' }))).path).toBe('orderBy')
    expect((await failure(client.monitor.getFingerprints({ limit: -1 }))).path).toBe('limit')
    await client.monitor.reset()
    expect(await client.monitor.getFingerprints()).toEqual([])
  })

  test('quantiles are those of the runs', async () => {
    const client = await database.connect()
    const times: number[] = []
    for (let i = 0; i < 40; i++) {
      const { queryId } = await client.sql`SELECT pg_sleep(${i / 2000}::float8)`.execute()
      times.push((await client.optimizer.getQueryStats(queryId)).executionTime)
    }
    times.sort((a, b) => a - b)
    const [one] = await client.monitor.getFingerprints()
    expect(one?.calls).toBe(40)
    for (const [key, share] of [
      ['p50', 0.5],
      ['p95', 0.95],
      ['p99', 0.99]
    ] as const) {
      const exact = times[Math.ceil(40 * share) - 1]
      expect(Math.abs((one?.[key] ?? 0) - exact)).toBeLessThan(exact * 0.02)
    }
    expect(one?.maxTime).toBeCloseTo(times[39], 3)
    expect(one?.totalTime).toBeCloseTo(
      times.reduce((sum, time) => sum + time),
      1
    )
    expect(one?.meanTime).toBeCloseTo((one?.totalTime ?? 0) / 40, 6)
  })
})

test('a stream that is left is no error', async () => {
  const client = await database.connect()
  for await (const _ of client.query().executeStream()) break
  await until('its end', async () => ((await client.monitor.getRunningQueries()).length === 0 ? true : undefined))
  expect(await client.monitor.getFingerprints()).toEqual([expect.objectContaining({ calls: 1, errors: 0 })])
})

test('a client that is closed still tells what it has seen', async () => {
  const client = await database.connect()
  await client.query().limit(1).execute()
  await client.close()
  expect(await client.monitor.getFingerprints()).toHaveLength(1)
  expect(client.monitor.getPool()).toMatchObject({ size: 0 })
  expect(await client.monitor.getHealth()).toMatchObject({
    ok: false,
    postgres: { connected: false },
    problems: ['the client is closed']
  })
  await client.monitor.flush()
  expect(await client.monitor.report()).toContain('the client is closed')
})
