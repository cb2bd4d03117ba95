// Groups, aggregates and having, over events that are small enough to foresee.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventQuery, EventsClient } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'

let database: TestDatabase
let client: EventsClient

/** Five values of `data.v`, one of each JSON type and one missing; integers that no double holds. */
const EVENTS = [
  { type: 'A.X', timestamp: '2026-03-01T00:00:00.000001Z', tags: { k: 'b' }, data: '{"v":1,"big":9007199254740993}' },
  { type: 'A.X', timestamp: '2026-03-01T10:00:00Z', tags: { k: 'a' }, data: '{"v":2.5,"big":9007199254740993}' },
  { type: 'A.X', timestamp: '2026-03-02T00:00:00Z', tags: { k: 'a' }, data: { v: '3' } },
  { type: 'B.X', timestamp: '2026-03-04T00:00:00Z', tags: {}, data: { v: null } },
  { type: 'B.X', timestamp: '2026-03-04T12:00:00Z', tags: { k: 'a' }, data: {} }
]

beforeAll(async () => {
  database = await TestDatabase.create()
  client = await database.connect()
  for (const [i, { type, timestamp, tags, data }] of EVENTS.entries())
    await database.admin.query(
      `INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data) VALUES ($1, $2, $3, $4, '{}', $5)`,
      [`01900000-0000-7000-8000-00000000000${i}`, type, timestamp, tags, data]
    )
})
afterAll(() => database?.drop())

const rows = async (query: Omit<EventQuery, 'filter'> & { filter?: EventQuery['filter'] }) =>
  (await client.optimizer.executeQuery<Record<string, unknown>>({ filter: {}, ...query })).rows
const q = () => client.query()

describe('groups', () => {
  it('without aggregates are the distinct groups', async () => {
    expect((await q().groupBy(['type']).orderBy('type', 'desc').execute()).rows).toEqual([
      { type: 'B.X' },
      { type: 'A.X' }
    ])
  })

  it('share one null group for missing and JSON null', async () => {
    const { rows } = await q().groupBy(['data.v']).count().orderBy('count').orderBy('data.v').execute()
    expect(rows).toEqual([
      { 'data.v': '3', count: 1 },
      { 'data.v': 1, count: 1 },
      { 'data.v': 2.5, count: 1 },
      { 'data.v': null, count: 2 }
    ])
  })

  it('collapse repeated fields', async () => {
    expect(await rows({ groupBy: ['type', 'type'], orderBy: [{ field: 'type' }], limit: 1 })).toEqual([{ type: 'A.X' }])
  })

  it('page by cursor, in any order', async () => {
    const page = (after?: string) =>
      q().groupBy(['tags.k', 'type']).count().orderBy('count', 'desc').limit(1).after(after).execute()
    const all = await q().groupBy(['tags.k', 'type']).count().orderBy('count', 'desc').limit(10).execute()
    expect(all.nextCursor).toBeUndefined()
    const paged = []
    let cursor: string | undefined
    do {
      const { rows, nextCursor } = await page(cursor)
      paged.push(...rows)
      cursor = nextCursor
    } while (cursor !== undefined)
    expect(paged).toEqual(all.rows)
    expect(paged.length).toBe(4)
  })
})

describe('aggregates', () => {
  it('without groups are exactly one row, of no event too', async () => {
    const nothing = { filter: { eventTypes: ['NO.SUCH'] } }
    const aggregates = [
      { fn: 'count' },
      { fn: 'sum', field: 'data.v' },
      { fn: 'avg', field: 'data.v' },
      { fn: 'median', field: 'data.v' },
      { fn: 'last', field: 'data.v' }
    ] as const
    const empty = { count: 0, sum_v: null, avg_v: null, median_v: null, last_v: null }
    expect(await rows({ ...nothing, aggregates })).toEqual([empty])
    // A contradiction asks the database, for it has this one row to give.
    const contradiction = {
      and: [{ field: 'type', op: 'eq', value: 'A' } as const, { field: 'type', op: 'eq', value: 'B' } as const]
    }
    expect(await rows({ filter: { where: contradiction }, aggregates })).toEqual([empty])
    expect(await rows({ filter: { where: contradiction }, aggregates, groupBy: ['type'] })).toEqual([])
  })

  it('read numbers only, and count values', async () => {
    const { rows } = await q()
      .count()
      .count('data.v')
      .sum('data.v')
      .avg('data.v')
      .min('data.v')
      .max('data.v')
      .aggregate({ fn: 'countDistinct', field: 'tags.k' })
      .aggregate({ fn: 'stddev', field: 'data.v' })
      .aggregate({ fn: 'variance', field: 'data.v' })
      .aggregate({ fn: 'percentile', field: 'data.v', percentile: 0.25, as: 'p25' })
      .execute()
    expect(rows).toEqual([
      {
        count: 5,
        count_v: 3,
        sum_v: 3.5,
        avg_v: 1.75,
        min_v: 1,
        max_v: 2.5,
        countDistinct_k: 2,
        stddev_v: expect.closeTo(1.5 / Math.SQRT2, 12),
        variance_v: 1.125,
        p25: 1.375
      }
    ])
  })

  it('know columns too', async () => {
    const { rows } = await q()
      .min('timestamp')
      .max('type')
      .min('id')
      .max('tags.k')
      .aggregate({ fn: 'mode', field: 'tags.k' })
      .aggregate({ fn: 'first', field: 'tags.k' })
      .aggregate({ fn: 'last', field: 'data' })
      .execute()
    expect(rows).toEqual([
      {
        min_timestamp: '2026-03-01T00:00:00.000001Z',
        max_type: 'B.X',
        min_id: '01900000-0000-7000-8000-000000000000',
        max_k: 'b',
        mode_k: 'a',
        first_k: 'b',
        last_data: {}
      }
    ])
  })

  it('can be of some events only', async () => {
    const { rows } = await q()
      .aggregate({ fn: 'count', as: 'ax', where: { field: 'type', op: 'eq', value: 'A.X' } })
      .aggregate({ fn: 'sum', field: 'data.v', as: 'ones', where: { field: 'data.v', op: 'lt', value: 2 } })
      .execute()
    expect(rows).toEqual([{ ax: 3, ones: 1 }])
  })

  it('lose no digit', async () => {
    const sum = (bigint: 'number' | 'string' | 'bigint') =>
      database.connect({ bigint }).then(client => client.query().sum('data.big').max('data.big').execute())
    expect((await sum('string')).rows).toEqual([{ sum_big: '18014398509481986', max_big: '9007199254740993' }])
    expect((await sum('bigint')).rows).toEqual([{ sum_big: 18014398509481986n, max_big: 9007199254740993n }])
    expect((await failure(sum('number'), 'PRECISION_LOSS')).message).toContain('sum_big')
  })

  it('refuse a number that no double holds where they compute with doubles', async () => {
    await client.append([{ type: 'HUGE.N', timestamp: '2026-03-05T00:00:00Z', tags: {}, metadata: {}, data: {} }])
    // The owner may: what is stored need not have come through this package.
    await database.admin.query(`ALTER TABLE events DISABLE TRIGGER ALL`)
    await database.admin.query(`UPDATE events SET data = '{"h":1e400}' WHERE event_type = 'HUGE.N'`)
    for (const fn of ['median', 'avg'] as const) {
      const huge = q().where('type', 'eq', 'HUGE.N').aggregate({ fn, field: 'data.h' })
      // No bigint mode would help.
      expect((await failure(huge.execute(), 'PRECISION_LOSS')).message).toMatch(
        /^[^']*beyond the range of a double[^']*$/
      )
    }
    await database.admin.query(`DELETE FROM events WHERE event_type = 'HUGE.N'`)
    await database.admin.query(`ALTER TABLE events ENABLE TRIGGER ALL`)
  })
})

