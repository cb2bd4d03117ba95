// Keyset paging: every order, to the last microsecond, and cursors that only their own query takes back.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, type EventQuery, type EventsClient, type QueryOrderBy } from '../index.js'
import { evaluate } from './reference/evaluate'
import { randomEvents } from './reference/events'
import { isoText } from './reference/field'
import { seedOf } from './reference/fuzz'
import { Random } from './reference/random'
import { ENGLISH, Subject } from './reference/subject'
import { TestDatabase } from './support/database'
import { drain, failure } from './support/errors'

const SEED = seedOf(7)

/** All pages, each of the next of `sizes`, and then over again. */
async function pages(client: EventsClient, query: EventQuery, ...sizes: number[]) {
  const ids: string[][] = []
  let after: string | undefined
  do {
    const limit = sizes[ids.length % sizes.length]
    const page = await client.optimizer.executeQuery<{ id: string }>({
      ...query,
      limit,
      select: ['id'],
      ...(after && { after })
    })
    ids.push(page.rows.map(row => row.id))
    expect(page.rowCount).toBe(page.rows.length)
    after = page.nextCursor
  } while (after !== undefined)
  return ids
}

describe.each([
  ['C', {}, ['data', 'tags']],
  // Text inside lists and objects is ordered by the database there.
  ['English', ENGLISH, []]
])('in every order, with collation %s', (_, options, whole) => {
  let subject: Subject
  beforeAll(async () => {
    subject = await Subject.random(SEED, 90, options)
  })
  afterAll(() => subject?.drop())

  async function expectPaged(orderBy: QueryOrderBy[]) {
    const query: EventQuery = { filter: {}, ...(orderBy.length > 0 && { orderBy }) }
    const expected = evaluate({ ...query, limit: 1000 }, subject.events, subject.locale).map(event => event.id)
    expect((await pages(subject.client, query, 7, 1, 13)).flat()).toEqual(expected)
  }

  const keys = (field: string): QueryOrderBy[] =>
    (['asc', 'desc'] as const).flatMap(direction => [
      { field, direction },
      { field, direction, nulls: 'first' as const },
      { field, direction, nulls: 'last' as const }
    ])

  it.each([
    ...['id', 'type', 'timestamp', 'createdAt', 'tags.userId', 'tags.none', 'tags.a.b[0]'],
    ...['data.n', 'data.s', 'data.mixed', 'data.list', 'data.box', 'data.list[0]', 'data.deep["any.key"]', 'data.none'],
    ...whole
  ])('by %s', async field => {
    for (const key of keys(field)) await expectPaged([key])
  })

  it.each([
    [['type', 'data.n']],
    [['data.n', 'type']],
    [['timestamp', 'createdAt']],
    [['data.s', 'data.n', 'timestamp']],
    [['tags.userId', 'data.mixed', 'tags.issueId']],
    [['tags.issueId', 'id', 'data.n']]
  ])('by %j in all directions', async fields => {
    const random = new Random(SEED)
    for (let i = 0; i < 12; i++) await expectPaged(fields.map(field => random.pick(keys(field))))
  })

  it('without an order: by time and id', async () => {
    await expectPaged([])
  })
})

