// A server that is stopped, killed and started again, under a client that stays.
import { chmodSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { connect, type EventsClient, type EventsError } from '../index.js'
import { TestDatabase } from './support/database'
import { drain, failure } from './support/errors'
import { timed, until } from './support/wait'

interface Server {
  url: string
  port: number
  pid: number
  stop(): Promise<boolean>
}
const { startEmbedded } = createRequire(import.meta.url)('../lib/embedded') as {
  startEmbedded(options: { directory: string; port?: number }): Promise<Server>
}

const root = realpathSync(mkdtempSync(join(tmpdir(), 'tamma-faults-')))
chmodSync(root, 0o755) // as root, the server runs as another user, who has to come in

let server: Server
let database: TestDatabase
let client: EventsClient

beforeAll(async () => {
  server = await startEmbedded({ directory: join(root, 'db') })
  database = await TestDatabase.create({ events: 30_000, server: server.url })
  client = await connect({ url: database.url, pool: { max: 3 } })
})
afterAll(async () => {
  await client?.close()
  await database?.admin.end().catch(() => {})
  await server?.stop()
  rmSync(root, { recursive: true, force: true })
})

const start = async () => {
  server = await startEmbedded({ directory: join(root, 'db'), port: server.port })
}

/** As an operator does it: sessions are ended, and told so. */
async function restart() {
  await server.stop()
  await start()
}

/** As the kernel does it when memory is short. The first start's share of the directory is let go with the next. */
async function crash() {
  const { pid, stop } = server
  process.kill(pid, 'SIGKILL')
  await until('a dead server', () => {
    try {
      process.kill(pid, 0)
      return undefined
    } catch {
      return true
    }
  })
  return stop
}

/** The answer, sooner or later, of a caller who tries again as often as the errors allow. */
async function persistently<T>(run: () => Promise<T>) {
  return until('an answer', () =>
    run().catch((error: EventsError) => {
      expect(error).toMatchObject({ code: 'CONNECTION_FAILED', retryable: true })
      return undefined
    })
  )
}

const count = async () => (await client.sql<{ n: number }>`SELECT count(*) AS n FROM events`.execute()).rows[0].n

beforeEach(async () => {
  // Every connection of the pool is open, and will be found dead.
  await Promise.all([1, 2, 3].map(() => client.sql`SELECT pg_sleep(0.05)::text AS slept`.execute()))
  await failure(client.sql`SELECT pg_sleep(9)::text AS slept`.execute({ timeout: 10 }), 'QUERY_TIMEOUT')
})

describe('a restart', () => {
  test('between two queries: nobody notices', async () => {
    expect(await count()).toBe(30_000)
    await restart()
    expect(await Promise.all([count(), count(), count(), count()])).toEqual([30_000, 30_000, 30_000, 30_000])
    expect((await drain(client.query().limit(10).executeStream())).length).toBe(10)
  })

  test('between two queries: appends and imports too', async () => {
    await restart()
    await persistently(() => client.append([{ type: 'AFTER.RESTART' }]))
    await restart()
    await persistently(() =>
      client.importEvents([
        {
          id: '018bcfe5-6800-7000-8000-ffffffffffff',
          type: 'AFTER.RESTART',
          timestamp: '2026-01-01T00:00:00Z',
          tags: {},
          metadata: {},
          data: {}
        }
      ])
    )
    expect((await client.query().where('type', 'eq', 'AFTER.RESTART').execute()).rowCount).toBe(2)
  })

  test('in mid-stream', async () => {
    let seen = 0
    const reading = (async () => {
      for await (const _ of client.query().executeStream()) if (++seen === 50) await restart()
    })()
    expect(await failure(reading, 'CONNECTION_FAILED')).toMatchObject({ retryable: true })
    expect(seen).toBeGreaterThanOrEqual(50)
    expect((await persistently(() => drain(client.query().limit(10).executeStream()))).length).toBe(10)
  })

  test('in mid-query', async () => {
    const running = timed(client.sql`SELECT pg_sleep(0.4)::text AS slept, 5 AS five`.execute())
    await sleep(100)
    await restart()
    const { value, error } = await running
    // A start within the time of the silent attempts goes unnoticed.
    if (error) expect(error).toMatchObject({ code: 'CONNECTION_FAILED', retryable: true })
    else expect(value?.rows).toEqual([{ slept: '', five: 5 }])
    expect(await persistently(() => client.query().limit(1).execute())).toMatchObject({ rowCount: 1 })
  })
})

describe('a crash', () => {
  test('with queries and streams under way', async () => {
    const stream = client.query().executeStream()
    await stream.next()
    const running = timed(client.sql`SELECT pg_sleep(30)::text AS slept`.execute())
    await sleep(50)
    const letGo = await crash()
    const { error, ms } = await running
    expect(error).toMatchObject({ code: 'CONNECTION_FAILED', retryable: true })
    expect(ms).toBeLessThan(5000)
    expect(await failure(drain(stream), 'CONNECTION_FAILED')).toMatchObject({ retryable: true })
    await start()
    await letGo()
    expect(await persistently(count)).toBe(30_002)
  })

  test('while it is down: an error at once, and then all is well again', async () => {
    const letGo = await crash()
    for (const run of [
      () => client.query().limit(1).execute(),
      () => drain(client.query().limit(1).executeStream()),
      () => client.query().limit(1).explain(),
      () => client.append([{ type: 'NEVER.STORED' }]),
      () => client.sql`SELECT 1 AS one`.execute(),
      () => connect({ url: database.url })
    ]) {
      const { error, ms } = await timed<unknown>(run())
      expect(error).toMatchObject({ code: 'CONNECTION_FAILED', retryable: true })
      expect((error as Error).message).not.toContain(new URL(database.url).password)
      expect(ms).toBeLessThan(2500)
    }
    const waiting = persistently(count)
    await start()
    await letGo()
    expect(await waiting).toBe(30_002)
    expect((await client.query().where('type', 'eq', 'NEVER.STORED').execute()).rowCount).toBe(0)
  })

  test('while it is down, a client closes', async () => {
    const closing = await connect({ url: database.url, pool: { max: 2 } })
    await Promise.all([1, 2].map(() => closing.sql`SELECT pg_sleep(0.02)::text AS slept`.execute()))
    const letGo = await crash()
    const { ms, error } = await timed(closing.close())
    expect(error).toBeUndefined()
    expect(ms).toBeLessThan(1000)
    await start()
    await letGo()
    expect(await persistently(count)).toBe(30_002)
  })
})
