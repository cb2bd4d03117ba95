// Parallel queries that are stopped, broken and crowded: a clear end, and nothing left behind.
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { EventsClient } from '../index.js'
import { TestDatabase } from './support/database'
import { until } from './support/wait'

const EVENTS = 4000
/** With a time slices are cut by that, and nothing else is asked of the table. */
const ALL = { startTime: '2024-01-01' }

let database: TestDatabase
let client: EventsClient
/** What it sees of other sessions stands still in a transaction: locks are held by another. */
let locker: pg.Client
beforeAll(async () => {
  database = await TestDatabase.create({ events: EVENTS })
  locker = new pg.Client({ connectionString: database.url })
  await locker.connect()
  client = await database.connect({ pool: { max: 4 } })
  await grouped().execute()
}, 60_000)
afterAll(async () => {
  await locker?.end()
  await database?.drop()
})
afterEach(async () => {
  await locker.query('ROLLBACK')
  await database.quiet(5000)
})

const grouped = (workers = 3) =>
  client.query().where(ALL).groupBy(['type']).count('id', 'n').sum('data.n').parallel(workers)

/** Slices come to a halt at the table, until the test is over. */
const halt = () => locker.query('BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE')
const halted = (count: number) =>
  until(`${count} slices that wait`, async () => {
    const { rows } = await database.admin.query<{ pid: number }>(
      "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return rows.length >= count ? rows.map(({ pid }) => pid) : undefined
  })

/** Nothing of a query runs, or is in a transaction, but the one that holds the lock. */
const stopped = () =>
  until('no slice', async () =>
    (await database.busy()).every(({ query }) => query.includes('LOCK')) ? true : undefined
  )

describe('a run that is stopped stops all its slices on the server', () => {
  it('by a signal', async () => {
    await halt()
    const stop = new AbortController()
    const run = grouped().execute({ signal: stop.signal })
    const outcome = expect(run).rejects.toMatchObject({ code: 'QUERY_CANCELLED' })
    await halted(3)
    stop.abort()
    await outcome
    // The table is still locked: they were cancelled.
    await stopped()
  })

  it('by its id', async () => {
    await halt()
    const run = grouped().execute({ queryId: 'sliced' })
    const outcome = expect(run).rejects.toMatchObject({ code: 'QUERY_CANCELLED', queryId: 'sliced' })
    await halted(3)
    await client.optimizer.cancelQuery('sliced')
    await outcome
    await stopped()
  })

  it('by its time', async () => {
    await halt()
    await expect(grouped().timeout(150).execute()).rejects.toMatchObject({ code: 'QUERY_TIMEOUT' })
    await stopped()
  })

  it('by leaving its stream', async () => {
    await halt()
    const stream = grouped().executeStream()
    const first = stream.next()
    await halted(3)
    await stream.return(undefined)
    expect(await first).toMatchObject({ done: true })
    await stopped()
  })

  it('by the end of its client', async () => {
    const own = await database.connect()
    await halt()
    const run = own.query().where(ALL).groupBy(['type']).count().parallel(3).execute()
    const outcome = expect(run).rejects.toMatchObject({ code: 'CLOSED' })
    await halted(3)
    await own.close()
    await outcome
    await stopped()
  })
})

describe('a slice that is killed', () => {
  it('is asked again with all others, over a new snapshot', async () => {
    const before = await grouped().orderBy('type').execute()
    await halt()
    const run = grouped().orderBy('type').execute()
    const [, pid] = await halted(3)
    await database.admin.query('SELECT pg_terminate_backend($1, 5000)', [pid])
    await locker.query('ROLLBACK')
    expect((await run).rows).toEqual(before.rows)
  })

  it('ends the query in the end, with the reason', async () => {
    await halt()
    let ended = false
    const run = grouped()
      .execute()
      .finally(() => {
        ended = true
      })
    const outcome = expect(run).rejects.toMatchObject({ code: 'CONNECTION_FAILED', retryable: true })
    while (!ended) {
      await database.admin.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event_type = 'Lock'`
      )
    }
    await outcome
  })
})

describe('a crowd', () => {
  it('of two thousand parallel queries on two connections: all end, with the right answer', async () => {
    const small = await database.connect({
      pool: { max: 2, acquireTimeout: 60_000 },
      limits: { maxQueuedQueries: 3000 }
    })
    const [{ total }] = (await database.admin.query('SELECT count(*)::int AS total FROM events')).rows
    const all = await Promise.all(
      Array.from({ length: 2000 }, () => small.query().count('id', 'total').parallel(2).execute())
    )
    expect(new Set(all.map(({ rows }) => rows[0].total))).toEqual(new Set([total]))
    // Most had to do with the one connection that they got, and say so.
    for (const { hints } of all)
      expect(hints?.[0]).toMatchObject(
        hints?.[0].honoured ? { how: expect.stringMatching(/slices/u) } : { reason: 'no other connection was free' }
      )
    await small.close()
  }, 90_000)

  it('of one connection: the query is answered by it', async () => {
    const single = await database.connect({ pool: { max: 1 } })
    const { rows, hints } = await single.query().count().parallel(4).execute()
    expect(rows).toEqual([{ count: EVENTS }])
    expect(hints).toMatchObject([{ hint: 'parallel', value: '4', honoured: false }])
    await single.close()
  })

  it('of more workers than there may be is cut to the limit', async () => {
    const limited = await database.connect({ limits: { maxWorkers: 3 } })
    const { hints } = await limited.query().count().parallel(64).execute()
    expect(hints).toMatchObject([{ value: '64', honoured: true, how: '3 slices by the pages of the table' }])
    await limited.close()
  })
})

it('sees one state under writers: what every transaction leaves balanced is balanced', async () => {
  let writing = true
  const writer = async (name: number) => {
    for (let i = 0; writing; i++) {
      // Each transaction adds events at both ends of time, whose numbers cancel out.
      await client.append(
        [-1, 1].map((side, at) => ({
          type: 'BALANCE.KEPT.SUCCESS',
          timestamp: new Date(Date.UTC(2024, 0, 1 + at * 20) + i * 1000).toISOString(),
          tags: { writer: String(name) },
          data: { n: side * (i + 1) }
        }))
      )
    }
  }
  const writers = Promise.all([writer(1), writer(2)])
  // What stops one shows at the end, where it is waited for.
  writers.catch(() => {})
  const balance = () =>
    client
      .query()
      .where({ eventTypes: ['BALANCE.KEPT.SUCCESS'] })
      .count()
      .sum('data.n', 'balance')
  try {
    for (let round = 0; round < 60; round++) {
      const { rows, hints } = await balance().parallel(2).execute()
      expect(rows[0].count % 2).toBe(0)
      expect(rows[0].balance ?? 0).toBe(0)
      if (round % 10 === 0 && hints?.[0].honoured) {
        await client.snapshot(async at => {
          const query = (on: typeof at) => on.query().groupBy(['type', 'tags.writer']).count().sum('data.n').limit(100)
          const [single, sliced] = [await query(at).execute(), await query(at).parallel(2).execute()]
          expect(sliced.rows).toEqual(single.rows)
        })
      }
    }
  } finally {
    writing = false
    await writers
  }
})
