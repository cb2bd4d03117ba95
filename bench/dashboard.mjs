// A dashboard of twelve panels over a log that goes on being written, refreshed once a second: the time its answers
// take, beside direct reads, and beside a plain cache that forgets after ten seconds, whose stale answers are counted.

import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { loadPackage } from './lib/database.mjs'
import { against, OURS } from './lib/measure.mjs'
import { pgClient } from './lib/peers.mjs'

export const about = 'twelve panels refreshed while 200 events/s are appended: ms a refresh'
export const datasets = ({ quick }) => {
  if (quick) return [2000]
  return process.env.TAMMA_ROWS ? [Number(process.env.TAMMA_ROWS)] : [1_000_000, 5_000_000]
}

const TTL = 10_000
/** Refreshes of a contender in a round, one a second. */
const REFRESHES = { [OURS]: 5, ttl: TTL / 1000 }
const CONNECTIONS = 10

function panels(client) {
  const query = () => client.query()
  const days = query().timeWindow({ last: '30 days' })
  const failures = { field: 'type', op: 'like', value: '%FAIL%' }
  return [
    days.timeBucket('1 hour').groupBy(['type']).count(),
    days.timeBucket('1 day').count(),
    days.timeBucket('1 day').groupBy(['tags.provider']).count(),
    days.timeBucket('1 hour').aggregate({ fn: 'percentile', percentile: 0.95, field: 'data.durationMs', as: 'p95' }),
    days.timeBucket('1 day').avg('data.durationMs', 'avg').max('data.durationMs', 'max'),
    query().groupBy(['type']).count(),
    query().groupBy(['tags.issueId']).count().orderBy('count', 'desc').limit(10),
    query().groupBy(['tags.platform']).count().sum('data.durationMs', 'total'),
    query().where(failures).orderBy('timestamp', 'desc').limit(50),
    query()
      .where({ eventTypes: ['CODE.*'] })
      .orderBy('timestamp', 'desc')
      .limit(20),
    query().count(),
    query().where(failures).timeBucket('1 week').count()
  ]
}

async function timed(work) {
  const start = performance.now()
  for (const one of work) await one()
  return performance.now() - start
}

/** The mean time of so many refreshes, one a second. */
async function onceASecond(work, times, second) {
  let sum = 0
  for (let i = 0; i < times; i++) {
    const ms = await timed(work)
    sum += ms
    await sleep(Math.max(0, second - ms))
  }
  return sum / times
}

export async function run(context) {
  for (const rows of datasets(context)) await measure(context, rows)
}

/** Rows of the event table and entries of its indexes that the server reads meanwhile. Whoever appends reads none. */
async function rowsRead(admin, client, work) {
  const read = async () => {
    // A session tells what it did once it is idle, and not at once: each is asked, so many at a time.
    const flush = () => client.sql`SELECT pg_stat_force_next_flush(), pg_sleep(0.2)`.execute()
    await Promise.all(Array.from({ length: CONNECTIONS }, flush))
    const { rows } = await admin.query(
      `SELECT t.seq_tup_read + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes AS i WHERE i.relid = t.relid) AS n
       FROM pg_stat_user_tables AS t WHERE t.relname = 'events'`
    )
    return Number(rows[0].n)
  }
  const before = await read()
  await work()
  return (await read()) - before
}

async function measure(context, rows) {
  const url = context.dataset(rows)
  const admin = await pgClient(url)
  const client = await loadPackage().connect({ url, pool: { max: CONNECTIONS } })
  const writer = await loadPackage().connect({ url })
  let stopped = false
  const types = ['CODE.GENERATED.SUCCESS', 'CODE.GENERATED.FAILED', 'PR.MERGED.SUCCESS', 'ISSUE.OPENED.SUCCESS']
  const writing = (async () => {
    for (let n = 0; !stopped; n++) {
      const events = Array.from({ length: 20 }, (_, i) => ({
        type: types[(n + i) % types.length],
        tags: { issueId: String((n * 20 + i) % 997), provider: 'bench', id: randomUUID() },
        data: { durationMs: (n * 7919 + i) % 5000 }
      }))
      await writer.append(events)
      await sleep(100)
    }
  })()
  try {
    const direct = panels(client)
    const read = direct.map(query => () => query.execute())
    const kept = direct.map(query => query.cache({ consistency: 'strict' })).map(query => () => query.execute())
    const rounds = context.rounds(context.quick ? 3 : 10)
    const second = context.quick ? 50 : 1000
    const figures = { [OURS]: [], direct: [], ttl: [] }
    const answered = { hits: 0, deltas: 0, misses: 0 }
    const plain = new Map()
    let stale = 0
    const byAge = direct.map((query, i) => async () => {
      const found = plain.get(i)
      if (found !== undefined && performance.now() - found.at < TTL) stale++
      else plain.set(i, { at: performance.now(), result: await query.execute() })
    })
    let after
    for (let round = 0; round < rounds; round++) {
      // What came while the others were measured is more than a second brings: it is caught up with first.
      await timed(kept)
      const before = await client.cache.getCacheStats()
      figures[OURS].push(await onceASecond(kept, REFRESHES[OURS], second))
      after = await client.cache.getCacheStats()
      for (const outcome of Object.keys(answered)) answered[outcome] += after[outcome] - before[outcome]
      figures.direct.push(await timed(read))
      figures.ttl.push(await onceASecond(byAge, REFRESHES.ttl, second))
    }
    await timed(kept)
    const rowsOf = { [OURS]: await rowsRead(admin, client, () => timed(kept)) }
    rowsOf.direct = await rowsRead(admin, client, () => timed(read))
    const all = answered.hits + answered.deltas + answered.misses
    const { spread, ...result } = against(figures, { higherIsBetter: false, peers: ['direct'] })
    context.report({
      case: `${rows.toLocaleString('en-US')} events`,
      unit: 'ms',
      higherIsBetter: false,
      ...result,
      peers: { ...result.peers, 'ttl 10 s': figures.ttl.reduce((a, b) => a + b, 0) / rounds },
      ...(context.quick ? {} : { atLeast: 100 }),
      detail: {
        rounds,
        spread,
        hitRate: (all - answered.misses) / all,
        stale,
        rowsRead: rowsOf,
        memoryBytes: after.memoryBytes
      }
    })
  } finally {
    stopped = true
    await writing
    await writer.close()
    await client.close()
    await admin.end()
  }
}
