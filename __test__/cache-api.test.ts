// client.cache: what is kept, by hand, and what is forgotten.
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { EventsClient, QueryResult } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'
import { until } from './support/wait'

let database: TestDatabase
let client: EventsClient
beforeAll(async () => {
  database = await TestDatabase.create({ events: 500 })
  client = await database.connect()
})
afterAll(() => database?.drop())
beforeEach(() => client.cache.clear())

const strict = (...tags: string[]) => ({ consistency: 'strict' as const, ...(tags.length > 0 && { tags }) })
const bounded = (...tags: string[]) => ({
  consistency: 'bounded' as const,
  maxStaleness: '1 hour' as const,
  ...(tags.length > 0 && { tags })
})
const list = (limit: number) => client.query().orderBy('timestamp').limit(limit)
const outcome = async (limit: number, ...tags: string[]) =>
  (
    await list(limit)
      .cache(bounded(...tags))
      .execute()
  ).cache
const RESULT: QueryResult<unknown> = {
  queryId: 'q',
  token: 't',
  rows: [{ n: 1n, at: new Date(0), text: 'é😀\0' }],
  rowCount: 1,
  executionTime: 1,
  cache: 'off'
}

describe('get', () => {
  it('gives what a query left, under its key, as fresh objects', async () => {
    const query = list(7)
    const key = client.cache.keyOf(query.toQuery())
    expect(await client.cache.get(key)).toBeNull()
    const { rows, token } = await query.cache(strict()).execute()
    const kept = await client.cache.get(key)
    expect(kept).toMatchObject({ rows, token, rowCount: 7, cache: 'memory' })
    kept?.rows.splice(0)
    expect((await client.cache.get(key))?.rows).toEqual(rows)
    expect(await client.cache.get('no such key')).toBeNull()
  })

  it('gives columns by their names, and many batches', async () => {
    const query = client.query().groupBy(['tags.issueId']).count().orderBy('count', 'desc')
    const { rows } = await query.cache(strict()).execute()
    expect((await client.cache.get(client.cache.keyOf(query.toQuery())))?.rows).toEqual(rows)
    const all = client.query().orderBy('timestamp')
    const whole = await all.cache(strict()).execute()
    const kept = await client.cache.get(client.cache.keyOf(all.toQuery()))
    expect(kept?.rows).toEqual(whole.rows)
  })
})

describe('set', () => {
  it('keeps a result for get, dates and bigints too, and each time anew', async () => {
    await client.cache.set('my:key', RESULT)
    const kept = await client.cache.get<unknown>('my:key')
    expect(kept).toEqual(RESULT)
    kept?.rows.splice(0)
    expect(await client.cache.get<unknown>('my:key')).toEqual(RESULT)
    await client.cache.delete('my:key')
    expect(await client.cache.get('my:key')).toBeNull()
  })

  it('never answers a query', async () => {
    const query = list(5)
    const key = client.cache.keyOf(query.toQuery())
    await client.cache.set(key, RESULT)
    const { rows, cache } = await query.cache(bounded()).execute()
    expect([rows.length, cache]).toEqual([5, 'miss'])
    expect(await client.cache.get<unknown>(key)).toEqual(RESULT)
    await client.cache.delete(key)
    expect(await client.cache.get(key)).toBeNull()
    expect(await outcome(5)).toBe('miss')
  })

  it('keeps no longer than asked', async () => {
    await client.cache.set('short', RESULT, 1)
    await client.cache.set('long', RESULT, '1 hour')
    await expect.poll(() => client.cache.get('short')).toBeNull()
    expect(await client.cache.get<unknown>('long')).toEqual(RESULT)
    await client.cache.set('short', RESULT, 1)
    const { entries } = await client.cache.getCacheStats()
    await new Promise(resolve => setTimeout(resolve, 5))
    await client.cache.optimize()
    expect((await client.cache.getCacheStats()).entries).toBe(entries - 1)
  })

  it('takes a share of the memory and no more', async () => {
    const small = await database.connect({ cache: { maxMemoryBytes: 1 << 20 } })
    const rows = [{ text: 'x'.repeat(20_000) }]
    for (let i = 0; i < 200; i++) await small.cache.set(`k${i}`, { ...RESULT, rows })
    await small.cache.set('huge', { ...RESULT, rows: [{ text: 'x'.repeat(1 << 20) }] })
    expect(await small.cache.get('huge')).toBeNull()
    const { memoryBytes, maxMemoryBytes, rejected } = await small.cache.getCacheStats()
    expect(memoryBytes).toBeLessThanOrEqual(maxMemoryBytes / 4)
    expect(rejected).toBe(1)
  })
})

