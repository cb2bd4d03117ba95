// What a client may take: queries at once, connections, rows and bytes of a buffered result.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ConnectOptions, EventsClient } from '../index.js'
import { TestDatabase } from './support/database'
import { drain, failure } from './support/errors'
import { program } from './support/program'
import { timed } from './support/wait'

let database: TestDatabase

beforeAll(async () => {
  database = await TestDatabase.create({ events: 5000 })
})
afterAll(() => database?.drop())

/** Runs a test with a client of its own. */
async function using<T>(options: ConnectOptions, run: (client: EventsClient) => Promise<T>) {
  const client = await database.connect(options)
  try {
    return await run(client)
  } finally {
    await client.close()
  }
}

const sleeping = (client: EventsClient, seconds = 300) => client.sql`SELECT pg_sleep(${seconds})::text AS slept`

describe('queries at once', () => {
  test('one more than may wait is refused at once', () =>
    using({ pool: { max: 2 }, limits: { maxQueuedQueries: 3 } }, async client => {
      const stop = new AbortController()
      const queued = Array.from({ length: 5 }, () => timed(sleeping(client).execute({ signal: stop.signal })))
      await database.running('pg_sleep', 2)
      for (const refused of [
        () => client.query().limit(1).execute(),
        () => client.sql`SELECT 1 AS one`.execute(),
        () => drain(client.query().limit(1).executeStream())
      ] as (() => Promise<unknown>)[]) {
        const { ms, error } = await timed(refused())
        expect(error).toMatchObject({ code: 'TOO_MANY_QUERIES', retryable: true, queryId: expect.any(String) })
        expect((error as Error).message).toMatch(/2 queries are running and 3 are waiting/)
        expect(ms).toBeLessThan(100)
      }
      stop.abort()
      await Promise.all(queued)
      await database.quiet()
      expect((await client.query().limit(1).execute()).rowCount).toBe(1)
    }))

  test('none may wait', () =>
    using({ pool: { max: 1 }, limits: { maxQueuedQueries: 0 } }, async client => {
      const stop = new AbortController()
      const running = timed(sleeping(client).execute({ signal: stop.signal }))
      await database.running('pg_sleep')
      await failure(client.query().limit(1).execute(), 'TOO_MANY_QUERIES')
      stop.abort()
      await running
    }))

  test('a contradiction needs no place', () =>
    using({ pool: { max: 1 }, limits: { maxQueuedQueries: 0 } }, async client => {
      const stop = new AbortController()
      const running = timed(sleeping(client).execute({ signal: stop.signal }))
      await database.running('pg_sleep')
      expect((await client.query().where('type', 'eq', 'A.B').where('type', 'eq', 'A.C').execute()).rows).toEqual([])
      stop.abort()
      await running
    }))

  test('who waits too long is told so', () =>
    using({ pool: { max: 1, acquireTimeout: 150 } }, async client => {
      const stop = new AbortController()
      const running = timed(sleeping(client).execute({ signal: stop.signal }))
      await database.running('pg_sleep')
      for (const wait of [
        () => client.query().limit(1).execute(),
        () => drain(client.query().limit(1).executeStream())
      ] as (() => Promise<unknown>)[]) {
        const { ms, error } = await timed(wait())
        expect(error).toMatchObject({ code: 'POOL_TIMEOUT', retryable: true })
        expect((error as Error).message).toContain('150 ms')
        expect(ms).toBeGreaterThan(140)
        expect(ms).toBeLessThan(600)
      }
      stop.abort()
      await running
      expect((await client.query().limit(1).execute()).rowCount).toBe(1)
    }))

  test('its own time counts while it waits', () =>
    using({ pool: { max: 1 } }, async client => {
      const stop = new AbortController()
      const running = timed(sleeping(client).execute({ signal: stop.signal }))
      await database.running('pg_sleep')
      const { ms } = await timed(failure(client.query().limit(1).execute({ timeout: 60 }), 'QUERY_TIMEOUT'))
      expect(ms).toBeLessThan(400)
      stop.abort()
      await running
    }))

  test('who gives up while waiting leaves no trace in the queue', () =>
    using({ pool: { max: 1 }, limits: { maxQueuedQueries: 5 } }, async client => {
      const stop = new AbortController()
      const running = timed(sleeping(client).execute({ signal: stop.signal }))
      await database.running('pg_sleep')
      for (let i = 0; i < 20; i++) {
        const own = new AbortController()
        const waiting = [1, 2, 3, 4, 5].map(() =>
          failure(client.query().limit(1).execute({ signal: own.signal }), 'QUERY_CANCELLED')
        )
        own.abort()
        await Promise.all(waiting)
        // The core hears of it a little later than the caller.
        await sleep(2)
      }
      stop.abort()
      await running
      const results = await Promise.all([1, 2, 3, 4, 5].map(() => client.query().limit(1).execute()))
      expect(results.map(r => r.rowCount)).toEqual([1, 1, 1, 1, 1])
    }))

  test('the server never sees more than maxConcurrentQueries', () =>
    using({ pool: { max: 6 }, limits: { maxConcurrentQueries: 2 } }, async client => {
      const all = Promise.all(
        Array.from({ length: 24 }, (_, i) =>
          i % 2 ? sleeping(client, 0.02).execute() : drain(sleeping(client, 0.02).executeStream())
        )
      )
      let [most, ended] = [0, false]
      all.finally(() => {
        ended = true
      })
      while (!ended) most = Math.max(most, (await database.busy()).length)
      await all
      expect(most).toBe(2)
    }))

  test('nor while some of them are being cancelled', () =>
    using({ pool: { max: 6 }, limits: { maxConcurrentQueries: 2 } }, async client => {
      const all = Promise.all(
        Array.from({ length: 60 }, (_, i) =>
          i % 2 ? sleeping(client, 0.004).execute() : failure(sleeping(client).execute({ timeout: 100 + 3 * i }))
        )
      )
      let [most, ended] = [0, false]
      all.finally(() => {
        ended = true
      })
      while (!ended) most = Math.max(most, (await database.busy()).filter(b => b.query.includes('pg_sleep(')).length)
      await all
      expect(most).toBe(2)
    }))

  test('the server never sees more connections than pool.max, and one to cancel', () =>
    using({ pool: { max: 3 } }, async client => {
      await Promise.all(
        Array.from({ length: 60 }, (_, i) =>
          i % 4 === 0 ? failure(sleeping(client).execute({ timeout: 5 + (i % 7) })) : sleeping(client, 0.003).execute()
        )
      )
      expect((await database.backends()).length).toBeLessThanOrEqual(4)
    }))
})

