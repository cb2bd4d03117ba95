// Ending a query early: by signal, by time, by id, by closing the client. Always the right code, always off the
// server, never at the cost of another query.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { connect, type EventsClient, type ExecuteOptions } from '../index.js'
import { TestDatabase } from './support/database'
import { drain, failure } from './support/errors'
import { inParallel, random, timed, until } from './support/wait'

/** 100 ms are promised; a machine that does other things too gets more. */
const SOON = 250

let database: TestDatabase
let client: EventsClient

beforeAll(async () => {
  database = await TestDatabase.create({ events: 3000 })
  client = await database.connect({ pool: { max: 3 } })
  await client.append([{ type: 'SLOW.TEXT', data: { text: `${'a'.repeat(1000)}c${'a'.repeat(500)}` } }])
  // The pool and the connection that cancels: from here on, no test may lose or add one.
  await Promise.all([1, 2, 3].map(() => client.sql`SELECT pg_sleep(0.1)::text AS slept`.execute()))
  await failure(client.sql`SELECT pg_sleep(300)::text AS slept`.execute({ timeout: 20 }), 'QUERY_TIMEOUT')
  await database.quiet()
  pids = await backends()
})
afterAll(() => database?.drop())

let pids: number[]
const backends = async () => (await database.backends()).map(({ pid }) => pid)

/** Only the connections of the first client are left. A backend that was told to end takes a moment. */
async function expectGone() {
  const others = async () => (await backends()).filter(pid => !pids.includes(pid))
  await until('no other connections', async () => ((await others()).length === 0 ? true : undefined), 1000)
  expect(await backends()).toEqual(pids)
}

afterEach(async () => {
  await database.quiet()
  await expectGone()
  expect((await Promise.all([1, 2, 3, 4].map(marker))).every(Boolean)).toBe(true)
})

/** A query that answers its own number: whatever hits it is seen. */
async function marker(n: number) {
  const { rows } = await client.sql<{ n: number }>`SELECT ${n}::int AS n`.execute()
  return rows.length === 1 && rows[0].n === n
}

const sleeping = () => client.sql`SELECT pg_sleep(300)::text AS slept`
/** Hours of work on the server, said by the builder: every way to cut a long text in four. */
const slow = (of = client) => of.query().where('data.text', 'regex', '^(.+)(.+)(.+)(.+)c\\1\\2\\3\\4\\4$')
const SLOW = 'FROM "public"."events"'

/** Every way to run a query, with a part of its statement. */
const ways: [string, (options: ExecuteOptions) => Promise<unknown>, string][] = [
  ['sql', options => sleeping().execute(options), 'pg_sleep'],
  ['a stream of sql', options => drain(sleeping().executeStream(options)), 'pg_sleep'],
  ['a query', options => slow().execute(options), SLOW],
  ['the first row', options => slow().executeFirst(options), SLOW],
  ['a stream', options => drain(slow().executeStream(options)), SLOW],
  ['batches', options => drain(slow().executeBatches(options)), SLOW],
  ['a query as a value', options => client.optimizer.executeQuery(slow().toQuery(), options), SLOW]
]

