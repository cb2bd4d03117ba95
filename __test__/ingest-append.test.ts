// What append() takes and refuses, and where it says that something is wrong.
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { EventsClient, NewEvent } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'

let database: TestDatabase
let client: EventsClient
beforeAll(async () => {
  database = await TestDatabase.create()
  client = await database.connect()
})
afterAll(() => database?.drop())

const TYPE = 'CODE.GENERATED.SUCCESS'
const ID = '0197b0a2-6f0c-7c3e-9d1f-2b8e5a4c6d70'
const stored = async (id: string) => {
  const { rows } = await client
    .query()
    .where({ eventIds: [id] })
    .execute()
  return rows[0]
}
const count = async () => (await client.query().select(['id']).execute()).rowCount

describe('what is stored', () => {
  it('is the event as it was given', async () => {
    const event = {
      id: randomUUID(),
      type: TYPE,
      timestamp: '2026-03-01T10:00:00.123456Z',
      tags: { issueId: '42', 'odd "key"': 'é😀' },
      metadata: { a: [1, null, { b: false }] },
      data: { text: 'line\nbreak \u2028 \\ " \u0001', empty: '', deep: { x: [] } }
    }
    const receipt = await client.append([event])
    expect(receipt).toMatchObject({ ids: [event.id], count: 1, token: expect.any(String) })
    expect(await stored(event.id)).toEqual(event)
  })

  it('has an id of its time and the time of the call where they are left out', async () => {
    const before = Date.now()
    const { ids } = await client.append([
      { type: TYPE },
      { type: TYPE, timestamp: new Date('2020-02-02T02:02:02.222Z') }
    ])
    const [now, then] = [await stored(ids[0]), await stored(ids[1])]
    expect(Date.parse(now.timestamp)).toBeGreaterThanOrEqual(before)
    expect(now).toMatchObject({ tags: {}, metadata: {}, data: {} })
    expect(then.timestamp).toBe('2020-02-02T02:02:02.222Z')
    const timeOf = (id: string) => Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16)
    expect(timeOf(ids[0])).toBe(Date.parse(now.timestamp))
    expect(timeOf(ids[1])).toBe(Date.parse(then.timestamp))
    expect(ids[0][14]).toBe('7')
  })

  it('keeps the order given, and ids ascend within a millisecond', async () => {
    const events = Array.from({ length: 500 }, (_, n) => ({
      type: TYPE,
      timestamp: '2026-03-02T00:00:00Z',
      data: { n }
    }))
    const { ids } = await client.append(events)
    expect(ids).toEqual([...ids].sort())
    const { rows } = await client.query().where({ eventIds: ids }).select(['data.n']).limit(500).execute()
    expect(rows.map(row => row['data.n'])).toEqual(events.map(event => event.data.n))
  })

  it.each([
    ['a zone', '2026-03-01T10:00:00+02:00', '2026-03-01T08:00:00.000Z'],
    ['a date alone', '2026-03-01', '2026-03-01T00:00:00.000Z'],
    ['microseconds', '2026-03-01T10:00:00.000001Z', '2026-03-01T10:00:00.000001Z'],
    ['the first year', '0001-01-01T00:00:00Z', '0001-01-01T00:00:00.000Z'],
    ['the last year', '9999-12-31T23:59:59.999999Z', '9999-12-31T23:59:59.999999Z'],
    ['a moment before 1970', '1969-12-31T23:59:59.999999Z', '1969-12-31T23:59:59.999999Z']
  ])('takes %s', async (_, timestamp, shown) => {
    const { ids } = await client.append([{ type: TYPE, timestamp }])
    expect((await stored(ids[0])).timestamp).toBe(shown)
  })

  it('is what JSON makes of it: undefined members left out, Dates as text, toJSON called', async () => {
    class Money {
      constructor(
        readonly amount: number,
        readonly hidden = undefined
      ) {}
    }
    const at = new Date('2026-01-02T03:04:05.678Z')
    const data = {
      none: undefined,
      at,
      money: new Money(5),
      url: new URL('https://example.org/'),
      list: [at],
      self: { toJSON: () => 'itself' }
    }
    const { ids } = await client.append([{ type: TYPE, data }])
    expect((await stored(ids[0])).data).toEqual({
      at: '2026-01-02T03:04:05.678Z',
      money: { amount: 5 },
      url: 'https://example.org/',
      list: ['2026-01-02T03:04:05.678Z'],
      self: 'itself'
    })
  })

  it('may be frozen, and is left as it was', async () => {
    const at = Object.freeze(new Date(0))
    const events = Object.freeze([
      Object.freeze({ type: TYPE, timestamp: at, data: Object.freeze({ list: Object.freeze([1, at]) }) })
    ])
    await client.append(events)
    expect(events[0]).toEqual({ type: TYPE, timestamp: at, data: { list: [1, at] } })
  })

  it('may have members called __proto__ and constructor', async () => {
    const data = JSON.parse('{"__proto__":{"a":1},"constructor":2,"hasOwnProperty":3}')
    const { ids } = await client.append([{ type: TYPE, data }])
    const row = await stored(ids[0])
    expect(JSON.stringify(row.data, Object.keys(row.data).sort())).toBe(JSON.stringify(data, Object.keys(data).sort()))
    expect(Object.hasOwn(row.data, '__proto__')).toBe(true)
  })

  it('may be large', async () => {
    const text = 'é'.repeat(1 << 20)
    const { ids } = await client.append([{ type: TYPE, data: { text } }])
    expect((await stored(ids[0])).data.text).toBe(text)
  })

  it('may be nested 999 deep', async () => {
    const data = JSON.parse(`${'{"a":'.repeat(999)}1${'}'.repeat(999)}`)
    const { ids } = await client.append([{ type: TYPE, data }])
    expect(await stored(ids[0])).toMatchObject({ data: { a: { a: {} } } })
  })

  it.each([
    ['1e308', 1e308],
    ['5e-324', 5e-324],
    ['-0', 0],
    ['9007199254740991', 9007199254740991]
  ])('may hold the number %s', async (_, n) => {
    const { ids } = await client.append([{ type: TYPE, data: { n } }])
    expect((await stored(ids[0])).data.n).toBe(n)
  })
})

