// Streams as iterators: lazy, single use, in order, and released however they end.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { DomainEvent, EventsClient } from '../index.js'
import { eventAt, TestDatabase } from './support/database'
import { drain, failure } from './support/errors'
import { program } from './support/program'

const COUNT = 20_000

let database: TestDatabase
let client: EventsClient

beforeAll(async () => {
  database = await TestDatabase.create({ events: COUNT })
  client = await database.connect({ pool: { max: 2, acquireTimeout: 1000 } })
})
afterAll(() => database?.drop())
// Whatever a test does to its streams: the server is left alone, and both connections can be used.
afterEach(async () => {
  await database.quiet()
  expect((await Promise.all([1, 2, 3].map(() => client.query().limit(1).execute()))).map(r => r.rowCount)).toEqual([
    1, 1, 1
  ])
})

const all = () => client.query().orderBy('timestamp')
/** Without an end that a test would wait for. In the select list: in FROM, the server would make all rows first. */
const endless = () => client.sql<{ i: number }>`SELECT generate_series(1, 2000000000) AS i, repeat('x', 500) AS x`

describe('lazy and single use', () => {
  test('nothing is asked before the first next()', async () => {
    const idle = await database.connect({ pool: { max: 1 } })
    await idle.query().limit(0).execute()
    const before = await starts()
    const streams = [
      idle.query().executeStream(),
      idle.query().executeBatches(),
      idle.sql`SELECT 1 AS one`.executeStream()
    ]
    await sleep(50)
    expect(await starts()).toEqual(before)
    for (const stream of streams) await stream.return?.()
    expect(await starts()).toEqual(before)
    await idle.close()
  })

  async function starts() {
    const { rows } = await database.admin.query(
      'SELECT pid, query_start FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY pid'
    )
    return rows
  }

  test('what is wrong with a query shows at the first next(), once', async () => {
    for (const make of [
      () =>
        client
          .query()
          .where('nothing' as 'type', 'eq', 1)
          .executeStream(),
      () =>
        client
          .query()
          .where('nothing' as 'type', 'eq', 1)
          .executeBatches(),
      () => client.query().executeStream({ timeout: -1 }),
      () => client.sql`SELECT ${Number.NaN} AS n`.executeStream(),
      () => client.sql`SELEC 1`.executeStream(),
      () => client.optimizer.executeQueryStream({ filter: { where: { field: 'data.x', op: 'eq', value: Number.NaN } } })
    ]) {
      const stream: AsyncGenerator<unknown> = make()
      await failure(stream.next())
      expect(await stream.next()).toEqual({ done: true, value: undefined })
    }
  })

  test('a second loop over the same stream finds it empty', async () => {
    const stream = all().limit(10).executeStream()
    expect((await drain(stream)).length).toBe(10)
    expect(await drain(stream)).toEqual([])
    expect(await stream.next()).toEqual({ done: true, value: undefined })
  })

  test('it is its own iterator, and looks like a generator', () => {
    const stream = all().executeStream()
    expect(stream[Symbol.asyncIterator]()).toBe(stream)
    expect(Object.prototype.toString.call(stream)).toBe('[object AsyncGenerator]')
    for (const method of ['next', 'return', 'throw'] as const) expect(stream[method]).toBeTypeOf('function')
  })
})

describe('next() without waiting', () => {
  test('answers come in order', async () => {
    const stream = all().executeStream()
    const results = await Promise.all(Array.from({ length: 3000 }, () => stream.next()))
    expect(results.map(result => (result.value as DomainEvent).data.n)).toEqual(
      Array.from({ length: 3000 }, (_, i) => i)
    )
    expect(results.every(result => result.done === false)).toBe(true)
    await stream.return()
  })

  test('beyond the end, every answer is done', async () => {
    const stream = all().limit(700).executeStream()
    const results = await Promise.all(Array.from({ length: 1000 }, () => stream.next()))
    expect(results.map(({ done }) => done)).toEqual([...Array(700).fill(false), ...Array(300).fill(true)])
    expect(results.slice(700).every(({ value }) => value === undefined)).toBe(true)
  })

  test('mixed with waiting, and with batches', async () => {
    const stream = all().executeBatches({ batchSize: 333 })
    const rows: DomainEvent[] = []
    for (let ended = false; !ended; ) {
      for (const { value, done } of await Promise.all([stream.next(), stream.next(), stream.next()])) {
        if (done) ended = true
        else rows.push(...value)
      }
      await sleep(rows.length % 5)
    }
    expect(rows.map(row => row.data.n)).toEqual(Array.from({ length: COUNT }, (_, i) => i))
  })

  test('an error goes to the first that waits, the others are done', async () => {
    const stream = client.sql`SELECT 1 / (i - 5) AS q FROM generate_series(1, 10) AS i`.executeStream()
    const results = await Promise.allSettled(Array.from({ length: 4 }, () => stream.next()))
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled', 'fulfilled'])
    expect((results[0] as PromiseRejectedResult).reason).toMatchObject({ code: 'DATABASE_ERROR', sqlState: '22012' })
    expect(results.slice(1).map(r => (r as PromiseFulfilledResult<{ done: boolean }>).value.done)).toEqual([
      true,
      true,
      true
    ])
  })

  test('rows before an error arrive before it', async () => {
    const stream = client.sql<{
      i: number
      q: number
    }>`SELECT i, 1 / (20000 - i) AS q, repeat('x', 100) AS x FROM generate_series(1, 30000) AS i`.executeStream()
    let seen = 0
    await failure(
      (async () => {
        for await (const { i } of stream) expect(i).toBe(++seen)
      })(),
      'DATABASE_ERROR'
    )
    expect(seen).toBeGreaterThan(10_000)
    expect(seen).toBeLessThan(20_000)
  })
})