describe('by signal', () => {
  test.each(ways)('%s that runs', async (_, run, text) => {
    const controller = new AbortController()
    const reason = new Error('of the caller')
    const running = run({ signal: controller.signal })
    running.catch(() => {})
    await database.running(text)
    controller.abort(reason)
    const { ms } = await timed(running)
    const error = await failure(running, 'QUERY_CANCELLED')
    expect(error).toMatchObject({ name: 'AbortError', cause: reason, retryable: false })
    expect(ms).toBeLessThan(SOON)
    await database.quiet(SOON)
  })

  test('the reason is kept as it is', async () => {
    for (const reason of ['text', 42, { some: 'object' }]) {
      const controller = new AbortController()
      const running = sleeping().execute({ signal: controller.signal })
      controller.abort(reason)
      expect((await failure(running, 'QUERY_CANCELLED')).cause).toBe(reason)
    }
    const controller = new AbortController()
    const running = sleeping().execute({ signal: controller.signal })
    controller.abort()
    expect((await failure(running, 'QUERY_CANCELLED')).cause).toBe(controller.signal.reason)
  })

  test('of AbortSignal.timeout', async () => {
    const error = await failure(sleeping().execute({ signal: AbortSignal.timeout(30) }), 'QUERY_CANCELLED')
    expect(error.name).toBe('AbortError')
    expect((error.cause as DOMException).name).toBe('TimeoutError')
  })

  test('aborted before: no SQL', async () => {
    const signal = AbortSignal.abort(new Error('early'))
    const before = await starts()
    for (const run of [
      () => client.query().limit(1).execute({ signal }),
      () => client.query().executeFirst({ signal }),
      () => drain(client.query().executeStream({ signal })),
      () => drain(client.query().executeBatches({ signal })),
      () => client.query().explain({ signal }),
      () => client.sql`SELECT 1 AS one`.execute({ signal }),
      () => drain(client.sql`SELECT 1 AS one`.executeStream({ signal })),
      () => client.optimizer.executeQuery({ filter: {} }, { signal })
    ]) {
      expect(await failure(run(), 'QUERY_CANCELLED')).toMatchObject({ name: 'AbortError', cause: signal.reason })
    }
    expect(await starts()).toEqual(before)
  })

  async function starts() {
    const { rows } = await database.admin.query(
      'SELECT pid, query_start FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY pid'
    )
    return rows
  }

  test('after the end it changes nothing', async () => {
    const controller = new AbortController()
    const { rowCount } = await client.query().limit(5).execute({ signal: controller.signal })
    const rows = await drain(client.query().limit(5).executeStream({ signal: controller.signal }))
    controller.abort()
    await sleep(5)
    expect([rowCount, rows.length]).toEqual([5, 5])
  })

  test('between two rows', async () => {
    const controller = new AbortController()
    let seen = 0
    const reading = (async () => {
      for await (const _ of client.query().executeStream({ signal: controller.signal })) {
        if (++seen === 10) controller.abort('enough')
      }
    })()
    expect((await failure(reading, 'QUERY_CANCELLED')).cause).toBe('enough')
    expect(seen).toBe(10)
  })

  test('one signal for many queries, and no listener stays behind', async () => {
    const controller = new AbortController()
    const listeners = counted(controller.signal)
    const { signal } = controller
    for (let i = 0; i < 50; i++) await client.query().limit(1).execute({ signal })
    for (let i = 0; i < 20; i++) for await (const _ of client.query().executeStream({ signal })) break
    await drain(client.query().limit(20).executeStream({ signal }))
    await failure(client.sql`SELECT 1 / 0 AS q`.execute({ signal }))
    await failure(drain(client.sql`SELECT 1 / 0 AS q`.executeStream({ signal })))
    expect(listeners()).toBe(0)
    const errors = await Promise.all(
      [
        ...Array.from({ length: 30 }, () => failure(sleeping().execute({ signal }))),
        ...Array.from({ length: 30 }, () => failure(drain(sleeping().executeStream({ signal })))),
        sleep(50).then(() => controller.abort())
      ].slice(0, 61)
    )
    expect(new Set(errors.slice(0, 60).map(error => (error as Error).name))).toEqual(new Set(['AbortError']))
    expect(listeners()).toBe(0)
  })

  /** How many listeners of a signal there are. */
  function counted(signal: AbortSignal) {
    const current = new Set<unknown>()
    const { addEventListener, removeEventListener } = signal
    signal.addEventListener = (type: string, listener: EventListener, options?: AddEventListenerOptions) => {
      current.add(listener)
      const once = (event: Event) => {
        current.delete(listener)
        listener(event)
      }
      wrapped.set(listener, once)
      addEventListener.call(signal, type, once, options)
    }
    const wrapped = new Map<unknown, EventListener>()
    signal.removeEventListener = (type: string, listener: EventListener) => {
      current.delete(listener)
      removeEventListener.call(signal, type, wrapped.get(listener) ?? listener)
    }
    return () => current.size
  }

  test('one signal for a whole service draws no warning', async () => {
    const warnings: string[] = []
    const note = (warning: Error) => warnings.push(warning.name)
    process.on('warning', note)
    const controller = new AbortController()
    const queries = Array.from({ length: 40 }, () => failure(sleeping().execute({ signal: controller.signal })))
    const streams = Array.from({ length: 40 }, () =>
      failure(drain(sleeping().executeStream({ signal: controller.signal })))
    )
    await sleep(20)
    controller.abort()
    await Promise.all([...queries, ...streams])
    await sleep(5)
    process.off('warning', note)
    expect(warnings).toEqual([])
  })

  test("another realm's signal, or a polyfill's", async () => {
    class Signal extends EventTarget {
      aborted = false
      reason: unknown
    }
    const signal = new Signal()
    const running = sleeping().execute({ signal: signal as unknown as AbortSignal })
    const reading = drain(sleeping().executeStream({ signal: signal as unknown as AbortSignal }))
    running.catch(() => {})
    reading.catch(() => {})
    await database.running('pg_sleep', 2)
    signal.aborted = true
    signal.reason = 'of another realm'
    signal.dispatchEvent(new Event('abort'))
    expect((await failure(running, 'QUERY_CANCELLED')).cause).toBe('of another realm')
    expect((await failure(reading, 'QUERY_CANCELLED')).cause).toBe('of another realm')
  })

  test.each([{ aborted: false }, 'signal', 1, null])('%s is no signal', async signal => {
    const options = { signal } as unknown as { signal: AbortSignal }
    expect((await failure(client.query().limit(1).execute(options), 'INVALID_QUERY')).path).toBe('signal')
  })
})