describe('what is refused', () => {
  let before: number
  beforeEach(async () => {
    before = await count()
  })

  const good = { type: TYPE }
  const cases: [name: string, events: unknown, path: string][] = [
    ['no list', good, 'events'],
    ['an empty list', [], 'events'],
    ['null', [good, null], 'events[1]'],
    ['undefined', [undefined], 'events[0]'],
    ['a list', [[]], 'events[0]'],
    ['text', ['x'], 'events[0]'],
    ['an unknown member', [{ ...good, kind: 1 }], 'events[0].kind'],
    // biome-ignore lint/suspicious/noSparseArray: a hole is what is tested
    ['a hole', [good, , good], 'events[1]'],
    ['no type', [{}], 'events[0].type'],
    ['a type of one part', [{ type: 'CODE' }], 'events[0].type'],
    ['a type in lower case', [{ type: 'code.generated.success' }], 'events[0].type'],
    ['a type with an empty part', [{ type: 'CODE..SUCCESS' }], 'events[0].type'],
    ['a type with a space', [{ type: 'CODE.GENERATED.SUCCESS ' }], 'events[0].type'],
    ['a type that is too long', [{ type: `A.${'B'.repeat(300)}` }], 'events[0].type'],
    ['a type that is no text', [{ type: 5 }], 'events[0].type'],
    ['an id that is no UUID', [{ ...good, id: '42' }], 'events[0].id'],
    ['a UUID in another notation', [{ ...good, id: `{${ID}}` }], 'events[0].id'],
    ['a null id', [{ ...good, id: null }], 'events[0].id'],
    ['a time without a zone', [{ ...good, timestamp: '2026-01-01T00:00:00' }], 'events[0].timestamp'],
    ['a time that is no date', [{ ...good, timestamp: '2026-02-30T00:00:00Z' }], 'events[0].timestamp'],
    [
      'a time finer than a microsecond',
      [{ ...good, timestamp: '2026-01-01T00:00:00.1234567Z' }],
      'events[0].timestamp'
    ],
    [
      'a time before the calendar of PostgreSQL',
      [{ ...good, timestamp: '-005000-01-01T00:00:00Z' }],
      'events[0].timestamp'
    ],
    ['a number for a time', [{ ...good, timestamp: 1767225600000 }], 'events[0].timestamp'],
    ['an invalid Date', [{ ...good, timestamp: new Date(Number.NaN) }], 'events[0].timestamp'],
    ['tags that are a list', [{ ...good, tags: [] }], 'events[0].tags'],
    ['a tag that is a number', [{ ...good, tags: { issueId: 42 } }], 'events[0].tags.issueId'],
    ['a tag that is null', [{ ...good, tags: { issueId: null } }], 'events[0].tags.issueId'],
    ['data that is text', [{ ...good, data: 'x' }], 'events[0].data'],
    ['data that is null', [{ ...good, data: null }], 'events[0].data'],
    ['metadata that is a list', [{ ...good, metadata: [1] }], 'events[0].metadata'],
    ['U+0000 in a value', [good, { ...good, data: { a: [{ b: 'x\0y' }] } }], 'events[1].data.a[0].b'],
    ['U+0000 in a key', [{ ...good, data: { 'a\0': 1 } }], 'events[0].data.a\0'],
    ['U+0000 in a tag', [{ ...good, tags: { t: '\0' } }], 'events[0].tags.t'],
    ['half of a surrogate pair', [{ ...good, data: { s: 'x\ud83d' } }], 'events[0].data.s'],
    ['NaN', [{ ...good, data: { n: [0, Number.NaN] } }], 'events[0].data.n[1]'],
    ['infinity', [{ ...good, data: { n: Number.NEGATIVE_INFINITY } }], 'events[0].data.n'],
    ['a bigint', [{ ...good, data: { n: 5n } }], 'events[0].data.n'],
    ['a function', [{ ...good, data: { f() {} } }], 'events[0].data.f'],
    ['a symbol', [{ ...good, data: { s: Symbol('s') } }], 'events[0].data.s'],
    ['undefined in a list', [{ ...good, data: { l: [undefined] } }], 'events[0].data.l[0]'],
    ['a Map', [{ ...good, data: { m: new Map([[1, 2]]) } }], 'events[0].data.m'],
    ['typed bytes', [{ ...good, data: { b: new Uint8Array(2) } }], 'events[0].data.b'],
    ['a duplicate in the call', [{ ...good, id: ID }, good, { ...good, id: ID.toUpperCase() }], 'events[2].id']
  ]
  it.each(cases)('%s', async (name, events, path) => {
    const error = await failure(
      client.append(events as NewEvent[]),
      name.startsWith('a duplicate') ? 'DUPLICATE_EVENT' : 'INVALID_EVENT'
    )
    expect(error.path).toBe(path)
    expect(error.retryable).toBe(false)
    expect(await count()).toBe(before)
  })

  it('nesting 1001 deep, and what contains itself', async () => {
    const deep = JSON.parse(`${'{"a":'.repeat(1001)}1${'}'.repeat(1001)}`)
    const error = await failure(client.append([{ type: TYPE, data: deep }]), 'INVALID_EVENT')
    expect(error.path).toMatch(/^events\[0\]\.data(\.a){10,50}…$/)
    const deeper = JSON.parse(`${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}`)
    expect((await failure(client.append([{ type: TYPE, data: deeper }]), 'INVALID_EVENT')).path).toMatch(
      /^events\[0\]\.data(\.a){10,50}…$/
    )
    const circle: Record<string, unknown> = {}
    circle.children = [{ parent: circle }, { parent: circle }]
    expect((await failure(client.append([{ type: TYPE, data: circle }]), 'INVALID_EVENT')).message).toContain(
      'contains itself'
    )
  })

  it('an id that is there, with all that came with it', async () => {
    await client.append([{ ...good, id: ID }])
    const error = await failure(client.append([good, { ...good, id: ID }, good]), 'DUPLICATE_EVENT')
    expect(error.path).toBe('events[1].id')
    expect(error.message).toContain(ID)
    expect(await count()).toBe(before + 1)
    await client.append([good])
    expect(await count()).toBe(before + 2)
  })
})