describe('having', () => {
  it('tests groups and aggregates', async () => {
    const counted = q().groupBy(['type']).count().sum('data.v').orderBy('type')
    expect((await counted.having('count', 'gt', 2).execute()).rows).toEqual([{ type: 'A.X', count: 3, sum_v: 3.5 }])
    expect((await counted.having('sum_v', 'exists', false).execute()).rows.map(r => r.type)).toEqual(['B.X'])
    expect((await counted.having('type', 'startsWith', 'A').having('count', 'lt', 3).execute()).rows).toEqual([])
    expect(
      (
        await counted
          .having({
            or: [
              { field: 'type', op: 'eq', value: 'B.X' },
              { field: 'count', op: 'eq', value: 3 }
            ]
          })
          .execute()
      ).rowCount
    ).toBe(2)
    expect(
      await rows({ aggregates: [{ fn: 'count' }], having: { where: { field: 'count', op: 'eq', value: 1 } } })
    ).toEqual([])
  })
})

describe('what is refused', () => {
  const bad: [string, object, string][] = [
    ['having without groups', { having: { field: 'count', op: 'eq', value: 1 } }, 'having'],
    [
      'an unknown name in having',
      { aggregates: [{ fn: 'count' }], having: { field: 'cout', op: 'eq', value: 1 } },
      'having.field'
    ],
    ['a filter with more than where', { groupBy: ['type'], having: { eventTypes: ['A'] } }, 'having.eventTypes'],
    [
      'the same name twice',
      { aggregates: [{ fn: 'count' }, { fn: 'sum', field: 'data.n', as: 'count' }] },
      'aggregates[1].as'
    ],
    ['a name that is a group', { groupBy: ['type'], aggregates: [{ fn: 'count', as: 'type' }] }, 'aggregates[0].as'],
    ['brackets without a name', { aggregates: [{ fn: 'sum', field: 'data.a[0]' }] }, 'aggregates[0].as'],
    ['no field', { aggregates: [{ fn: 'sum' }] }, 'aggregates[0].field'],
    ['no such function', { aggregates: [{ fn: 'total', field: 'data.n' }] }, 'aggregates[0].fn'],
    ['no share', { aggregates: [{ fn: 'percentile', field: 'data.n' }] }, 'aggregates[0].percentile'],
    [
      'a share of 95',
      { aggregates: [{ fn: 'percentile', field: 'data.n', percentile: 95 }] },
      'aggregates[0].percentile'
    ],
    ['a share of avg', { aggregates: [{ fn: 'avg', field: 'data.n', percentile: 0.5 }] }, 'aggregates[0].percentile'],
    ['no groups', { groupBy: [] }, 'groupBy'],
    ['no such field', { groupBy: ['data.a', 'nope'] }, 'groupBy[1]'],
    ['select of something else', { groupBy: ['type'], select: ['id'] }, 'select[0]'],
    ['order by something else', { groupBy: ['type'], orderBy: [{ field: 'timestamp' }] }, 'orderBy[0].field'],
    [
      'a bad condition',
      { aggregates: [{ fn: 'count', where: { field: 'type', op: 'is', value: 1 } }] },
      'aggregates[0].where.op'
    ]
  ]
  it.each(bad)('%s', async (_, query, path) => {
    const error = await failure(rows(query as EventQuery))
    expect([error.code, error.path]).toEqual([expect.stringMatching(/^(INVALID_QUERY|UNKNOWN_FIELD)$/), path])
  })
})
