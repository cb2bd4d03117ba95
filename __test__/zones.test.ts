// Zones whose clocks go back over midnight, or skip a day. A bucket is called by the midnight that `date_trunc`
// takes, which may be the second and later than events of its day: every way to an answer gives the same one.
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { EventsClient } from '../index.js'
import { TestDatabase } from './support/database'

let database: TestDatabase
let client: EventsClient
beforeAll(async () => {
  database = await TestDatabase.create()
  client = await database.connect({ pool: { max: 6 } })
  await client.append(
    [
      // 00:10 and 00:30 in the Azores, before the clocks go from 01:00 back to 00:00; and the same again.
      ['2025-10-26T00:10:00Z', 1],
      ['2025-10-26T00:30:00Z', 2],
      ['2025-10-26T01:10:00Z', 3],
      ['2025-10-26T09:00:00Z', 9],
      ['2025-10-27T09:00:00Z', 5],
      // A Friday that Samoa did not have.
      ['2011-12-30T15:00:00Z', 7]
    ].map(([timestamp, n]) => ({ type: 'A.B', timestamp: String(timestamp), data: { n } }))
  )
})
afterAll(() => database?.drop())

const azores = (interval: `${number} ${'day' | 'hour' | 'minutes'}`) =>
  client
    .query()
    .timeWindow({ from: '2025-01-01T00:00:00Z', to: '2026-01-01T00:00:00Z' })
    .timeBucket(interval, { timeZone: 'Atlantic/Azores' })
    .count()
    .aggregate({ fn: 'median', field: 'data.n', as: 'm' })

it('a day of two midnights is one bucket', async () => {
  expect((await azores('1 day').execute()).rows).toEqual([
    { bucket: '2025-10-26T01:00:00.000Z', count: 4, m: 2.5 },
    { bucket: '2025-10-27T01:00:00.000Z', count: 1, m: 5 }
  ])
})

it.each(['1 day', '1 hour', '15 minutes', '30 minutes'] as const)(
  'of %s, kept and cut answers are those of a direct read',
  async interval => {
    const kept = azores(interval).cache({ consistency: 'strict' })
    await kept.execute()
    await client.append([
      { type: 'A.B', timestamp: '2025-10-26T10:00:00Z', data: { n: 9 } },
      { type: 'A.B', timestamp: '2025-10-26T00:20:00Z', data: { n: 4 } },
      { type: 'A.B', timestamp: '2025-10-26T01:20:00Z', data: { n: 4 } }
    ])
    const direct = await azores(interval).execute()
    const again = await kept.execute()
    expect(again.cache).toBe('delta')
    expect(again.rows).toEqual(direct.rows)
    for (const workers of [2, 3, 5])
      expect((await azores(interval).parallel(workers).execute()).rows).toEqual(direct.rows)
  }
)

it('a day that was skipped has no bucket, and its neighbours are there once', async () => {
  const { rows } = await client
    .query()
    .timeWindow({ from: '2011-12-29T10:00:00Z', to: '2012-01-01T10:00:00Z' })
    .timeBucket('1 day', { timeZone: 'Pacific/Apia', fill: 'zero' })
    .count()
    .execute()
  expect(rows).toEqual([
    { bucket: '2011-12-29T10:00:00.000Z', count: 0 },
    { bucket: '2011-12-30T10:00:00.000Z', count: 1 },
    { bucket: '2011-12-31T10:00:00.000Z', count: 0 }
  ])
})