describe('left early', () => {
  test('break', async () => {
    for await (const { i } of endless().executeStream()) if (i === 3) break
    await database.quiet()
  })

  test('an exception in the loop', async () => {
    await expect(
      (async () => {
        for await (const _ of endless().executeStream()) throw new Error('of the loop')
      })()
    ).rejects.toThrow('of the loop')
    await database.quiet()
  })

  test('return() before the first next()', async () => {
    const stream = endless().executeStream()
    expect(await stream.return()).toEqual({ done: true, value: undefined })
    expect(await stream.next()).toEqual({ done: true, value: undefined })
  })

  test('return() and throw() give what a generator gives', async () => {
    const stream = all().executeStream()
    await stream.next()
    const loose = stream as unknown as AsyncGenerator<unknown, string>
    expect(await loose.return('value')).toEqual({ done: true, value: 'value' })
    expect(await stream.next()).toEqual({ done: true, value: undefined })
    const other = all().executeStream()
    await other.next()
    await expect(other.throw(new Error('thrown in'))).rejects.toThrow('thrown in')
    expect(await other.next()).toEqual({ done: true, value: undefined })
  })

  test('return() after an abort between two rows ends it', async () => {
    const abort = new AbortController()
    const stream = client.query().executeStream({ signal: abort.signal })
    expect((await stream.next()).done).toBe(false)
    abort.abort()
    await stream.return()
    expect(await stream.next()).toEqual({ value: undefined, done: true })
  })

  test('return() does not wait for a row that never comes', async () => {
    const stream = client.sql`SELECT pg_sleep(300)::text AS slept`.executeStream()
    const waiting = [stream.next(), stream.next()]
    await database.running('pg_sleep')
    const started = performance.now()
    await stream.return()
    expect(await Promise.all(waiting)).toEqual([
      { done: true, value: undefined },
      { done: true, value: undefined }
    ])
    expect(performance.now() - started).toBeLessThan(250)
    await database.quiet()
  })

  test('await using', async () => {
    let kept: AsyncGenerator<{ i: number }>
    {
      await using stream = endless().executeStream()
      kept = stream
      expect((await stream.next()).value).toMatchObject({ i: 1 })
    }
    expect(await kept.next()).toEqual({ done: true, value: undefined })
    await database.quiet()
  })

  test('destructuring takes one row and lets go', async () => {
    const first = async () => {
      for await (const row of endless().executeStream()) return row.i
    }
    expect(await Promise.all(Array.from({ length: 20 }, first))).toEqual(Array(20).fill(1))
  })

  test('a stream that nobody holds any more is stopped when it is collected', async () => {
    const { code, stdout, stderr } = await program(
      database.url,
      `(async () => {
        const client = await connect({ url, pool: { max: 3 } })
        const begin = async () => {
          const stream = client.sql\`SELECT generate_series(1, 2000000000) AS i, repeat('x', 500) AS x\`.executeStream()
          await stream.next()
        }
        await Promise.all([begin(), begin(), begin()])
        const { setTimeout: sleep } = require('node:timers/promises')
        for (let i = 0; i < 30; i++) {
          await sleep(20)
          global.gc()
        }
        // All three connections are free again, and the next three streams are not disturbed.
        const counts = await Promise.all([1, 2, 3].map(() => client.sql\`SELECT count(*) AS n FROM generate_series(1, 100000)\`.execute()))
        console.log(counts.map(result => result.rows[0].n).join())
        await client.close()
      })()`,
      { flags: ['--expose-gc'] }
    )
    expect({ code, stdout: stdout.trim(), stderr }).toEqual({ code: 0, stdout: '100000,100000,100000', stderr: '' })
  })
})

test('rows of a stream are fresh', async () => {
  for await (const row of all().limit(5).executeStream()) row.data.n = 'changed'
  expect(await drain(all().limit(5).executeStream())).toEqual([0, 1, 2, 3, 4].map(eventAt))
})
