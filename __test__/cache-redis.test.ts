// Answers that processes share through Redis: a check comes first, so whatever becomes of Redis costs a read at most.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { connect, type EventsClient } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'
import { TestRedis } from './support/redis'
import { until } from './support/wait'

const PASSWORD = 's3cret'
let database: TestDatabase
let redis: TestRedis
const logged: string[] = []
beforeAll(async () => {
  redis = await TestRedis.start(PASSWORD)
  database = await TestDatabase.create({ events: 2000 })
})
afterAll(async () => {
  await database?.drop()
  await redis?.drop()
})
beforeEach(async () => {
  await redis.command('FLUSHALL')
})

/** A client as another process would have it: with a memory of its own. */
async function fresh(options: { keyPrefix?: string } = {}) {
  const client = await database.connect({
    redis: { url: redis.url, ...options },
    onLog: record => logged.push(JSON.stringify(record))
  })
  await until('redis', async () => ((await client.cache.getCacheStats()).redis.connected ? true : undefined))
  return client
}
const list = (client: EventsClient, limit = 20) =>
  client.query().orderBy('timestamp', 'desc').limit(limit).cache({ consistency: 'strict' }).execute()
const groups = (client: EventsClient) =>
  client.query().groupBy(['type']).count().orderBy('type').cache({ consistency: 'strict' }).execute()
const stored = (count: number) =>
  until(`${count} entries`, async () => {
    const size = /:(\d+)/.exec((await redis.command('DBSIZE')).replace('+OK\r\n', ''))
    return size && Number(size[1]) >= count ? true : undefined
  })

it('are taken up by another process, true or brought up to date', async () => {
  const [a, b, c] = [await fresh(), await fresh(), await fresh()]
  const read = await list(a)
  expect(read.cache).toBe('miss')
  await stored(1)
  const taken = await list(b)
  expect([taken.cache, taken.rows, taken.nextCursor]).toEqual(['redis', read.rows, read.nextCursor])
  expect((await list(b)).cache).toBe('memory')
  await a.append([{ type: 'CODE.GENERATED.SUCCESS', data: { n: -1 } }])
  const newer = await list(c)
  expect(newer.rows[0].data).toEqual({ n: -1 })
  expect(newer.cache).toBe('delta')
  expect((await c.cache.getCacheStats()).redis).toMatchObject({ enabled: true, connected: true, hits: 1, errors: 0 })

  const whole = await groups(a)
  await stored(2)
  expect(await groups(b)).toMatchObject({ cache: 'redis', rows: whole.rows })
  await a.append([{ type: 'CODE.GENERATED.SUCCESS' }])
  const direct = await c.query().groupBy(['type']).count().orderBy('type').execute()
  expect((await groups(c)).rows).toEqual(direct.rows)
})

it('large ones too, and each key prefix has its own', async () => {
  const [a, b] = [await fresh(), await fresh()]
  const read = await list(a, 1500)
  await stored(1)
  expect(await list(b, 1500)).toMatchObject({ cache: 'redis', rows: read.rows })
  const bytes = Number(
    /:(\d+)/.exec((await redis.command('STRLEN', `tamma:${a.cache.keyOf(keyed(a))}`)).replace('+OK', ''))?.[1]
  )
  expect(bytes).toBeGreaterThan(1000)
  expect(bytes).toBeLessThan(JSON.stringify(read.rows).length / 2)
  const other = await fresh({ keyPrefix: 'other:' })
  expect((await list(other, 1500)).cache).toBe('miss')
})
const keyed = (client: EventsClient) => client.query().orderBy('timestamp', 'desc').limit(1500).toQuery()

it('are not believed where they are broken', async () => {
  const a = await fresh()
  const ranges = [
    ['8', 'x'],
    ['12', '....'],
    ['0', 'zzzzzzzzz'],
    ['60', 'zzzz']
  ]
  for (const [i, range] of ranges.entries()) {
    const read = await list(a, i + 2)
    await stored(i + 1)
    const key = `tamma:${a.cache.keyOf(
      a
        .query()
        .orderBy('timestamp', 'desc')
        .limit(i + 2)
        .toQuery()
    )}`
    // On a slow machine a write that was not answered in time is sent again.
    await sleep(300)
    await redis.command('SETRANGE', key, ...range)
    expect(await list(await fresh(), i + 2)).toMatchObject({ cache: 'miss', rows: read.rows })
  }
})

it('are void for all once something was forgotten by hand', async () => {
  const [a, b, c] = [await fresh(), await fresh(), await fresh()]
  await list(a)
  await stored(1)
  await b.cache.invalidateByPattern('events:*')
  expect((await list(c)).cache).toBe('miss')
})

it('a Redis that stops, hangs and comes back is seen in the statistics alone', async () => {
  const a = await fresh()
  const read = await list(a)
  await stored(1)
  await redis.stop()
  const b = await database.connect({ redis: redis.url })
  for (let limit = 1; limit < 12; limit++) expect((await list(b, limit)).rows).toEqual(read.rows.slice(0, limit))
  const { errors, connected } = (await b.cache.getCacheStats()).redis
  expect([errors > 0, connected]).toEqual([true, false])
  // Forgotten while it is away: it is told once it is back, and nothing is taken from it before.
  await a.cache.invalidateByPattern('*')
  await redis.run()
  await until('a connection', async () => ((await b.cache.getCacheStats()).redis.connected ? true : undefined))
  await until('entries again', async () => {
    await list(await fresh(), 33)
    return (await list(await fresh(), 33)).cache === 'redis' ? true : undefined
  })
  redis.pause()
  try {
    for (let limit = 1; limit < 12; limit++) expect((await list(b, limit + 40)).rows).toHaveLength(limit + 40)
  } finally {
    redis.resume()
  }
})

it('refuses what is no place of a Redis, and never shows a password', async () => {
  for (const [wrong, path] of [
    ['http://x:s3cret@y', 'redis'],
    [7, 'redis'],
    [{}, 'redis.url'],
    [{ url: redis.url, prefix: 'x' }, 'redis.prefix'],
    [{ url: redis.url, keyPrefix: 7 }, 'redis.keyPrefix']
  ]) {
    const error = await failure(connect({ url: database.url, redis: wrong as never }), 'INVALID_QUERY')
    expect(error.path).toBe(path)
    expect(error.message).not.toContain(PASSWORD)
  }
  expect(logged.join('\n')).not.toContain(PASSWORD)
})