describe('by time', () => {
  test.each(ways)('%s', async (_, run) => {
    const { ms } = await timed(failure(run({ timeout: 60 }), 'QUERY_TIMEOUT'))
    expect(ms).toBeGreaterThan(50)
    expect(ms).toBeLessThan(60 + SOON)
    await database.quiet(SOON)
  })

  test('the hint, which the option outdoes', async () => {
    const error = await failure(slow().timeout(40).execute(), 'QUERY_TIMEOUT')
    expect(error.message).toContain('40 ms')
    expect((await failure(slow().hint({ timeout: 40 }).execute(), 'QUERY_TIMEOUT')).message).toContain('40 ms')
    expect((await failure(slow().timeout(10_000).execute({ timeout: 50 }), 'QUERY_TIMEOUT')).message).toContain('50 ms')
    expect((await failure(drain(slow().timeout(40).executeStream()), 'QUERY_TIMEOUT')).message).toContain('40 ms')
  })

  test("the client's cap", async () => {
    const capped = await database.connect({ pool: { max: 1 }, limits: { timeout: 80 } })
    const asleep = () => capped.sql`SELECT pg_sleep(300)::text AS slept`
    for (const timeout of [undefined, 0, 10_000]) {
      expect((await failure(asleep().execute({ timeout }), 'QUERY_TIMEOUT')).message).toContain('80 ms')
      expect((await failure(drain(asleep().executeStream({ timeout })), 'QUERY_TIMEOUT')).message).toContain('80 ms')
    }
    expect((await failure(asleep().execute({ timeout: 30 }), 'QUERY_TIMEOUT')).message).toContain('30 ms')
    expect((await failure(slow(capped).timeout(0).execute(), 'QUERY_TIMEOUT')).message).toContain('80 ms')
    await capped.close()
  })

  test('a reader who takes longer than a stream may', async () => {
    // Long enough for the first row where the server first compiles the statement (JIT).
    const stream = client.sql`SELECT generate_series(1, 100000000) AS i, repeat('x', 500) AS x`.executeStream({
      timeout: 2000
    })
    await stream.next()
    await sleep(2100)
    await database.quiet(SOON)
    await failure(drain(stream), 'QUERY_TIMEOUT')
  })

  test('in time', async () => {
    expect((await client.query().limit(7).execute({ timeout: 10_000 })).rowCount).toBe(7)
    expect((await drain(client.query().limit(7).executeStream({ timeout: 10_000 }))).length).toBe(7)
  })

  test.each([-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '10', null])('%s is no timeout', async timeout => {
    const options = { timeout } as { timeout: number }
    expect((await failure(client.query().limit(1).execute(options), 'INVALID_QUERY')).path).toBe('timeout')
    expect((await failure(drain(client.query().limit(1).executeStream(options)), 'INVALID_QUERY')).path).toBe('timeout')
  })

  test.each([-1, 1.5, '10'])('%s is no timeout as a hint', async timeout => {
    const error = await failure(
      client
        .query()
        .hint({ timeout: timeout as number })
        .limit(1)
        .execute(),
      'INVALID_QUERY'
    )
    expect(error.path).toBe('hints.timeout')
  })
})

