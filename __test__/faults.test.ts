// Backends that are killed and networks that fail: a silent second attempt where nothing was answered yet, else an
// error that says that trying again can help, and a client that goes on working.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { connect, type EventsClient, EventsError } from '../index.js'
import { TestDatabase } from './support/database'
import { drain, failure } from './support/errors'
import { Network } from './support/network'
import { inParallel, random, timed, until } from './support/wait'

let database: TestDatabase
let client: EventsClient

beforeAll(async () => {
  database = await TestDatabase.create({ events: 30_000 })
  client = await database.connect({ pool: { max: 4 } })
})
afterAll(() => database?.drop())
// Without a new client: all places of the pool can be used, and nothing is left running.
afterEach(async () => {
  expect(await Promise.all([1, 2, 3, 4, 5].map(n => marker(client, n)))).toEqual([1, 2, 3, 4, 5])
  await database.quiet()
  // Two pools, of four and of two, and what cancels for each.
  expect((await database.backends()).length).toBeLessThanOrEqual(8)
})

async function marker(of: EventsClient, n: number) {
  const { rows } = await of.sql<{ n: number }>`SELECT ${n}::int AS n`.execute()
  return rows[0].n
}

/** Kills the package's backends whose last statement contains `text`. */
async function kill(text = '') {
  const { rows } = await database.admin.query<{ killed: boolean }>(
    `SELECT pg_terminate_backend(pid) AS killed FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND position($1 in query) > 0`,
    [text]
  )
  return rows.length
}

describe('a backend is killed', () => {
  test('in mid-stream: the rows so far, then an error that is worth another try', async () => {
    const stream = client.query().orderBy('timestamp').executeStream()
    let seen = 0
    const reading = (async () => {
      for await (const { data } of stream) {
        expect(data.n).toBe(seen++)
        if (seen === 10) expect(await kill('ORDER BY')).toBe(1)
        // The server is far ahead of a reader: let it find the end of its connection.
        if (seen === 20) await sleep(30)
      }
    })()
    const error = await failure(reading, 'CONNECTION_FAILED')
    expect(error).toMatchObject({ retryable: true, queryId: expect.any(String) })
    expect(error.stack).toContain('faults.test.ts')
    expect(seen).toBeGreaterThanOrEqual(20)
    expect(seen).toBeLessThan(30_000)
    expect(await stream.next()).toEqual({ done: true, value: undefined })
  })

  test('before the first row: once more, and nobody notices', async () => {
    for (const run of [
      () => client.sql`SELECT pg_sleep(0.3)::text AS slept, 7 AS n`.execute().then(({ rows }) => rows),
      () => drain(client.sql`SELECT pg_sleep(0.3)::text AS slept, 7 AS n`.executeStream())
    ]) {
      const running = run()
      await database.running('pg_sleep')
      expect(await kill('pg_sleep')).toBe(1)
      expect(await running).toEqual([{ slept: '', n: 7 }])
    }
  })

  test('again and again: an error that is worth another try, in the end', async () => {
    const running = timed(client.sql`SELECT pg_sleep(30)::text AS slept`.execute())
    let ended = false
    running.then(() => {
      ended = true
    })
    while (!ended) {
      await kill('pg_sleep')
      await sleep(5)
    }
    const { error, ms } = await running
    expect(error).toMatchObject({ code: 'CONNECTION_FAILED', retryable: true, sqlState: '57P01' })
    expect(ms).toBeLessThan(5000)
  })

  test('while it is idle: nobody notices', async () => {
    for (let round = 0; round < 5; round++) {
      await Promise.all([1, 2, 3, 4].map(n => marker(client, n)))
      await kill()
      const results = await Promise.all([
        client.query().limit(3).execute(),
        drain(client.query().limit(3).executeStream()),
        client.query().executeFirst(),
        marker(client, 42),
        client.query().limit(1).explain()
      ])
      expect(results[0].rowCount).toBe(3)
      expect(results[1].length).toBe(3)
      expect(results[3]).toBe(42)
    }
  })

  test('while it is idle, before an append: stored once, or an error that is worth another try', async () => {
    let stored = 0
    for (let round = 0; round < 10; round++) {
      await Promise.all([1, 2, 3, 4].map(n => marker(client, n)))
      if (round % 2) await sleep(5)
      await kill()
      const outcome = await client
        .append([{ type: 'FAULT.APPENDED', data: { round } }])
        .catch((error: unknown) => error)
      if (outcome instanceof EventsError) expect(outcome).toMatchObject({ code: 'CONNECTION_FAILED', retryable: true })
      else stored++
    }
    const { rows } = await client.query().where('type', 'eq', 'FAULT.APPENDED').execute()
    expect(rows.length).toBe(stored)
    await client.append([{ type: 'FAULT.APPENDED' }])
  })

  test('the one that cancels: aborts and timeouts are as quick as before', async () => {
    await failure(client.sql`SELECT pg_sleep(30)::text AS slept`.execute({ timeout: 20 }), 'QUERY_TIMEOUT')
    await database.quiet()
    expect(await kill('pg_cancel_backend')).toBe(1)
    for (let i = 0; i < 3; i++) {
      const { ms } = await timed(
        failure(client.sql`SELECT pg_sleep(30)::text AS slept`.execute({ timeout: 20 }), 'QUERY_TIMEOUT')
      )
      expect(ms).toBeLessThan(270)
      await database.quiet(1500)
    }
  })

  test('while the client closes', async () => {
    const closing = await connect({ url: database.url, pool: { max: 3 } })
    const running = [1, 2, 3].map(() => timed(closing.sql`SELECT pg_sleep(30)::text AS closing`.execute()))
    await database.running('closing', 3)
    const closed = closing.close()
    await kill('closing')
    for (const { error } of await Promise.all(running)) expect(error).toMatchObject({ code: 'CLOSED' })
    await closed
  })

  test('at random, under load: every answer is right, every error is worth another try', async () => {
    const next = random(3)
    let [ended, answered] = [false, 0]
    const killing = (async () => {
      while (!ended) {
        await sleep(20 + next() * 40)
        await database.admin.query(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
           WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' ORDER BY random() LIMIT 1`
        )
      }
    })()
    await inParallel(600, 8, async i => {
      const wait = next() * 0.005
      const query = client.sql<{
        n: number
      }>`SELECT n AS n FROM (SELECT pg_sleep(${wait})) AS s, generate_series(1, 400) AS n`
      try {
        const rows = i % 2 ? (await query.execute()).rows : await drain(query.executeStream())
        expect(rows.map(row => row.n)).toEqual(Array.from({ length: 400 }, (_, k) => k + 1))
        answered++
      } catch (error) {
        expect(error).toMatchObject({ code: 'CONNECTION_FAILED', retryable: true })
      }
    })
    ended = true
    await killing
    expect(answered).toBeGreaterThan(500)
  })
})

