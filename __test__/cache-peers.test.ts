// What is forgotten by hand is forgotten in the other processes too, and no more than that.
import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { CacheStats, ConnectOptions, EventsClient } from '../index.js'
import { TestDatabase } from './support/database'
import { TestRedis } from './support/redis'
import { until } from './support/wait'

let database: TestDatabase
let client: EventsClient
const children: ChildProcess[] = []
beforeAll(async () => {
  database = await TestDatabase.create({ events: 200 })
  client = await database.connect()
})
afterAll(async () => {
  await Promise.all(
    children.map(async child => {
      const ended = new Promise(resolve => child.once('exit', resolve))
      if (!child.connected) return
      child.disconnect()
      await ended
    })
  )
  await database?.drop()
})

class Other {
  private constructor(private readonly child: ChildProcess) {}

  static async start(options: ConnectOptions = {}) {
    const child = fork(join(import.meta.dirname, 'cache-child.cjs'), [JSON.stringify(options), database.url])
    children.push(child)
    const other = new Other(child)
    await other.answer()
    return other
  }

  private answer<T>() {
    return new Promise<T>((resolve, reject) => {
      const ended = () => reject(new Error('the other process has ended'))
      this.child.once('exit', ended)
      this.child.once('message', message => {
        this.child.off('exit', ended)
        resolve(message as T)
      })
    })
  }

  private ask<T>(question: object) {
    const answer = this.answer<T>()
    this.child.send(question)
    return answer
  }

  outcome = (limit: number, ...tags: string[]) => this.ask<string>({ limit, tags })
  stats = () => this.ask<CacheStats>({ stats: true })
  /** Where the first answers come from, by their limits. */
  outcomes = async (...limits: number[]) => {
    const found: string[] = []
    for (const limit of limits) found.push(await this.outcome(limit))
    return found
  }

  /** Waits until it has heard what was said last: what was not told in time is told again, and counts again. */
  async heard(before: number) {
    const received = async () => (await this.stats()).peers.received
    for (let last = before; ; ) {
      await until('a message', async () => ((await received()) > before ? true : undefined))
      await until('nothing untold', async () =>
        (await client.cache.getCacheStats()).peers.untold === 0 ? true : undefined
      )
      await sleep(100)
      const now = await received()
      if (now === last) return
      last = now
    }
  }
}

it('by key, glob, tag and table: what is meant goes, the rest stays', async () => {
  const other = await Other.start()
  expect(await other.outcome(1)).toBe('miss')
  expect((await other.stats()).peers).toEqual({ listening: true, received: 0, untold: 0 })
  const fill = async () => {
    await other.outcome(1)
    await other.outcome(2, 'dashboard:a')
    await other.outcome(3, 'report')
    expect(await other.outcomes(1, 2, 3)).toEqual(['memory', 'memory', 'memory'])
  }
  const key = client.cache.keyOf(client.query().orderBy('timestamp').limit(1).toQuery())
  const rounds: [() => Promise<void>, string[]][] = [
    [() => client.cache.delete(key), ['miss', 'memory', 'memory']],
    [() => client.cache.invalidateByPattern('dashboard:*'), ['memory', 'miss', 'memory']],
    [() => client.cache.invalidateByPattern(`${key.slice(0, 12)}*`), ['miss', 'memory', 'memory']],
    [() => client.cache.invalidateByTable('others'), ['memory', 'memory', 'memory']],
    [() => client.cache.invalidateByTable('public.events'), ['miss', 'miss', 'miss']],
    [() => client.cache.clear(), ['miss', 'miss', 'miss']],
    [() => client.cache.invalidateByPattern('x'.repeat(20_000)), ['miss', 'miss', 'miss']]
  ]
  for (const [i, [forget, expected]] of rounds.entries()) {
    await fill()
    const { received } = (await other.stats()).peers
    await forget()
    await other.heard(received)
    expect([i, ...(await other.outcomes(1, 2, 3))]).toEqual([i, ...expected])
  }
  // What a process says itself it need not hear.
  expect((await client.cache.getCacheStats()).peers.received).toBe(0)
})