describe('by id', () => {
  test.each(ways)('%s', async (name, run, text) => {
    const queryId = `id of ${name}`
    const running = timed(run({ queryId }))
    await database.running(text)
    const started = performance.now()
    await client.optimizer.cancelQuery(queryId)
    expect(performance.now() - started).toBeLessThan(SOON)
    // It resolves once the query has stopped on the server, not before.
    expect(await database.busy()).toEqual([])
    const { error } = await running
    expect(error).toMatchObject({ code: 'QUERY_CANCELLED', name: 'EventsError', queryId, retryable: false })
  })

  test('the id of the query itself', async () => {
    const running = timed(client.optimizer.executeQuery({ ...slow().toQuery(), id: 'own id' }))
    await database.running(SLOW)
    await client.optimizer.cancelQuery('own id')
    expect((await running).error).toMatchObject({ code: 'QUERY_CANCELLED', queryId: 'own id' })
  })

  test('a stream that nobody is reading', async () => {
    const stream = client.sql<{
      i: number
    }>`SELECT generate_series(1, 100000000) AS i, repeat('x', 500) AS x`.executeStream({ queryId: 'unread' })
    await stream.next()
    await client.optimizer.cancelQuery('unread')
    expect(await database.busy()).toEqual([])
    await failure(drain(stream), 'QUERY_CANCELLED')
  })

  test('one that waits for a place', async () => {
    const held = Array.from({ length: 3 }, (_, i) => timed(sleeping().execute({ queryId: `held ${i}` })))
    await database.running('pg_sleep', 3)
    const waiting = timed(client.query().limit(1).execute({ queryId: 'waiting' }))
    await client.optimizer.cancelQuery('waiting')
    expect((await waiting).error).toMatchObject({ code: 'QUERY_CANCELLED', queryId: 'waiting' })
    await Promise.all(held.map((_, i) => client.optimizer.cancelQuery(`held ${i}`)))
    expect((await Promise.all(held)).map(({ error }) => (error as { code: string }).code)).toEqual(
      Array(3).fill('QUERY_CANCELLED')
    )
  })

  test('finished, unknown, twice, at once', async () => {
    await client.query().limit(1).execute({ queryId: 'finished' })
    await client.optimizer.cancelQuery('finished')
    await client.optimizer.cancelQuery('finished')
    expect((await failure(client.optimizer.cancelQuery('never seen'), 'UNKNOWN_QUERY')).message).toContain('never seen')
    await failure(client.optimizer.cancelQuery(''), 'UNKNOWN_QUERY')
    expect((await failure(client.optimizer.cancelQuery(undefined as unknown as string), 'INVALID_QUERY')).path).toBe(
      'queryId'
    )
    const running = timed(sleeping().execute({ queryId: 'twice' }))
    await database.running('pg_sleep')
    await Promise.all([1, 2, 3].map(() => client.optimizer.cancelQuery('twice')))
    await client.optimizer.cancelQuery('twice')
    expect((await running).error).toMatchObject({ code: 'QUERY_CANCELLED' })
  })

  test('an id that runs is taken, and free again however its query ended', async () => {
    const queryId = 'the only one'
    const running = timed(sleeping().execute({ queryId }))
    await database.running('pg_sleep')
    for (const second of [
      client.query().limit(1).execute({ queryId }),
      client.sql`SELECT 1 AS one`.execute({ queryId }),
      drain(client.query().limit(1).executeStream({ queryId }))
    ]) {
      expect((await failure(second, 'INVALID_QUERY')).path).toBe('queryId')
    }
    await client.optimizer.cancelQuery(queryId)
    await running
    for (let i = 0; i < 20; i++) expect((await client.query().limit(1).execute({ queryId })).queryId).toBe(queryId)
    await failure(client.sql`SELECT 1 / 0 AS q`.execute({ queryId }))
    await drain(client.query().limit(1).executeStream({ queryId }))
    await failure(client.sql`SELECT 1 AS a, 2 AS a`.execute({ queryId }))
    await database.quiet()
    expect((await client.query().limit(1).execute({ queryId })).rowCount).toBe(1)
  })
})

/** `TAMMA_CANCELS=10000` for more of them. */
const CANCELS = Number(process.env.TAMMA_CANCELS ?? 3000)