describe('forgetting', () => {
  it('by key', async () => {
    await outcome(1)
    await outcome(2)
    await client.cache.delete(client.cache.keyOf(list(1).toQuery()))
    expect([await outcome(1), await outcome(2)]).toEqual(['miss', 'memory'])
  })

  it('by glob over keys and tags, as Redis has them', async () => {
    await outcome(1, 'dashboard:a')
    await outcome(2, 'dashboard:b:c', 'team')
    await outcome(3, 'report')
    await client.cache.set('dashboard:mine', RESULT)
    await client.cache.set('other', RESULT)
    const before = (await client.cache.getCacheStats()).invalidations
    await client.cache.invalidateByPattern('dashboard:*')
    expect((await client.cache.getCacheStats()).invalidations).toBe(before + 3)
    expect(await client.cache.get('dashboard:mine')).toBeNull()
    expect(await client.cache.get('other')).not.toBeNull()
    expect([await outcome(1), await outcome(2), await outcome(3)]).toEqual(['miss', 'miss', 'memory'])
    await client.cache.invalidateByPattern('[q-s]eport')
    expect(await outcome(3)).toBe('miss')
    await client.cache.invalidateByPattern(`${client.cache.keyOf(list(3).toQuery()).slice(0, 12)}*`)
    expect(await client.cache.get('other')).not.toBeNull()
    expect(await outcome(3)).toBe('miss')
  })

  it('by table', async () => {
    await outcome(1)
    await client.cache.invalidateByTable('others')
    expect(await outcome(1)).toBe('memory')
    await client.cache.invalidateByTable('events')
    expect(await outcome(1)).toBe('miss')
    await client.cache.invalidateByTable('public.events')
    expect(await outcome(1)).toBe('miss')
  })

  it('all of it', async () => {
    await outcome(1)
    await client.cache.set('x', RESULT)
    await client.cache.clear()
    expect((await client.cache.getCacheStats()).entries).toBe(0)
    expect(await client.cache.get('x')).toBeNull()
    expect(await outcome(1)).toBe('miss')
  })

  it('reaches answers that are on their way', async () => {
    // Held up by a lock, so that the answer is asked for before it is forgotten, and comes after.
    // By a connection of its own: in a transaction, what the server says of its backends stands still.
    const holder = new pg.Client({ connectionString: database.url })
    await holder.connect()
    await holder.query('BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE')
    const slow = list(9).cache(bounded('slow')).execute()
    try {
      await until('a statement that waits', async () =>
        (await database.busy()).some(b => b.wait_event === 'relation') ? true : undefined
      )
      await client.cache.invalidateByPattern('slow')
    } finally {
      await holder.query('COMMIT')
      await holder.end()
    }
    expect((await slow).rows).toHaveLength(9)
    expect(await outcome(9)).toBe('miss')
    expect(await outcome(9)).toBe('memory')
  })
})

describe('warmup', () => {
  it('fills the cache with answers', async () => {
    const queries = [1, 2, 3, 4, 5, 6].map(limit => list(limit).toQuery())
    await client.cache.warmup(queries)
    for (const query of queries) expect(await client.cache.get(client.cache.keyOf(query))).not.toBeNull()
    for (const limit of [1, 6]) expect(await outcome(limit)).toBe('memory')
    const named = client.query().select({ z: 'type', a: 'id' }).orderBy('timestamp').limit(2)
    await client.cache.warmup([named.toQuery()])
    const kept = await client.cache.get<object>(client.cache.keyOf(named.toQuery()))
    expect(Object.keys(kept?.rows[0] ?? {})).toEqual(['z', 'a'])
  })

  it('runs none of them where one is no query', async () => {
    const good = list(8).toQuery()
    await failure(client.cache.warmup([good, { filter: { wrong: 1 } } as never]), 'INVALID_QUERY')
    expect(await client.cache.get(client.cache.keyOf(good))).toBeNull()
  })
})

describe('optimize', () => {
  it('drops expired rows of query_cache', async () => {
    await database.admin.query(`INSERT INTO query_cache (query_key, query_hash, result_data, expires_at)
      VALUES ('old', 'h', '{}', now() - interval '1 s'), ('new', 'h', '{}', now() + interval '1 h')`)
    await client.cache.optimize()
    const { rows } = await database.admin.query('SELECT query_key FROM query_cache')
    expect(rows).toEqual([{ query_key: 'new' }])
  })
})

it.each([
  [() => client.cache.get('' as never), 'queryKey'],
  [() => client.cache.set(7 as never, RESULT), 'queryKey'],
  [() => client.cache.set('k', null as never), 'result'],
  [() => client.cache.set('k', {} as never), 'result'],
  [() => client.cache.set('k', { ...RESULT, rows: [() => 1] }), 'result'],
  [() => client.cache.set('k', RESULT, 'soon' as never), 'ttl'],
  [() => client.cache.set('k', RESULT, -1), 'ttl'],
  [() => client.cache.delete(undefined as never), 'queryKey'],
  [() => client.cache.invalidateByPattern(null as never), 'pattern'],
  [() => client.cache.invalidateByTable(1 as never), 'table'],
  [() => client.cache.warmup({} as never), 'queries']
])('refuses %s at %s', async (call, path) => {
  expect(await failure(call(), 'INVALID_QUERY')).toMatchObject({ path })
})