it('also after the connection that listens was lost: nothing that was kept until then is believed', async () => {
  const other = await Other.start()
  await other.outcome(7)
  const kill = async () =>
    (
      await database.admin.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'tamma-events cache'`
      )
    ).rowCount
  expect(await kill()).toBeGreaterThan(0)
  // Perhaps heard by nobody.
  await client.cache.invalidateByPattern('events:*')
  await until('another look', async () => ((await other.outcome(7)) === 'miss' ? true : undefined))
  await until('listening again', async () => ((await other.stats()).peers.listening ? true : undefined))
  await other.outcome(8)
  await client.cache.invalidateByTable('events')
  await until('the message', async () => ((await other.outcome(8)) === 'miss' ? true : undefined))
})

it('in the table and in Redis as well', async () => {
  const redis = await TestRedis.start()
  try {
    for (const options of [{ cache: { persistent: true } }, { redis: redis.url }] satisfies ConnectOptions[]) {
      const tier = 'redis' in options ? 'redis' : 'table'
      const other = await Other.start(options)
      for (const [limit, tag] of [
        [21, 'a:1'],
        [22, 'b:1']
      ] as const)
        await other.outcome(limit, tag)
      const stored = async () =>
        tier === 'redis'
          ? Number(/:(\d+)/.exec((await redis.command('DBSIZE')).replace('+OK', ''))?.[1]) - 1
          : (await database.admin.query('SELECT FROM query_cache')).rowCount
      await until('both', async () => ((await stored()) === 2 ? true : undefined))
      const teller = await database.connect(options)
      if (tier === 'redis')
        await until('redis', async () => ((await teller.cache.getCacheStats()).redis.connected ? true : undefined))
      await teller.cache.invalidateByPattern('a:*')
      const third = await Other.start(options)
      if (tier === 'redis') await until('redis', async () => ((await third.stats()).redis.connected ? true : undefined))
      expect([await third.outcome(21, 'a:1'), await third.outcome(22, 'b:1')]).toEqual(['miss', tier])
      if (tier === 'table') await database.admin.query('TRUNCATE query_cache')
    }
  } finally {
    await redis.drop()
  }
})

it('is told once the server can be reached', async () => {
  const other = await Other.start()
  await other.outcome(31)
  const cut = await database.connect()
  await cut.query().orderBy('timestamp').limit(1).cache('1 hour').execute()
  const server = new pg.Client({ connectionString: database.url.replace(database.name, 'postgres') })
  await server.connect()
  await server.query(`ALTER DATABASE ${database.name} ALLOW_CONNECTIONS false`)
  try {
    await cut.cache.invalidateByTable('events')
    expect((await cut.cache.getCacheStats()).peers.untold).toBe(1)
    expect(await other.outcome(31)).toBe('memory')
  } finally {
    await server.query(`ALTER DATABASE ${database.name} ALLOW_CONNECTIONS true`)
    await server.end()
  }
  await until('the message', async () => ((await other.outcome(31)) === 'miss' ? true : undefined), 20_000)
  await until('nothing untold', async () => ((await cut.cache.getCacheStats()).peers.untold === 0 ? true : undefined))
})

it('a hot bounded answer is refreshed before its time is over', async () => {
  const hot = await database.connect()
  const query = () => hot.query().orderBy('timestamp').limit(40).cache('2 seconds').execute()
  expect((await query()).cache).toBe('miss')
  const checked = performance.now()
  await until('a refresh', async () => {
    await query()
    return (await hot.cache.getCacheStats()).refreshes > 0 ? true : undefined
  })
  // Not before it was nearly over, and by nobody who waits.
  expect(performance.now() - checked).toBeGreaterThan(1400)
  const { misses, deltas } = await hot.cache.getCacheStats()
  expect([misses, deltas]).toEqual([1, 0])
})

it('leaves no connection behind', async () => {
  const own = await TestDatabase.create({ events: 10 })
  try {
    const quiet = await own.connect()
    await quiet.query().limit(1).execute()
    const before = (await own.backends()).length
    await quiet.query().limit(1).cache('1 hour').execute()
    expect((await own.backends()).length).toBe(before + 1)
    await quiet.cache.clear()
    await quiet.close()
    await own.deserted()
  } finally {
    await own.drop()
  }
})
