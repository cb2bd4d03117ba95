// Aggregates over the whole log: two slices against one statement in one process, and against PostgreSQL's own
// parallel query with as many processes.

import { loadPackage } from './lib/database.mjs'
import { against, interleave, OURS } from './lib/measure.mjs'

export const about = 'aggregates over all events: ms, two workers against one process and against the server’s own two'
export const datasets = ({ quick }) => (quick ? [5000] : [1_000_000])

const ONE = 'one process'
const SERVER = 'PostgreSQL’s parallel query, two processes'
const PEERS = { [ONE]: 0, [SERVER]: 1 }

const CASES = {
  'count, sum and average by type': query =>
    query.groupBy(['type']).count('id', 'n').sum('data.durationMs').avg('data.durationMs').orderBy('type'),
  'deviation by type and day': query =>
    query
      .timeBucket('1 day')
      .groupBy(['type'])
      .count('id', 'n')
      .aggregate({ fn: 'stddev', field: 'data.durationMs' })
      .orderBy('bucket')
      .orderBy('type'),
  'median and 95th percentile by hour': query =>
    query
      .timeBucket('1 hour')
      .aggregate({ fn: 'median', field: 'data.durationMs' })
      .aggregate({ fn: 'percentile', field: 'data.durationMs', percentile: 0.95, as: 'p95' })
      .orderBy('bucket'),
  'different issues by type': query =>
    query.groupBy(['type']).aggregate({ fn: 'countDistinct', field: 'tags.issueId', as: 'issues' }).orderBy('type')
}

/** A client whose statements may use so many processes beside their own. */
function client(url, beside) {
  const tuned = new URL(url)
  tuned.searchParams.set('options', `-c max_parallel_workers_per_gather=${beside}`)
  return loadPackage().connect({ url: tuned.href })
}

async function milliseconds(work) {
  const start = performance.now()
  await work()
  return performance.now() - start
}

export async function run(context) {
  const [rows] = datasets(context)
  const url = context.dataset(rows)
  const clients = { [OURS]: await client(url, 0) }
  try {
    for (const [name, beside] of Object.entries(PEERS)) clients[name] = await client(url, beside)
    for (const [name, build] of Object.entries(CASES)) {
      const queries = Object.fromEntries(
        Object.entries(clients).map(([who, of]) => [
          who,
          build(of.query()).hint({ parallel: who === OURS, workers: 2 })
        ])
      )
      const { rows: sliced, hints } = await queries[OURS].execute()
      if (!hints?.[0]?.honoured) throw new Error(`not cut: ${JSON.stringify(hints)}`)
      for (const peer of Object.keys(PEERS)) {
        const { rows: single } = await queries[peer].execute()
        if (JSON.stringify(single) !== JSON.stringify(sliced)) throw new Error(`${name}: ${peer} gives another answer`)
      }
      const rounds = context.rounds(7)
      const figures = await interleave(
        Object.fromEntries(
          Object.entries(queries).map(([who, query]) => [who, () => milliseconds(() => query.execute())])
        ),
        { rounds }
      )
      const { spread, ...result } = against(figures, { higherIsBetter: false, peers: Object.keys(PEERS) })
      const one = against(figures, { higherIsBetter: false, peers: [ONE] })
      context.report({
        case: `${name}, ${rows.toLocaleString('en-US')} events`,
        unit: 'ms',
        higherIsBetter: false,
        ...result,
        detail: { rounds, spread, how: hints[0].how, timesOneProcess: one.ratio, spreadOneProcess: one.spread }
      })
    }
  } finally {
    for (const one of Object.values(clients)) await one.close()
  }
}
