// The four ways to read a query give the same rows, whatever the sizes.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { DomainEvent, EventsClient } from '../index.js'
import { eventAt, eventsUpTo, TestDatabase } from './support/database'
import { drain, failure } from './support/errors'

const COUNT = 100_000
const EVENTS = eventsUpTo(COUNT)

let database: TestDatabase
let client: EventsClient

beforeAll(async () => {
  database = await TestDatabase.create({ events: COUNT })
  client = await database.connect()
})
afterAll(() => database?.drop())

const upTo = (count: number) => client.query().where({ startTime: '2024-01-01' }).orderBy('timestamp').limit(count)

const TEXTS = EVENTS.map(event => JSON.stringify(event))

/** All events, in order. `toEqual` would take minutes. */
function allEvents(rows: unknown[]) {
  expect(rows.length).toBe(COUNT)
  const wrong = rows.findIndex((row, i) => JSON.stringify(row) !== TEXTS[i])
  if (wrong !== -1) expect(rows[wrong]).toEqual(EVENTS[wrong])
  expect(wrong).toBe(-1)
}

describe('events as they were stored', () => {
  test('execute', async () => {
    const { rows, rowCount, cache, executionTime, queryId, token } = await upTo(2000).execute()
    expect(rows).toEqual(EVENTS.slice(0, 2000))
    expect({ rowCount, cache }).toEqual({ rowCount: 2000, cache: 'off' })
    expect(executionTime).toBeGreaterThan(0)
    expect(queryId).toMatch(/^[0-9a-f-]{36}$/)
    expect(token).not.toBe('')
  })

  test('executeFirst', async () => {
    expect(await upTo(10).executeFirst()).toEqual(EVENTS[0])
    expect(await client.query().orderBy('timestamp', 'desc').executeFirst()).toEqual(EVENTS[COUNT - 1])
    expect(await client.query().where('type', 'eq', 'NONE').executeFirst()).toBeUndefined()
    expect(await upTo(0).executeFirst()).toBeUndefined()
  })

  test('executeStream', async () => {
    expect(await drain(upTo(2000).executeStream())).toEqual(EVENTS.slice(0, 2000))
  })

  test.each([1, 7, 999, 1000, 1999, 2000, 2001, 5000])('executeBatches of %i', async batchSize => {
    const batches = await drain(upTo(2000).executeBatches({ batchSize }))
    expect(batches.map(batch => batch.length)).toEqual([
      ...Array(Math.floor(2000 / batchSize)).fill(batchSize),
      ...(2000 % batchSize ? [2000 % batchSize] : [])
    ])
    expect(batches.flat()).toEqual(EVENTS.slice(0, 2000))
  })

  test('executeBatches takes its size from the hint, and has one without', async () => {
    const sizes = async (batches: AsyncIterable<unknown[]>) => (await drain(batches)).map(batch => batch.length)
    expect(await sizes(upTo(2500).executeBatches())).toEqual([1000, 1000, 500])
    expect(await sizes(upTo(2500).hint({ batchSize: 900 }).executeBatches())).toEqual([900, 900, 700])
    expect(await sizes(upTo(2500).hint({ batchSize: 900 }).executeBatches({ batchSize: 2000 }))).toEqual([2000, 500])
  })

  test.each([0, -1, 1.5, Number.NaN, '10', null])('a batch size of %s is refused', async batchSize => {
    const options = { batchSize } as { batchSize: number }
    expect((await failure(drain(upTo(1).executeBatches(options)), 'INVALID_QUERY')).path).toBe('batchSize')
  })

  test('a hundred thousand, every way', async () => {
    const all = client.query().orderBy('timestamp')
    const { rows, rowCount } = await all.execute()
    expect(rowCount).toBe(COUNT)
    allEvents(rows)
    allEvents(await drain(all.executeStream()))
    allEvents((await drain(all.executeBatches({ batchSize: 30_000 }))).flat())
    expect((await all.execute({ signal: new AbortController().signal })).rows.at(-1)).toEqual(EVENTS.at(-1))
  })

  test('one large batch costs no more than many small ones', async () => {
    const time = async (batchSize: number) => {
      const started = performance.now()
      await drain(client.query().orderBy('timestamp').executeBatches({ batchSize }))
      return performance.now() - started
    }
    const small = await time(1000)
    expect(await time(COUNT)).toBeLessThan(small * 3)
  })

  test('columns of a selection', async () => {
    const query = upTo(300).select({
      n: 'data.n',
      issue: 'tags.issueId',
      deep: 'data.list[2].deep',
      none: 'data.none',
      at: 'timestamp'
    })
    const expected = EVENTS.slice(0, 300).map(e => ({
      n: e.data.n,
      issue: e.tags.issueId,
      deep: true,
      none: null,
      at: e.timestamp
    }))
    expect((await query.execute()).rows).toEqual(expected)
    expect(await drain(query.executeStream())).toEqual(expected)
    expect((await drain(query.executeBatches({ batchSize: 77 }))).flat()).toEqual(expected)
  })
})