test('thousands of cancels among running queries: each hits its own query or none', { timeout: 600_000 }, async () => {
  const next = random(7)
  const outcomes = { done: 0, cancelled: 0 }
  await inParallel(CANCELS, 12, async i => {
    const queryId = `random ${i}`
    const [pause, stops, byId, streams] = [next() < 0.5 ? 0 : 0.004, next() < 0.6, next() < 0.5, next() < 0.3]
    const controller = new AbortController()
    const query = client.sql<{ n: number }>`SELECT ${i}::int AS n FROM (SELECT pg_sleep(${pause})) AS s`
    const options = { queryId, signal: controller.signal }
    const rows = streams ? drain(query.executeStream(options)) : query.execute(options).then(result => result.rows)
    const running = timed(rows)
    if (stops) {
      const end = performance.now() + next() * 8
      while (performance.now() < end) await sleep(1)
      if (byId) await client.optimizer.cancelQuery(queryId)
      else controller.abort()
    }
    const { value, error } = await running
    if (error === undefined) {
      expect(value).toEqual([{ n: i }])
      outcomes.done++
    } else {
      expect(error).toMatchObject({ code: 'QUERY_CANCELLED' })
      // One that nobody asked to stop was hit by the cancel of another.
      expect(stops, `query ${i} was to be stopped`).toBe(true)
      outcomes.cancelled++
    }
  })
  // Both happened often, or this test shows nothing.
  expect(outcomes.done).toBeGreaterThan(500)
  expect(outcomes.cancelled).toBeGreaterThan(500)
})

describe('close()', () => {
  test('ends what runs for minutes, and the connections are gone', async () => {
    const closing = await connect({ url: database.url, pool: { max: 3 } })
    const asleep = () => closing.sql`SELECT pg_sleep(300)::text AS slept`
    const open = closing.sql`SELECT generate_series(1, 100000000) AS i, repeat('x', 500) AS x`.executeStream()
    await open.next()
    const asleepTwice: Promise<unknown>[] = [asleep().execute(), drain(asleep().executeStream())]
    const running = asleepTwice.map(promise => timed(promise))
    await database.running('pg_sleep', 2)
    const waiting = timed(closing.query().limit(1).execute())
    await sleep(20)
    const started = performance.now()
    const closed = closing.close()
    for (const { error } of await Promise.all([...running, waiting])) expect(error).toMatchObject({ code: 'CLOSED' })
    expect(performance.now() - started).toBeLessThan(SOON)
    await failure(drain(open), 'CLOSED')
    await closed
    expect(performance.now() - started).toBeLessThan(2000)
    await expectGone()
  })

  test('a slow query of the builder', async () => {
    const closing = await connect({ url: database.url, pool: { max: 2 } })
    const running = timed(closing.optimizer.executeQuery(slow().toQuery()))
    await database.running(SLOW)
    const started = performance.now()
    const closed = closing.close()
    expect((await running).error).toMatchObject({ code: 'CLOSED' })
    expect(performance.now() - started).toBeLessThan(SOON)
    await closed
    await expectGone()
  })

  test('twice and at once; everything afterwards is CLOSED', async () => {
    const closing = await connect({ url: database.url })
    const builder = closing.query().limit(1)
    const late = closing.query().executeStream()
    const sql = closing.sql`SELECT 1 AS one`
    await builder.execute()
    await Promise.all([closing.close(), closing.close()])
    await closing.close()
    for (const use of [
      () => builder.execute(),
      () => builder.executeFirst(),
      () => drain(builder.executeStream()),
      () => drain(builder.executeBatches()),
      () => builder.explain(),
      () => late.next(),
      () => sql.execute(),
      () => drain(sql.executeStream()),
      () => closing.query().execute(),
      () => closing.append([{ type: 'A.B' }]),
      () => closing.importEvents([]),
      () => closing.migrate(),
      () => closing.optimizer.executeQuery({ filter: {} }),
      () => closing.query().where('type', 'eq', 'A.B').where('type', 'eq', 'A.C').execute()
    ]) {
      expect(await failure(use(), 'CLOSED')).toMatchObject({ retryable: false })
    }
    expect(closing.query().limit(1).toSQL().sql).toContain('SELECT')
    await expectGone()
  })

  test('await using', async () => {
    let kept: EventsClient
    {
      await using own = await connect({ url: database.url })
      kept = own
      await own.query().limit(1).execute()
    }
    await failure(kept.query().execute(), 'CLOSED')
    await expectGone()
  })

  test('fifty clients opened and closed leave nothing in the process', async () => {
    const asyncHandles = () => {
      const report = process.report.getReport() as unknown as { libuv: { type: string }[] }
      return report.libuv.filter(handle => handle.type === 'async').length
    }
    const once = async () => {
      const own = await connect({ url: database.url, pool: { max: 1 } })
      await own.query().limit(1).execute()
      await own.close()
    }
    await once()
    const before = asyncHandles()
    for (let i = 0; i < 50; i++) await once()
    expect(asyncHandles() - before).toBeLessThan(5)
    await expectGone()
  })
})
