// client.snapshot(fn): all queries inside see one state; nothing of it is left behind.
import { PassThrough } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { EventsClient } from '../index.js'
import { TestDatabase } from './support/database'

const EVENTS = 5000

let database: TestDatabase
let client: EventsClient
let stored = EVENTS
beforeAll(async () => {
  database = await TestDatabase.create({ events: EVENTS })
  client = await database.connect({ pool: { max: 4 } })
}, 60_000)
afterAll(() => database?.drop())
/** Whatever a test did, nothing may be left in a transaction. */
afterEach(() => database.quiet(5000))

/** Commits another event, by another connection. */
async function write() {
  await database.fill(stored + 1, stored)
  stored++
}

const counted = async (at: Pick<EventsClient, 'query'>) => {
  const { rows, token } = await at.query().count().execute()
  return { count: rows[0].count, token }
}

describe('one state', () => {
  it('has one clock, whatever a query looks up and wherever its rows go', async () => {
    await client.append([{ type: 'CLOCK.STARTED', tags: { issueId: '5' }, data: { n: 1 } }])
    stored++
    await database.admin.query('CREATE TABLE IF NOT EXISTS places (id text PRIMARY KEY)')
    await database.admin.query("INSERT INTO places VALUES ('5') ON CONFLICT DO NOTHING")
    await client.snapshot(async at => {
      const recent = at.query().where('type', 'eq', 'CLOCK.STARTED').timeWindow({ last: '2 seconds' })
      const joined = recent.join('places', { on: { 'tags.issueId': 'id' } })
      expect((await recent.execute()).rows).toHaveLength(1)
      await sleep(2200)
      expect((await recent.execute()).rows).toHaveLength(1)
      expect((await joined.execute()).rows).toHaveLength(1)
      const exported = await recent.export({ format: 'ndjson', to: new PassThrough().resume() })
      expect(exported.rows).toBe(1)
    })
  })

  it('is what every query inside sees, by whatever way it is answered', async () => {
    const before = stored
    await client.snapshot(async at => {
      const first = await counted(at)
      expect(first.count).toBe(before)
      await write()
      const grouped = await at.query().groupBy(['type']).count().parallel(2).execute()
      expect(grouped.rows.reduce((sum, { count }) => sum + count, 0)).toBe(before)
      expect(grouped.hints).toMatchObject([{ hint: 'parallel', honoured: true }])
      await write()
      let streamed = 0
      for await (const { id } of at.query().select(['id']).executeStream()) streamed += id === undefined ? 0 : 1
      expect(streamed).toBe(before)
      const [statistics] = await at.analytics.statistics('data.n', {})
      expect(statistics.count).toBe(before)
      const none = await at
        .query()
        .where({ eventTypes: ['NO.SUCH'] })
        .execute()
      const impossible = await at
        .query()
        .where({ and: [eq('A'), eq('B')] })
        .execute()
      // One token: that of the state.
      expect(new Set([first.token, grouped.token, none.token, impossible.token]).size).toBe(1)
      expect((await counted(client)).count).toBe(before + 2)
    })
    expect((await counted(client)).count).toBe(before + 2)
  })

  it('has one clock for windows that end now', async () => {
    await client.snapshot(async at => {
      const window = () =>
        at
          .query()
          .timeWindow({ last: '2 hours' })
          .timeBucket('30 minutes', { fill: 'zero' })
          .count()
          .select(['bucket'] as never)
      const first = await window().execute()
      await sleep(20)
      expect((await window().execute()).rows).toEqual(first.rows)
    })
  })

  it('is seen by queries with index hints too', async () => {
    const before = stored
    await client.snapshot(async at => {
      await counted(at)
      await write()
      const hinted = await at
        .query()
        .where({ startTime: '2024-01-01' })
        .count()
        .hint({ useIndex: ['events_timestamp'] })
        .execute()
      expect(hinted.rows[0].count).toBe(before)
    })
  })

  it('outlives a query inside that fails, and one that is cancelled', async () => {
    await client.snapshot(async at => {
      const before = await counted(at)
      await expect(at.query().where('type', 'regex', '(').execute()).rejects.toMatchObject({ code: 'INVALID_QUERY' })
      await write()
      const stream = at.query().executeStream()
      await stream.next()
      await stream.return(undefined)
      expect(await counted(at)).toEqual(before)
    })
  })
})

describe('connections', () => {
  it('are enough where the pool has one', async () => {
    const small = await database.connect({ pool: { max: 1, acquireTimeout: 2000 } })
    const before = stored
    const counts = await small.snapshot(async at => {
      await write()
      return Promise.all(Array.from({ length: 8 }, () => counted(at)))
    })
    expect(counts.map(({ count }) => count)).toEqual(Array(8).fill(before))
    await small.close()
  })

  it('are enough for many snapshots at once, each inside of its own', async () => {
    const small = await database.connect({ pool: { max: 2, acquireTimeout: 20_000 } })
    const all = await Promise.all(
      Array.from({ length: 24 }, () =>
        small.snapshot(async at => {
          const [first, second] = await Promise.all([counted(at), counted(at)])
          return first.token === second.token && first.count === second.count
        })
      )
    )
    expect(all).toEqual(Array(24).fill(true))
    await small.close()
  })

  it('are given back when fn has ended, and queries after that are refused', async () => {
    const own = await database.connect()
    let kept: Pick<EventsClient, 'query'> | undefined
    await own.snapshot(async at => {
      kept = at
    })
    await expect(counted(kept as Pick<EventsClient, 'query'>)).rejects.toMatchObject({
      code: 'INVALID_QUERY',
      path: 'snapshot'
    })
    const failure = new Error('mine')
    await expect(own.snapshot(() => Promise.reject(failure))).rejects.toBe(failure)
    await expect(
      own.snapshot(() => {
        throw failure
      })
    ).rejects.toBe(failure)
    await database.quiet()
    await own.close()
  })

  it('are closed by close(), with the snapshot and what runs in it', async () => {
    const own = await database.connect()
    const names = new Set((await database.backends()).map(({ pid }) => pid))
    let close = () => {}
    const closed = new Promise<void>(resolve => {
      close = () => resolve(own.close())
    })
    const inside = own.snapshot(async at => {
      const reading = (async () => {
        for await (const _ of at.query().executeStream()) await closed
      })()
      const outcome = expect(reading).rejects.toMatchObject({ code: 'CLOSED' })
      await sleep(50)
      close()
      await outcome
      await expect(counted(at)).rejects.toMatchObject({ code: 'CLOSED' })
    })
    await inside
    const left = (await database.backends()).filter(({ pid }) => !names.has(pid))
    expect(left).toEqual([])
    await expect(own.snapshot(async () => 1)).rejects.toMatchObject({ code: 'CLOSED' })
  })

  it('say so where the server has ended the one that holds the snapshot', async () => {
    await client.snapshot(async at => {
      const before = await counted(at)
      await database.admin.query(
        `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
         WHERE datname = current_database() AND state = 'idle in transaction'`
      )
      await expect(counted(at)).rejects.toMatchObject({ code: 'CONNECTION_FAILED', retryable: false })
      expect((await counted(client)).count).toBe(before.count)
    })
  })
})

it('takes nothing but a function', async () => {
  await expect(client.snapshot(undefined as never)).rejects.toMatchObject({ code: 'INVALID_QUERY', path: 'snapshot' })
})

const eq = (value: string) => ({ field: 'type' as const, op: 'eq' as const, value })