describe('nothing', () => {
  test('no such event', async () => {
    const query = client.query().where('type', 'eq', 'NO.SUCH.TYPE')
    expect(await query.execute()).toMatchObject({ rows: [], rowCount: 0 })
    expect(await drain(query.executeStream())).toEqual([])
    expect(await drain(query.executeBatches())).toEqual([])
  })

  test('limit 0', async () => {
    const { rows, nextCursor } = await upTo(0).execute()
    expect({ rows, nextCursor }).toEqual({ rows: [], nextCursor: undefined })
    expect(await drain(upTo(0).executeStream())).toEqual([])
  })

  test('a contradiction asks the server nothing', async () => {
    const before = await statements()
    const query = client.query().where('type', 'eq', 'A.B').where('type', 'eq', 'A.C')
    expect(await query.execute()).toMatchObject({ rows: [], rowCount: 0 })
    expect(await drain(query.executeStream())).toEqual([])
    expect(await query.executeFirst()).toBeUndefined()
    expect(await statements()).toEqual(before)
  })

  /** When each of the package's backends last began a statement. */
  async function statements() {
    const { rows } = await database.admin.query(
      `SELECT pid, query_start FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY pid`
    )
    return rows
  }
})

describe('large and odd values', () => {
  beforeAll(async () => {
    const wide = 'w'.repeat(1024 * 1024)
    await client.append([
      { type: 'WIDE.ASCII', timestamp: '2030-01-01T00:00:00Z', data: { wide } },
      {
        type: 'WIDE.TEXT',
        timestamp: '2030-01-01T00:00:01Z',
        data: { wide: 'é中😀'.repeat(100_000), list: [wide, wide, wide] }
      },
      ...[1, 10, 100, 999_999].map(micros => ({
        type: 'MICROS.STORED',
        timestamp: `2031-01-01T00:00:00.${String(micros).padStart(6, '0')}Z`
      }))
    ])
  })

  test('a megabyte and more in one row, every way', async () => {
    const query = client
      .query()
      .where({ eventTypes: ['WIDE.*'] })
      .orderBy('timestamp')
    const { rows } = await query.execute()
    expect(rows.map(row => (row.data.wide as string).length)).toEqual([1024 * 1024, 400_000])
    expect(rows[1].data.wide).toBe('é中😀'.repeat(100_000))
    expect((rows[1].data.list as string[]).map(text => text.length)).toEqual([1048576, 1048576, 1048576])
    expect(await drain(query.executeStream())).toEqual(rows)
    expect((await drain(query.executeBatches({ batchSize: 1 }))).flat()).toEqual(rows)
  })

  test('microseconds come as six digits, milliseconds as three', async () => {
    const { rows } = await client
      .query()
      .where({ eventTypes: ['MICROS.STORED'] })
      .orderBy('timestamp')
      .execute()
    expect(rows.map(row => row.timestamp)).toEqual([
      '2031-01-01T00:00:00.000001Z',
      '2031-01-01T00:00:00.000010Z',
      '2031-01-01T00:00:00.000100Z',
      '2031-01-01T00:00:00.999999Z'
    ])
    const exact = await client.query().where('timestamp', 'eq', '2031-01-01T00:00:00.000010Z').execute()
    expect(exact.rowCount).toBe(1)
  })

  test('the first and the last year', async () => {
    await client.append([
      { type: 'EARLY.STORED', timestamp: '0001-01-01T00:00:00Z' },
      { type: 'LATE.STORED', timestamp: '9999-12-31T23:59:59.999999Z' }
    ])
    const { rows } = await client
      .query()
      .where({ eventTypes: ['EARLY.STORED', 'LATE.STORED'] })
      .orderBy('timestamp')
      .execute()
    expect(rows.map(row => row.timestamp)).toEqual(['0001-01-01T00:00:00.000Z', '9999-12-31T23:59:59.999999Z'])
  })

  test('keys that mean something to JavaScript', async () => {
    await client.append([
      {
        type: 'KEYS.ODD',
        data: JSON.parse('{"__proto__":{"polluted":1},"constructor":2,"error":3}'),
        tags: { toString: 'x' }
      }
    ])
    const row = (await client.query().where('type', 'eq', 'KEYS.ODD').executeFirst()) as DomainEvent
    expect(JSON.stringify(row.data)).toBe('{"error":3,"__proto__":{"polluted":1},"constructor":2}')
    expect(row.tags).toEqual({ toString: 'x' })
    expect(({} as { polluted?: number }).polluted).toBeUndefined()
  })
})

test("rows are the caller's: changes to them reach no later answer", async () => {
  const query = upTo(3)
  const first = await query.execute()
  first.rows[0].data.n = 'changed'
  first.rows[1].tags.issueId = 'changed'
  first.rows.pop()
  expect((await query.execute()).rows).toEqual(EVENTS.slice(0, 3))
  expect(await drain(query.executeStream())).toEqual([0, 1, 2].map(eventAt))
})

test('queries at once do not mix their rows', async () => {
  const numbers = Array.from({ length: 200 }, (_, i) => i * 311)
  const results = await Promise.all(
    numbers.map(n =>
      client
        .query()
        .where({ eventIds: [eventAt(n).id] })
        .execute()
    )
  )
  expect(results.map(({ rows }) => rows[0])).toEqual(numbers.map(eventAt))
  const streams = numbers.slice(0, 20).map(n =>
    drain(
      client
        .query()
        .where({ startTime: eventAt(n).timestamp, endTime: eventAt(n + 501).timestamp })
        .orderBy('timestamp')
        .executeStream()
    )
  )
  for (const [i, rows] of (await Promise.all(streams)).entries()) {
    expect(rows).toEqual(Array.from({ length: 501 }, (_, k) => eventAt(numbers[i] + k)))
  }
})
