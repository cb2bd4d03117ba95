// Buckets and windows of time, against PostgreSQL's own date_bin and date_trunc, and by hand where those do not reach.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { BucketInterval, EventQuery, EventsClient, TimeBucketOptions } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'

let database: TestDatabase
let client: EventsClient

// An event every 2 h 37 min of three years, and around every change of daylight-saving time that these zones had.
beforeAll(async () => {
  database = await TestDatabase.create()
  client = await database.connect()
  await database.admin.query(`
    INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data)
    SELECT gen_random_uuid(), 'T.X', at, jsonb_build_object('k', (n % 3)::text), '{}', jsonb_build_object('n', n)
    FROM (SELECT at, row_number() OVER (ORDER BY at) AS n
          FROM generate_series(timestamptz '2022-12-30Z', '2026-01-02Z', interval '157 minutes') AS at) AS x`)
  await database.admin.query('ANALYZE events')
})
afterAll(() => database?.drop())

const q = () => client.query()
const run = async (query: Omit<EventQuery, 'filter'>) =>
  (await client.optimizer.executeQuery<Record<string, unknown>>({ filter: {}, ...query })).rows

/** The buckets and their counts, by a bucket function written by hand. */
async function byHand(bucket: string, where = 'true') {
  const { rows } = await database.admin.query<{ bucket: Date; count: number }>(
    `SELECT ${bucket} AS bucket, count(*)::int AS count FROM events WHERE ${where} GROUP BY 1 ORDER BY 1`
  )
  return rows.map(row => ({ bucket: iso(row.bucket), count: row.count }))
}
const iso = (date: Date) => date.toISOString()

describe('buckets', () => {
  const bucket = async (interval: BucketInterval, options?: TimeBucketOptions) =>
    (await q().timeBucket(interval, options).count().execute()).rows

  it.each([1000, '1 minute', '15 minutes', '1 hour', '6 hours', '1 day', '10 days', '36 hours'] as const)(
    '%s, as date_bin has it',
    async interval => {
      const length = typeof interval === 'number' ? `${interval} milliseconds` : interval
      const origin = '2000-01-03'
      expect(await bucket(interval)).toEqual(await byHand(`date_bin('${length}', "timestamp", '${origin}Z')`))
      expect(await bucket(interval, { origin: '2024-02-29T05:06:07Z' })).toEqual(
        await byHand(`date_bin('${length}', "timestamp", '2024-02-29T05:06:07Z')`)
      )
    }
  )

  const zones = [
    'UTC',
    'Europe/Berlin',
    'America/New_York',
    'Asia/Kathmandu',
    'America/Havana',
    'Africa/Cairo',
    'Australia/Lord_Howe',
    'Pacific/Apia'
  ]
  it.each(zones)('of calendar units in %s, as date_trunc has it', async timeZone => {
    for (const unit of ['day', 'week', 'month', 'quarter', 'year'] as const)
      expect(await bucket(`1 ${unit}`, { timeZone }), unit).toEqual(
        await byHand(`date_trunc('${unit}', "timestamp", '${timeZone}')`)
      )
  })

  it('of several months begin at the origin, which may lie within one', async () => {
    const starts = (await bucket('2 months', { origin: '2024-01-31T00:00:00Z' })).map(row => row.bucket.slice(0, 10))
    expect(starts.slice(0, 8)).toEqual([
      '2022-11-30',
      '2023-01-31',
      '2023-03-31',
      '2023-05-31',
      '2023-07-31',
      '2023-09-30',
      '2023-11-30',
      '2024-01-31'
    ])
    const total = (await bucket('5 months', { timeZone: 'Asia/Tokyo' })).reduce((sum, row) => sum + row.count, 0)
    expect(total).toBe((await q().count().execute()).rows[0]?.count)
  })
})

