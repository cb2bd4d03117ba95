// The events of one issue: what a service asks all day long.

import { loadPackage } from './lib/database.mjs'
import { against, fastest, interleave, OURS, perSecond } from './lib/measure.mjs'
import { assertSame, COLUMNS, Digest, POOL, pgClient, pgPool, postgresJs, TIMES } from './lib/peers.mjs'

export const about = 'the first 1, 20 and 200 events of one issue, sequentially and 8 at once: queries/s'
export const datasets = ({ quick }) => (quick ? [3000] : [300_000])

const AT_ONCE = [1, 8]
const KEYS = 500
const PREPARED = 'ours, builder reused'

const statement = rows =>
  `select ${COLUMNS} from events where tags->>'issueId' = $1 order by "timestamp", event_id limit ${rows}`

const PEERS = {
  'pg, named statements': (url, times) => {
    const pool = pgPool(url, times)
    return {
      prepare: rows => {
        const query = { name: `issue_${rows}`, text: statement(rows) }
        return async issue => (await pool.query({ ...query, values: [issue] })).rows
      },
      close: () => pool.end()
    }
  },
  'postgres.js': (url, times) => {
    const sql = postgresJs(url, times)
    return {
      prepare: rows => {
        const text = statement(rows)
        return issue => sql.unsafe(text, [issue], { prepare: true })
      },
      close: () => sql.end()
    }
  }
}

// `fresh` makes its builder at each call, as services write it; `prepared` keeps one for each issue.
async function openOurs(url) {
  const client = await loadPackage().connect({ url, pool: { max: POOL } })
  const builder = (issue, rows) => client.query().where('tags.issueId', 'eq', issue).orderBy('timestamp').limit(rows)
  return {
    fresh: rows => async issue => (await builder(issue, rows).execute()).rows,
    prepared: (rows, issues) => {
      const builders = new Map(issues.map(issue => [issue, builder(issue, rows)]))
      return async issue => (await builders.get(issue).execute()).rows
    },
    close: () => client.close()
  }
}

export async function run(context) {
  const url = context.dataset(datasets(context)[0])
  const ours = await openOurs(url)
  const peers = {}
  const settings = {}
  try {
    for (const name of Object.keys(PEERS)) {
      settings[name] = await fastestTimes(name, url, context)
      peers[name] = PEERS[name](url, settings[name])
    }
    for (const rows of context.quick ? [1, 20] : [1, 20, 200]) {
      const issues = await issuesWith(url, rows)
      const ways = { [OURS]: ours.fresh(rows), [PREPARED]: ours.prepared(rows, issues) }
      for (const [name, peer] of Object.entries(peers)) ways[name] = peer.prepare(rows)
      await verify(ways, issues)
      for (const atOnce of AT_ONCE) await compare(context, { ways, issues, rows, atOnce, settings })
    }
  } finally {
    await ours.close()
    for (const { close } of Object.values(peers)) await close()
  }
}

async function compare(context, { ways, issues, rows, atOnce, settings }) {
  // Short slices, many rounds: a burst of other work on the machine then spoils some rounds, not the median.
  const queries = context.quick ? 50 : rows > 20 ? 200 : 500
  const contenders = Object.fromEntries(
    Object.entries(ways).map(([name, ask]) => [
      name,
      () => perSecond(() => askAll(ask, issues, { queries, atOnce, rows }))
    ])
  )
  const rounds = context.rounds(41)
  const figures = await interleave(contenders, { rounds })
  const texts = Object.fromEntries(Object.entries(settings).map(([name, times]) => [name, `timestamps as ${times}`]))
  const title = `${rows} ${rows === 1 ? 'row' : 'rows'}, ${atOnce === 1 ? 'sequential' : `${atOnce} at once`}`
  for (const [suffix, name, promise] of [
    ['', OURS, { atLeast: 1.2 }],
    [', builder reused', PREPARED, {}]
  ]) {
    const { spread, ...result } = against(figures, { higherIsBetter: true, ours: name, peers: Object.keys(PEERS) })
    context.report({
      case: title + suffix,
      unit: 'queries/s',
      higherIsBetter: true,
      ...result,
      ...(context.quick ? {} : promise),
      detail: { rounds, spread, settings: texts }
    })
  }
}

async function askAll(ask, issues, { queries, atOnce, rows }) {
  let next = 0
  const worker = async () => {
    while (next < queries) {
      const found = await ask(issues[next++ % issues.length])
      if (found.length !== rows) throw new Error(`expected ${rows} rows, got ${found.length}`)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
  return queries
}

// Issues with enough events, spread over the whole log.
async function issuesWith(url, rows) {
  const client = await pgClient(url)
  try {
    const found = await client.query(
      `select tags->>'issueId' as issue from events where tags ? 'issueId'
       group by 1 having count(*) >= $1 order by md5(tags->>'issueId') limit $2`,
      [rows, KEYS]
    )
    if (found.rows.length === 0) throw new Error(`no issue has ${rows} events in this data set`)
    return found.rows.map(row => row.issue)
  } finally {
    await client.end()
  }
}

async function verify(ways, issues) {
  const digests = {}
  for (const [name, ask] of Object.entries(ways)) {
    digests[name] = new Digest()
    for (const issue of issues.slice(0, 50)) for (const row of await ask(issue)) digests[name].add(row)
  }
  assertSame(digests)
}

async function fastestTimes(name, url, context) {
  const rows = 20
  const issues = await issuesWith(url, rows)
  const opened = TIMES.map(times => PEERS[name](url, times))
  try {
    const candidates = opened.map(({ prepare }, i) => {
      const ask = prepare(rows)
      const queries = context.quick ? 20 : 1000
      return [TIMES[i], () => perSecond(() => askAll(ask, issues, { queries, atOnce: 1, rows }))]
    })
    return await fastest(Object.fromEntries(candidates), { rounds: 3 })
  } finally {
    for (const { close } of opened) await close()
  }
}