describe('a page', () => {
  let subject: Subject
  const query = {
    filter: { issueIds: ['1', '2', '3', '4'] },
    orderBy: [{ field: 'data.n' }, { field: 'type', direction: 'desc' as const }]
  }
  let all: string[]
  beforeAll(async () => {
    subject = await Subject.random(SEED, 120)
    all = evaluate({ ...query, limit: 1000 }, subject.events, subject.locale).map(event => event.id)
  })
  afterAll(() => subject?.drop())
  const run = (more: Partial<EventQuery>) =>
    subject.client.optimizer.executeQuery<{ id: string }>({ ...query, ...more })
  const ids = (rows: { id: string }[]) => rows.map(row => row.id)

  it('has a cursor just where something is left', async () => {
    expect(all.length).toBeGreaterThan(20)
    expect((await run({ limit: all.length })).nextCursor).toBeUndefined()
    expect((await run({ limit: all.length + 1 })).nextCursor).toBeUndefined()
    expect((await run({})).nextCursor).toBeUndefined()
    const { nextCursor } = await run({ limit: all.length - 1 })
    const last = await run({ limit: 1, after: nextCursor })
    expect(ids(last.rows)).toEqual(all.slice(-1))
    expect(last.nextCursor).toBeUndefined()
  })

  it('may be empty', async () => {
    const none = await run({ limit: 0 })
    expect(none).toMatchObject({ rows: [], rowCount: 0 })
    expect(none.nextCursor).toBeUndefined()
    expect((await run({ limit: 5, offset: all.length })).rows).toEqual([])
  })

  it('may be of another size, selection and way of running than the one before', async () => {
    const { nextCursor } = await run({ limit: 3 })
    expect(ids((await run({ limit: 500, after: nextCursor })).rows)).toEqual(all.slice(3))
    expect(ids((await run({ after: nextCursor })).rows)).toEqual(all.slice(3))
    const { rows } = await run({
      limit: 2,
      after: nextCursor,
      select: ['id'],
      hints: { batchSize: 1, priority: 'low' },
      id: 'mine'
    })
    expect(rows).toEqual(all.slice(3, 5).map(id => ({ id })))
    const streamed = await drain(
      subject.client.optimizer.executeQueryStream<{ id: string }>({ ...query, limit: 4, after: nextCursor })
    )
    expect(ids(streamed)).toEqual(all.slice(3, 7))
    const built = subject.client.query().where(query.filter).orderBy('data.n').orderBy('type', 'desc').limit(4)
    expect(ids((await built.after(nextCursor).execute()).rows)).toEqual(all.slice(3, 7))
    expect(ids((await built.after(nextCursor).after(undefined).execute()).rows)).toEqual(all.slice(0, 4))
    expect(built.after(nextCursor).toSQL().sql).toContain('WHERE')
  })

  it('behind an offset goes on without it', async () => {
    const { nextCursor, rows } = await run({ limit: 5, offset: 4 })
    expect(ids(rows)).toEqual(all.slice(4, 9))
    expect(ids((await run({ limit: 5, after: nextCursor })).rows)).toEqual(all.slice(9, 14))
    expect((await failure(run({ limit: 5, offset: 0, after: nextCursor }), 'INVALID_QUERY')).path).toBe('after')
  })

  it('means the same filter, however it is written', async () => {
    const { nextCursor } = await run({ limit: 3 })
    const same = {
      ...query,
      filter: { ...query.filter },
      orderBy: query.orderBy.map(key => ({ direction: 'asc' as const, ...key }))
    }
    expect(
      ids((await subject.client.optimizer.executeQuery<{ id: string }>({ ...same, limit: 3, after: nextCursor })).rows)
    ).toEqual(all.slice(3, 6))
  })

  describe('refuses a cursor', () => {
    let cursor: string
    beforeAll(async () => {
      cursor = (await run({ limit: 3 })).nextCursor!
    })
    const refused = async (more: Partial<EventQuery>) => {
      const error = await failure(run({ limit: 3, after: cursor, ...more }), 'INVALID_QUERY')
      expect(error.path).toBe('after')
    }

    it.each<[string, Partial<EventQuery>]>([
      ['another constant', { filter: { issueIds: ['1', '2', '3', '5'] } }],
      ['one constant less', { filter: { issueIds: ['1', '2', '3'] } }],
      ['another operator', { filter: { where: { field: 'tags.issueId', op: 'notIn', value: ['1', '2', '3', '4'] } } }],
      ['another field', { filter: { prIds: ['1', '2', '3', '4'] } }],
      ['one condition more', { filter: { ...query.filter, where: { field: 'id', op: 'exists' } } }],
      ['no filter', { filter: {} }],
      ['no order', { orderBy: undefined as never }],
      [
        'another direction',
        {
          orderBy: [
            { field: 'data.n', direction: 'desc' },
            { field: 'type', direction: 'desc' }
          ]
        }
      ],
      ['the keys the other way round', { orderBy: [{ field: 'type', direction: 'desc' }, { field: 'data.n' }] }],
      ['one key less', { orderBy: [{ field: 'data.n' }] }],
      ['one key more', { orderBy: [...query.orderBy, { field: 'timestamp' }] }],
      [
        'nulls elsewhere',
        {
          orderBy: [
            { field: 'data.n', nulls: 'first' },
            { field: 'type', direction: 'desc' }
          ]
        }
      ]
    ])('of a query with %s', async (_, more) => {
      const { orderBy = query.orderBy, ...rest } = more
      await refused(
        'orderBy' in more && more.orderBy === undefined
          ? { ...rest, orderBy: [{ field: 'timestamp' }] }
          : { ...rest, orderBy }
      )
    })

    it('of another table', async () => {
      const client = await connect({ url: subject.url, table: { name: 'query_cache' } })
      const error = await failure(client.optimizer.executeQuery({ ...query, limit: 3, after: cursor }), 'INVALID_QUERY')
      await client.close()
      expect(error.path).toBe('after')
    })

    it('that was changed anywhere', async () => {
      const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
      for (let i = 0; i < cursor.length; i++) {
        const other = alphabet[(alphabet.indexOf(cursor[i]) + 1 + (i % 62)) % 64]
        await refused({ after: cursor.slice(0, i) + other + cursor.slice(i + 1) })
      }
    })

    it('that was cut, or added to', async () => {
      for (let i = 0; i < cursor.length; i++) await refused({ after: cursor.slice(0, i) })
      for (const more of ['A', 'AAAA', '=', ' ', '\n', cursor]) {
        await refused({ after: cursor + more })
        await refused({ after: more + cursor })
      }
    })

    it.each(['', ' ', 'null', '0', 'ä', '😀', '../etc/passwd', "'; DROP TABLE events; --", 'A'.repeat(100_000)])(
      'that is none: %j',
      async after => {
        await refused({ after })
      }
    )

    it.each([null, 5, true, [], {}, ['x']])('that is no text: %j', async after => {
      await refused({ after: after as unknown as string })
    })
  })
})