describe('a buffered result', () => {
  const tooLarge = async (client: EventsClient, run: () => Promise<unknown>, words: RegExp) => {
    const before = (await database.backends()).map(b => b.pid)
    const error = await failure(run(), 'RESULT_TOO_LARGE')
    expect(error.message).toMatch(words)
    expect(error).toMatchObject({ retryable: false, queryId: expect.any(String) })
    await database.quiet(1000)
    // The connection is used again: a cancel is cheaper than a login.
    expect((await client.query().limit(1).execute()).rowCount).toBe(1)
    const after = (await database.backends()).map(b => b.pid)
    expect(after).toEqual(expect.arrayContaining(before))
    expect(after.length - before.length).toBeLessThanOrEqual(1)
  }

  test('of as many rows as may be', () =>
    using({ limits: { maxRows: 5000 } }, async client => {
      expect((await client.query().execute()).rowCount).toBe(5000)
      expect((await client.sql`SELECT generate_series(1, 5000) AS i`.execute()).rowCount).toBe(5000)
    }))

  test('of one row more', () =>
    using({ pool: { max: 1 }, limits: { maxRows: 4999 } }, async client => {
      await client.query().limit(1).execute()
      await tooLarge(client, () => client.query().execute(), /4999 rows.*limits\.maxRows/)
      await tooLarge(client, () => client.query().limit(5000).execute(), /4999 rows/)
      await tooLarge(client, () => client.sql`SELECT generate_series(1, 2000000000) AS i`.execute(), /4999 rows/)
      await tooLarge(client, () => client.query().execute({ signal: new AbortController().signal }), /4999 rows/)
      expect((await client.query().limit(4999).execute()).rowCount).toBe(4999)
    }))

  test('no row is allowed', () =>
    using({ limits: { maxRows: 0 } }, async client => {
      expect((await client.query().where('type', 'eq', 'NONE.SUCH').execute()).rowCount).toBe(0)
      await failure(client.query().limit(1).execute(), 'RESULT_TOO_LARGE')
    }))

  test('of too many bytes', () =>
    using({ pool: { max: 1 }, limits: { maxResultBytes: 200_000 } }, async client => {
      await client.query().limit(1).execute()
      await tooLarge(client, () => client.query().execute(), /200000 bytes.*limits\.maxResultBytes/)
      await tooLarge(
        client,
        () => client.sql`SELECT generate_series(1, 2000000000) AS i, repeat('x', 1000) AS x`.execute(),
        /200000 bytes/
      )
      await tooLarge(client, () => client.sql`SELECT repeat('x', 1000000) AS x`.execute(), /200000 bytes/)
      expect((await client.query().limit(100).execute()).rowCount).toBe(100)
    }))

  test('streams have no such limit', () =>
    using({ limits: { maxRows: 10, maxResultBytes: 1000 } }, async client => {
      expect((await drain(client.query().executeStream())).length).toBe(5000)
      expect((await drain(client.query().executeBatches({ batchSize: 100 }))).length).toBe(50)
      expect((await drain(client.sql`SELECT generate_series(1, 5000) AS i`.executeStream())).length).toBe(5000)
    }))

  test('is refused before memory is gone', async () => {
    const { code, stdout, stderr } = await program(
      database.url,
      `(async () => {
        const client = await connect({ url, limits: { maxResultBytes: 20000000 } })
        await client.query().limit(1).execute()
        const before = process.memoryUsage.rss()
        const error = await client.sql\`SELECT generate_series(1, 2000000000) AS i, repeat('x', 1000) AS x\`.execute().catch(e => e)
        console.log(JSON.stringify({ code: error.code, grown: (process.memoryUsage.rss() - before) / 1048576 }))
        await client.close()
      })()`,
      { flags: ['--max-old-space-size=200'] }
    )
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const told = JSON.parse(stdout)
    expect(told.code).toBe('RESULT_TOO_LARGE')
    expect(told.grown).toBeLessThan(150)
  })
})

describe('options that cannot be', () => {
  test.each([
    [{ pool: { max: 0 } }, 'pool.max'],
    [{ pool: { max: 1.5 } }, 'pool.max'],
    [{ pool: { maximum: 1 } }, 'pool.maximum'],
    [{ limits: { maxConcurrentQueries: 0 } }, 'limits.maxConcurrentQueries'],
    [{ limits: { timeout: -1 } }, 'limits.timeout'],
    [{ limits: { maxRows: '10' } }, 'limits.maxRows'],
    [{ bigint: 'yes' }, 'bigint'],
    [{ table: { name: '' } }, 'table.name'],
    [{ table: { columns: { id: 'a\0b' } } }, 'table.columns.id'],
    [{ poool: {} }, 'poool'],
    [{ url: 'mysql://u:s3cret@localhost/x' }, 'url'],
    [{ url: 42 }, 'url']
  ])('%j', async (options, path) => {
    const error = await failure(database.connect(options as ConnectOptions), 'INVALID_QUERY')
    expect(error.path).toBe(path)
    expect(error.message + error.stack).not.toContain('s3cret')
  })
})