describe('windows', () => {
  it('between two points are half open', async () => {
    const from = '2024-05-01T00:00:00Z'
    const to = new Date('2024-05-02T00:00:00Z')
    const { rows } = await q().timeWindow({ from, to }).count().execute()
    expect(rows).toEqual([{ count: expect.any(Number) }])
    const hand = await byHand(
      `timestamptz '${from}'`,
      `"timestamp" >= '${from}' AND "timestamp" < '${to.toISOString()}'`
    )
    expect(rows[0]?.count).toBe(hand[0]?.count)
    expect((await q().timeWindow({ from, to: from }).groupBy(['type']).execute()).rows).toEqual([])
    expect(
      (await q().timeWindow({ from, to: from }).timeBucket('1 day', { fill: 'zero' }).count().execute()).rows
    ).toEqual([])
  })

  it('that end now go by the clock of the database, and down to the bucket', async () => {
    await database.admin.query(`
      INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data)
      SELECT gen_random_uuid(), 'NOW.X', now() + i * interval '1 hour', '{}', '{}', '{}' FROM generate_series(-60, 60) AS i`)
    const recent = q().where('type', 'eq', 'NOW.X')
    expect((await recent.timeWindow({ last: '24 hours' }).count().execute()).rows).toEqual([{ count: 24 }])
    const days = (await recent.timeWindow({ last: '24 hours' }).timeBucket('1 day', { fill: 'zero' }).count().execute())
      .rows
    const hand = await byHand(
      `date_trunc('day', "timestamp", 'UTC')`,
      `event_type = 'NOW.X' AND "timestamp" >= date_trunc('day', now() - interval '24 hours', 'UTC') AND "timestamp" < now()`
    )
    expect(days).toEqual(hand)
  })

  it('keep the clock of page one on the pages behind it', async () => {
    const query = q().where('type', 'eq', 'NOW.X').timeWindow({ last: '10 hours' }).select(['timestamp']).limit(3)
    const first = await query.execute()
    await new Promise(resolve => setTimeout(resolve, 20))
    await database.admin.query(`
      INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data)
      SELECT gen_random_uuid(), 'NOW.X', now() - interval '5 milliseconds', '{}', '{}', '{}'`)
    let [count, cursor] = [first.rowCount, first.nextCursor]
    while (cursor !== undefined) {
      const page = await query.after(cursor).execute()
      ;[count, cursor] = [count + page.rowCount, page.nextCursor]
    }
    expect(count).toBe(10)
    expect((await q().where('type', 'eq', 'NOW.X').timeWindow({ last: '10 hours' }).count().execute()).rows).toEqual([
      { count: 11 }
    ])
  })
})