describe('exactly', () => {
  let database: TestDatabase
  let client: EventsClient
  beforeAll(async () => {
    database = await TestDatabase.create()
    client = await database.connect()
    // Events are immutable, and these tests begin anew.
    await database.admin.query(
      'ALTER TABLE events DISABLE TRIGGER USER, DROP CONSTRAINT IF EXISTS events_timestamp_check'
    )
  })
  afterAll(() => database?.drop())

  const insert = (rows: readonly (readonly [id: number, timestamp: string, data?: string])[]) =>
    database.admin.query(
      `INSERT INTO events (event_id, event_type, "timestamp", created_at, data)
       SELECT ('019b0000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 'A.B', t::timestamptz, t::timestamptz, d::jsonb
       FROM unnest($1::int[], $2::text[], $3::text[]) AS r(i, t, d)`,
      [rows.map(row => row[0]), rows.map(row => row[1]), rows.map(row => row[2] ?? '{}')]
    )
  const numbers = (found: string[][]) => found.flat().map(id => Number.parseInt(id.slice(-12), 16))
  const fresh = () => database.admin.query('TRUNCATE events')

  it('to the microsecond, and to the id within it', async () => {
    await fresh()
    await insert(Array.from({ length: 40 }, (_, i) => [i + 1, `2026-01-01T00:00:00.00000${Math.floor(i / 8)}Z`]))
    const expected = Array.from({ length: 40 }, (_, i) => i + 1)
    for (const size of [1, 3, 8]) {
      expect(numbers(await pages(client, { filter: {} }, size))).toEqual(expected)
      const query = {
        filter: {},
        orderBy: [
          { field: 'timestamp', direction: 'desc' as const },
          { field: 'id', direction: 'desc' as const }
        ]
      }
      expect(numbers(await pages(client, query, size))).toEqual([...expected].reverse())
    }
  })

  it('over times that the API has no notation for', async () => {
    await fresh()
    const times = [
      '-infinity',
      '4713-01-01 BC',
      '0044-03-15 BC',
      '2026-01-01',
      '2026-01-01',
      '12026-01-01',
      'infinity',
      'infinity'
    ]
    await insert(times.map((time, i) => [i, time]))
    for (const field of ['timestamp', 'createdAt']) {
      expect(numbers(await pages(client, { filter: {}, orderBy: [{ field }] }, 1))).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
      expect(numbers(await pages(client, { filter: {}, orderBy: [{ field, direction: 'desc' }] }, 1))).toEqual([
        6, 7, 5, 3, 4, 2, 1, 0
      ])
    }
  })

  it('over numbers with more digits than a double, and equal ones written otherwise', async () => {
    await fresh()
    const values = [
      '-9007199254740993',
      '-0',
      '0',
      '0.0',
      '1e-300',
      '9007199254740992',
      '9007199254740993',
      '9007199254740993.5',
      '1e308',
      '1.0000000000000000000000000000001e308'
    ]
    await insert(values.map((value, i) => [i, '2026-01-01', `{"v":${value}}`]))
    const expected = values.map((_, i) => i)
    expect(numbers(await pages(client, { filter: {}, orderBy: [{ field: 'data.v' }] }, 1))).toEqual(expected)
    expect(numbers(await pages(client, { filter: {}, orderBy: [{ field: 'data.v', direction: 'desc' }] }, 2))).toEqual([
      9, 8, 7, 6, 5, 4, 1, 2, 3, 0
    ])
  })

  it('over text that is long, or strange', async () => {
    await fresh()
    const values = [
      '',
      '\u0001',
      '"',
      '\\',
      'a'.repeat(5000),
      `${'a'.repeat(5000)}b`,
      '\u2028',
      '\uffff',
      '😀'.repeat(1000)
    ]
    await insert(values.map((value, i) => [i, '2026-01-01', JSON.stringify({ v: value })]))
    expect(numbers(await pages(client, { filter: {}, orderBy: [{ field: 'data.v' }] }, 1))).toEqual(
      values.map((_, i) => i)
    )
  })

  it('while events are added: none twice, none left out that was there', async () => {
    await fresh()
    await insert(
      Array.from({ length: 30 }, (_, i) => [1000 + i * 100, `2026-01-01T00:00:${String(i).padStart(2, '0')}Z`])
    )
    const seen: string[][] = []
    let after: string | undefined
    for (let page = 0; ; page++) {
      const result = await client.query().limit(7).after(after).execute()
      seen.push(result.rows.map(row => row.id))
      after = result.nextCursor
      if (after === undefined) break
      // One before all that was seen, one behind all that is left, one just behind the cursor.
      const last = Number.parseInt(result.rows[6].id.slice(-12), 16)
      await insert([
        [page, '2025-01-01'],
        [9000 + page * 10, '2027-01-01'],
        [last + 1, result.rows[6].timestamp]
      ])
    }
    const all = numbers(seen)
    expect(all).toEqual([...new Set(all)])
    expect(all).toEqual(expect.arrayContaining(Array.from({ length: 30 }, (_, i) => 1000 + i * 100)))
    expect(all.filter(n => n < 1000)).toEqual([])
    expect(all.filter(n => n > 1000 && n < 9000 && n % 100 > 0).length).toBeGreaterThan(0)
    expect(all.filter(n => n >= 9000).length).toBeGreaterThan(0)
  })
})

it('makes cursors that hold every kind of value', () => {
  // Guards the generator: a page ends at each kind somewhere.
  const events = randomEvents(new Random(SEED), 90)
  const kinds = new Set(
    events.map(event =>
      event.data.mixed === undefined
        ? 'missing'
        : event.data.mixed === null
          ? 'null'
          : Array.isArray(event.data.mixed)
            ? 'array'
            : typeof event.data.mixed
    )
  )
  expect([...kinds].sort()).toEqual(
    expect.arrayContaining(['array', 'boolean', 'missing', 'null', 'number', 'object', 'string'])
  )
  expect(new Set(events.map(event => isoText(event.timestamp))).size).toBeLessThan(90)
})
