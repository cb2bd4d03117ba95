// Questions of analysis: ours beside the SQL that an expert writes, and beside fetching and computing in JavaScript.

import pg from 'pg'
import QueryStream from 'pg-query-stream'
import { loadPackage } from './lib/database.mjs'
import { against, interleave, OURS } from './lib/measure.mjs'

export const about = 'time series, percentiles and flow over all events: milliseconds'
export const datasets = ({ quick }) => (quick ? [2000] : [1_000_000])

const BY_HAND = 'hand-written SQL, pg'
const IN_JS = 'fetch and compute, pg-query-stream'
const field = 'data.durationMs'

export async function run(context) {
  const [rows] = datasets(context)
  const url = context.dataset(rows)
  const client = await loadPackage().connect({ url, limits: { timeout: 600_000 } })
  const peer = new pg.Client(url)
  await peer.connect()
  try {
    const cases = {
      'time series by day': [
        () =>
          client.analytics.timeSeries({
            filter: {},
            timeBucket: { interval: '1 day' },
            aggregates: [{ fn: 'count' }, { fn: 'avg', field }]
          }),
        () => peer.query(SERIES),
        () => seriesInJs(peer)
      ],
      'statistics with percentiles': [
        () => client.analytics.statistics(field),
        () => peer.query(PERCENTILES),
        () => percentilesInJs(peer)
      ],
      'flow by issue': [
        () => client.analytics.flow({ by: ['tags.issueId'] }),
        () => peer.query(FLOW),
        () => flowInJs(peer)
      ]
    }
    for (const [name, [ours, sql, js]] of Object.entries(cases)) {
      const rounds = context.rounds(3)
      const contenders = { [OURS]: timed(ours), [BY_HAND]: timed(sql), [IN_JS]: timed(js) }
      const figures = await interleave(contenders, { rounds })
      const result = against(figures, { higherIsBetter: false, peers: [BY_HAND, IN_JS] })
      context.report({
        case: `${name}, ${rows.toLocaleString('en-US')} events`,
        unit: 'ms',
        higherIsBetter: false,
        ...result,
        detail: { rounds, spread: result.spread }
      })
    }
  } finally {
    await peer.end()
    await client.close()
  }
}

const timed = work => async () => {
  const started = performance.now()
  await work()
  return performance.now() - started
}

const NUMBER = `CASE WHEN jsonb_typeof(data->'durationMs') = 'number' THEN (data->>'durationMs')::float8 END`
const SERIES = `SELECT date_bin('1 day', "timestamp", timestamptz '2000-01-03Z') AS bucket, count(*), avg(${NUMBER}) FROM events GROUP BY 1 ORDER BY 1`
const PERCENTILES = `SELECT count(x), avg(x), stddev_samp(x), min(x), max(x), percentile_cont(ARRAY[0.25, 0.5, 0.75, 0.9, 0.95, 0.99]) WITHIN GROUP (ORDER BY x) FROM (SELECT ${NUMBER} AS x FROM events) AS v`
const FLOW = `SELECT p, t, count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM d)) FROM (
  SELECT event_type AS t, lag(event_type) OVER w AS p, "timestamp" - lag("timestamp") OVER w AS d FROM events WHERE tags ? 'issueId'
  WINDOW w AS (PARTITION BY tags->>'issueId' ORDER BY "timestamp", event_id)) AS o GROUP BY 1, 2`

async function each(peer, sql, visit) {
  const rows = peer.query(new QueryStream(sql, [], { batchSize: 1000, highWaterMark: 1000 }))
  for await (const row of rows) visit(row)
}

async function seriesInJs(peer) {
  const days = new Map()
  await each(peer, `SELECT "timestamp" AS at, data->'durationMs' AS x FROM events`, ({ at, x }) => {
    const day = Math.floor(at.getTime() / 86_400_000)
    const known = days.get(day) ?? { count: 0, numbers: 0, sum: 0 }
    known.count++
    if (typeof x === 'number') {
      known.numbers++
      known.sum += x
    }
    days.set(day, known)
  })
  return days
}

async function percentilesInJs(peer) {
  const values = []
  await each(peer, `SELECT data->'durationMs' AS x FROM events`, ({ x }) => typeof x === 'number' && values.push(x))
  values.sort((a, b) => a - b)
  return [0.25, 0.5, 0.75, 0.9, 0.95, 0.99].map(share => values[Math.floor(share * (values.length - 1))])
}

async function flowInJs(peer) {
  const last = new Map()
  const edges = new Map()
  await each(
    peer,
    `SELECT tags->>'issueId' AS issue, event_type AS type, "timestamp" AS at FROM events WHERE tags ? 'issueId' ORDER BY "timestamp", event_id`,
    ({ issue, type, at }) => {
      const before = last.get(issue)
      if (before) {
        const key = `${before.type}\0${type}`
        if (!edges.has(key)) edges.set(key, [])
        edges.get(key).push(at - before.at)
      }
      last.set(issue, { type, at })
    }
  )
  for (const times of edges.values()) times.sort((a, b) => a - b)
  return edges
}
