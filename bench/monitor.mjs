// What the monitor costs: the point query of `point`, with everything watched, and with nothing logged or looked at.

import { loadPackage } from './lib/database.mjs'
import { against, interleave, perSecond } from './lib/measure.mjs'
import { POOL, pgClient } from './lib/peers.mjs'

export const about = 'point queries with the monitor on against off: queries/s'
export const datasets = ({ quick }) => (quick ? [3000] : [300_000])

const ON = 'monitor on'
const OFF = 'monitor off'
const WAYS = {
  // Every run logged, each statement explained every few seconds.
  [ON]: { sampleRate: 1, persist: true },
  // Runs are still counted in memory: that cannot be turned off.
  [OFF]: { sampleRate: 0, persist: false }
}
const ROWS = 20
const KEYS = 500

export async function run(context) {
  const url = context.dataset(datasets(context)[0])
  const issues = await issuesOf(url)
  const clients = {}
  try {
    for (const [name, monitor] of Object.entries(WAYS)) {
      clients[name] = await loadPackage().connect({ url, pool: { max: POOL }, monitor })
    }
    for (const atOnce of [1, 8]) await compare(context, { clients, issues, atOnce })
    // Else it would have measured a monitor that does nothing.
    const [found] = await clients[ON].monitor.getFingerprints({ limit: 1 })
    await clients[ON].monitor.getPlanChanges()
    if (found === undefined) throw new Error('the monitor that is on has counted nothing')
  } finally {
    for (const client of Object.values(clients)) await client.close()
  }
}

async function compare(context, { clients, issues, atOnce }) {
  const queries = context.quick ? 100 : 1000
  const contenders = Object.fromEntries(
    Object.entries(clients).map(([name, client]) => [
      name,
      () => perSecond(() => askAll(client, issues, { queries, atOnce }))
    ])
  )
  const rounds = context.rounds(61)
  const figures = await interleave(contenders, { rounds })
  const { spread, ...result } = against(figures, { higherIsBetter: true, ours: ON, peers: [OFF] })
  context.report({
    case: atOnce === 1 ? 'sequential' : `${atOnce} at once`,
    unit: 'queries/s',
    higherIsBetter: true,
    ...result,
    ...(context.quick ? {} : { atLeast: 0.97 }),
    detail: { rounds, spread }
  })
}

async function askAll(client, issues, { queries, atOnce }) {
  let next = 0
  const worker = async () => {
    while (next < queries) {
      const issue = issues[next++ % issues.length]
      const { rows } = await client
        .query()
        .where('tags.issueId', 'eq', issue)
        .orderBy('timestamp')
        .limit(ROWS)
        .execute()
      if (rows.length !== ROWS) throw new Error(`expected ${ROWS} rows, got ${rows.length}`)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
  return queries
}

// Issues with enough events, spread over the whole log.
async function issuesOf(url) {
  const client = await pgClient(url)
  try {
    const found = await client.query(
      `select tags->>'issueId' as issue from events where tags ? 'issueId'
       group by 1 having count(*) >= $1 order by md5(tags->>'issueId') limit $2`,
      [ROWS, KEYS]
    )
    if (found.rows.length === 0) throw new Error('no issue has enough events in this data set')
    return found.rows.map(row => row.issue)
  } finally {
    await client.end()
  }
}
