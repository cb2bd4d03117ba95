// A dashboard of twelve panels over a log that goes on being written, refreshed once a second: the time its answers
// take, beside direct reads, and beside a plain cache that forgets after ten seconds, whose stale answers are counted.

import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { loadPackage } from './lib/database.mjs'
import { against, OURS } from './lib/measure.mjs'

export const about = 'twelve panels refreshed while 200 events/s are appended: ms a refresh'
export const datasets = ({ quick }) => (quick ? [2000] : [1_000_000, 5_000_000])

const TTL = 10_000

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
  const results = []
  for (const one of work) results.push(await one())
  return { ms: performance.now() - start, results }
}

export async function run(context) {
  for (const rows of datasets(context)) await measure(context, rows)
}

async function measure(context, rows) {
  const url = context.dataset(rows)
  const client = await loadPackage().connect({ url })
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
    const cached = direct.map(query => query.cache({ consistency: 'strict' }))
    await timed(cached.map(query => () => query.execute()))
    const before = await client.cache.getCacheStats()
    const rounds = context.rounds(context.quick ? 3 : 10)
    const figures = { [OURS]: [], direct: [], ttl: [] }
    const plain = new Map()
    let stale = 0
    for (let round = 0; round < rounds; round++) {
      const kept = await timed(cached.map(query => () => query.execute()))
      figures[OURS].push(kept.ms)
      const read = await timed(direct.map(query => () => query.execute()))
      figures.direct.push(read.ms)
      const byAge = await timed(
        direct.map((query, i) => async () => {
          const found = plain.get(i)
          if (found !== undefined && performance.now() - found.at < TTL) {
            stale++
            return found.result
          }
          const result = await query.execute()
          plain.set(i, { at: performance.now(), result })
          return result
        })
      )
      figures.ttl.push(byAge.ms)
      await sleep(context.quick ? 50 : Math.max(0, 1000 - kept.ms))
    }
    const after = await client.cache.getCacheStats()
    const answered = key => after[key] - before[key]
    const all = answered('hits') + answered('deltas') + answered('misses')
    const { spread, ...result } = against(figures, { higherIsBetter: false, peers: ['direct'] })
    context.report({
      case: `${rows.toLocaleString('en-US')} events`,
      unit: 'ms',
      higherIsBetter: false,
      ...result,
      peers: { ...result.peers, 'ttl 10 s': figures.ttl.reduce((a, b) => a + b, 0) / rounds },
      ...(context.quick ? {} : { atLeast: 100 }),
      detail: { rounds, spread, hitRate: (all - answered('misses')) / all, stale, memoryBytes: after.memoryBytes }
    })
  } finally {
    stopped = true
    await writing
    await writer.close()
    await client.close()
  }
}