describe('the network', () => {
  let network: Network
  let remote: EventsClient

  beforeAll(async () => {
    network = await Network.to(database.url)
    remote = await connect({ url: network.url, pool: { max: 2, acquireTimeout: 700 } })
  })
  afterAll(async () => {
    await remote?.close()
    await network?.close()
  })

  test('is cut while nothing runs', async () => {
    await Promise.all([marker(remote, 1), marker(remote, 2)])
    network.cut()
    expect(await Promise.all([1, 2, 3, 4].map(n => marker(remote, n)))).toEqual([1, 2, 3, 4])
  })

  test('is cut in mid-stream', async () => {
    let seen = 0
    const reading = (async () => {
      for await (const _ of remote.query().executeStream()) if (++seen === 100) network.cut()
    })()
    expect(await failure(reading, 'CONNECTION_FAILED')).toMatchObject({ retryable: true })
    expect(await marker(remote, 5)).toBe(5)
  })

  test('ends at any byte of an answer', async () => {
    const full = (await remote.query().limit(50).execute()).rows
    for (const bytes of [1, 9, 320, 700, 2000, 4001, 16_007]) {
      network.cut()
      network.cutAfter(bytes)
      const outcome = await remote
        .query()
        .limit(50)
        .execute()
        .then(({ rows }) => rows)
        .catch((error: unknown) => error)
      if (outcome instanceof Error)
        expect(outcome, `after ${bytes} bytes`).toMatchObject({ code: 'CONNECTION_FAILED', retryable: true })
      else expect(outcome).toEqual(full)
    }
    network.heal()
    expect(await marker(remote, 6)).toBe(6)
  })

  test('falls silent: timeouts, aborts and new queries do not wait for it', async () => {
    const stream = remote.query().executeStream()
    await stream.next()
    network.fallSilent()
    const late = timed(failure(remote.sql`SELECT 1 AS one`.execute({ timeout: 100 }), 'QUERY_TIMEOUT'))
    expect((await late).ms).toBeLessThan(400)
    const aborted = timed(
      failure(
        remote
          .query()
          .limit(1)
          .execute({ signal: AbortSignal.timeout(100) }),
        'QUERY_CANCELLED'
      )
    )
    expect((await aborted).ms).toBeLessThan(400)
    const left = timed(stream.return())
    expect((await left).ms).toBeLessThan(100)
    // Both connections are stuck, and a new one is not answered either.
    const { error, ms } = await timed(remote.query().limit(1).execute())
    expect(error).toMatchObject({ retryable: true })
    expect(['POOL_TIMEOUT', 'CONNECTION_FAILED']).toContain((error as EventsError).code)
    expect(ms).toBeLessThan(6000)
    network.heal()
    await until(
      'a healthy client',
      async () => ((await marker(remote, 7).catch(() => 0)) === 7 ? true : undefined),
      5000
    )
    await Promise.all([1, 2, 3].map(n => marker(remote, n)))
  })

  test('is silent when the client closes: close() comes to an end', async () => {
    const own = await connect({ url: network.url, pool: { max: 2 } })
    const stream = own.query().executeStream()
    await stream.next()
    const running = timed(own.sql`SELECT pg_sleep(30)::text AS slept`.execute())
    await database.running('pg_sleep')
    network.fallSilent()
    const started = performance.now()
    const closed = own.close()
    expect((await running).error).toMatchObject({ code: 'CLOSED' })
    expect(performance.now() - started).toBeLessThan(300)
    await closed
    expect(performance.now() - started).toBeLessThan(5000)
    network.heal()
    // The server notices by itself that nobody is there.
    await until('an idle server', async () => ((await database.busy()).length === 0 ? true : undefined), 3000)
  })
})
