// Rows of cached answers that are parsed once and given again: each caller's are its own.
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { EventQuery, EventsClient, NewEvent, QueryResult } from '../index.js'
import { TestDatabase } from './support/database'

let database: TestDatabase
let events: EventsClient

const event = (i: number): NewEvent => ({
  type: 'KEPT.A.X',
  timestamp: new Date(Date.UTC(2024, 0, 1, 0, 0, i)).toISOString(),
  tags: { key: `k${i}`, more: 'é'.repeat(40) },
  metadata: JSON.parse('{"__proto__": {"deep": [1]}, "list": [{"a": [1, 2]}, "x"]}'),
  data: { n: i, nested: { list: [{ a: 1 }, null, true], text: 'x' }, 7: 'seven' }
})

beforeAll(async () => {
  database = await TestDatabase.create()
  events = await database.connect({ bigint: 'bigint' })
  await events.append(Array.from({ length: 3000 }, (_, i) => event(i)))
})
afterAll(() => database.drop())

const latest = (limit: number) => events.query().orderBy('timestamp', 'desc').limit(limit)

it.each([20, 2000])('%i events are what a direct read gives, again and again', async limit => {
  const direct = await latest(limit).execute()
  for (let i = 0; i < 5; i++) {
    const kept = await latest(limit).cache({ consistency: 'strict' }).execute()
    expect(kept.cache).toBe(i === 0 ? 'miss' : 'memory')
    expect(kept.rows).toEqual(direct.rows)
    expect(JSON.stringify(kept.rows)).toBe(JSON.stringify(direct.rows))
    expect(kept.nextCursor).toBe(direct.nextCursor)
    expect(kept.queryId).not.toBe(direct.queryId)
  }
})

it('whoever changes a result changes no other', async () => {
  const ask = () => latest(30).cache('1 hour').execute()
  const [first, second] = [await ask(), await ask()]
  const before = JSON.stringify(second.rows)
  for (const { rows } of [first, await ask(), await ask()]) {
    for (const row of rows) {
      Object.assign(row.tags, { key: 'changed' })
      const data = row.data as { nested: { list: unknown[] } }
      data.nested.list.push('changed')
      const metadata = row.metadata as { list: [{ a: number[] }] }
      metadata.list[0].a[0] = 99
      Object.assign(row, { type: 'CHANGED' })
    }
    rows.reverse()
  }
  expect(JSON.stringify((await ask()).rows)).toBe(before)
  expect(JSON.stringify(second.rows)).toBe(before)
  const [row] = (await ask()).rows
  expect(Object.getPrototypeOf(row?.metadata)).toBe(Object.prototype)
  expect(Object.keys(row?.metadata ?? {})).toEqual(['list', '__proto__'])
})

it('more than is kept is parsed again', async () => {
  const pages = Array.from({ length: 60 }, (_, i) => events.query().where({ tags: { key: `k${i}` } }))
  const large = Array.from({ length: 40 }, (_, i) => latest(400 + i))
  for (let round = 0; round < 4; round++) {
    const answers = await Promise.all([...large, ...pages].map(query => query.cache('1 hour').execute()))
    for (const [i, { rows }] of answers.slice(0, large.length).entries()) {
      expect(rows).toHaveLength(400 + i)
      expect(rows[0]?.tags.key).toBe('k2999')
      expect(rows.at(-1)?.tags.key).toBe(`k${2600 - i}`)
    }
    for (const [i, { rows }] of answers.slice(large.length).entries())
      expect(rows.map(r => r.tags.key)).toEqual([`k${i}`])
  }
})

it('groups, and integers beyond 2^53', async () => {
  const big = '9007199254740993'
  await database.admin.query(
    `INSERT INTO events (event_id, event_type, "timestamp", data) SELECT gen_random_uuid(), 'BIG.A.X', now(), jsonb_build_object('n', ${big}, 'i', i) FROM generate_series(1, 80) AS i`
  )
  const query = events
    .query()
    .where({ eventTypes: ['BIG.A.X'] })
    .groupBy(['data.i', 'data.n'])
    .count()
    .orderBy('data.i')
  const direct = (await query.execute()) as QueryResult<object>
  for (let i = 0; i < 4; i++) expect((await query.cache('1 hour').execute()).rows).toEqual(direct.rows)
  expect(direct.rows[0]).toMatchObject({ 'data.n': BigInt(big) })
})

it('with a signal, and by many at once', async () => {
  const { signal } = new AbortController()
  const direct = await latest(50).execute()
  const ask = () => latest(50).cache({ consistency: 'strict' }).execute({ signal })
  for (const { rows } of [await ask(), await ask(), await ask()]) expect(rows).toEqual(direct.rows)
  for (const { rows } of await Promise.all(Array.from({ length: 40 }, ask))) expect(rows).toEqual(direct.rows)
})

it('another copy of the module in the same thread has its own', async () => {
  const require = createRequire(import.meta.url)
  const entry = require.resolve('../index.js')
  const copy = (): typeof import('../index.js') => {
    // The addon is one, and the JavaScript around it is there twice.
    for (const file of Object.keys(require.cache))
      if (file === entry || (file.startsWith(join(entry, '../lib')) && !file.endsWith('native.js')))
        delete require.cache[file]
    return require(entry)
  }
  const clients = [await copy().connect({ url: database.url }), await copy().connect({ url: database.url })]
  try {
    const direct = await latest(60).execute()
    const query: EventQuery = {
      filter: {},
      orderBy: [{ field: 'timestamp', direction: 'desc' }],
      limit: 60,
      hints: { cache: { maxStaleness: '1 hour' } }
    }
    for (let i = 0; i < 4; i++)
      for (const client of [...clients, events]) {
        const { rows } = await client.optimizer.executeQuery(query)
        expect(rows).toEqual(direct.rows)
      }
  } finally {
    for (const client of clients) await client.close()
  }
})