describe('fills', () => {
  const window = { from: '2030-01-01T00:00:00Z', to: '2030-01-06T00:00:00Z' }
  beforeAll(async () => {
    await database.admin.query(`
      INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data)
      SELECT gen_random_uuid(), 'F.X', at::timestamptz, jsonb_build_object('k', k), '{}', jsonb_build_object('n', n)
      FROM (VALUES ('2030-01-02T05:00Z', 'a', 10), ('2030-01-04T05:00Z', 'a', 20), ('2030-01-05T00:00Z', 'b', 7)) AS x(at, k, n)`)
  })
  const filled = async (fill: 'null' | 'zero' | 'previous' | 'linear' | 'none') => {
    const { rows } = await q()
      .where('type', 'eq', 'F.X')
      .timeWindow(window)
      .timeBucket('1 day', { fill })
      .groupBy(['tags.k'])
      .count()
      .sum('data.n')
      .execute()
    const of = (k: string) => rows.filter(row => row['tags.k'] === k).map(row => [row.count, row.sum_n])
    return [of('a'), of('b')]
  }
  const counts = [0, 1, 0, 1, 0]

  it.each([
    ['null', [null, 10, null, 20, null], [null, null, null, null, 7]],
    ['zero', [0, 10, 0, 20, 0], [0, 0, 0, 0, 7]],
    ['previous', [null, 10, 10, 20, 20], [null, null, null, null, 7]],
    ['linear', [null, 10, 15, 20, null], [null, null, null, null, 7]]
  ] as const)('%s, for each group by itself', async (fill, a, b) => {
    expect(await filled(fill)).toEqual([
      a.map((value, i) => [counts[i], value]),
      b.map((value, i) => [i === 4 ? 1 : 0, value])
    ])
  })

  it('none leaves them out', async () => {
    expect(await filled('none')).toEqual([
      [
        [1, 10],
        [1, 20]
      ],
      [[1, 7]]
    ])
  })

  it('without groups, and of no event', async () => {
    const { rows } = await q()
      .where('type', 'eq', 'NO.SUCH')
      .timeWindow(window)
      .timeBucket('1 day', { fill: 'zero' })
      .count()
      .execute()
    expect(rows.map(row => row.count)).toEqual([0, 0, 0, 0, 0])
    expect(rows[0]?.bucket).toBe('2030-01-01T00:00:00.000Z')
  })

  it('pages through them', async () => {
    const query = q()
      .where('type', 'eq', 'F.X')
      .timeWindow(window)
      .timeBucket('1 day', { fill: 'linear' })
      .groupBy(['tags.k'])
      .sum('data.n')
      .limit(3)
    const all = (await query.limit(100).execute()).rows
    const paged = []
    let cursor: string | undefined
    do {
      const page = await query.after(cursor).execute()
      paged.push(...page.rows)
      cursor = page.nextCursor
    } while (cursor !== undefined)
    expect(paged).toEqual(all)
    expect(paged.length).toBe(10)
  })

  it('has every hour of a day of 25', async () => {
    const hours = await q()
      .timeWindow({ from: '2024-10-26T22:00:00Z', to: '2024-10-27T23:00:00Z' })
      .timeBucket('1 hour', { fill: 'zero', timeZone: 'Europe/Berlin' })
      .count()
      .execute()
    expect(hours.rowCount).toBe(25)
  })
})

describe('what is refused', () => {
  const count = [{ fn: 'count' }] as const
  it.each([
    ['no interval', { timeBucket: {} }, 'timeBucket.interval'],
    ['no length', { timeBucket: { interval: 0 } }, 'timeBucket.interval'],
    ['half a month', { timeBucket: { interval: '0.5 months' } }, 'timeBucket.interval'],
    ['no months', { timeBucket: { interval: '0 months' } }, 'timeBucket.interval'],
    ['another unit', { timeBucket: { interval: '1 fortnight' } }, 'timeBucket.interval'],
    ['no zone', { timeBucket: { interval: '1 day', timeZone: 'Mars/Olympus' } }, 'timeBucket.timeZone'],
    ['a zone of POSIX', { timeBucket: { interval: '1 day', timeZone: 'FOO+3' } }, 'timeBucket.timeZone'],
    ['SQL for a zone', { timeBucket: { interval: '1 day', timeZone: "UTC') --" } }, 'timeBucket.timeZone'],
    ['a fill without a window', { timeBucket: { interval: '1 day', fill: 'zero' } }, 'timeBucket.fill'],
    [
      'a fill of half a window',
      { timeBucket: { interval: '1 day', fill: 'zero' }, timeWindow: { from: '2024-01-01' } },
      'timeBucket.fill'
    ],
    ['another fill', { timeBucket: { interval: '1 day', fill: 'locf' } }, 'timeBucket.fill'],
    [
      'a million buckets and more',
      { timeBucket: { interval: 1, fill: 'null' }, timeWindow: { last: '1 day' } },
      'timeBucket.fill'
    ],
    [
      'a window that ends before it begins',
      { timeWindow: { from: '2024-01-02', to: '2024-01-01' } },
      'timeWindow.from'
    ],
    ['two kinds of window', { timeWindow: { last: '1 day', from: '2024-01-01' } }, 'timeWindow.from'],
    ['a window of months', { timeWindow: { last: '1 month' } }, 'timeWindow.last'],
    ['a time without a zone', { timeWindow: { from: '2024-01-01T00:00:00' } }, 'timeWindow.from']
  ])('%s', async (_, query, path) => {
    const error = await failure(run({ aggregates: count, ...query } as unknown as EventQuery), 'INVALID_QUERY')
    expect(error.path).toBe(path)
  })
})
