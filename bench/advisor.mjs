// Index advice, held to what the server really reads: for each workload every set of candidates is tried with real
// indexes, and ours, a greedy by planner cost (Dexter's method) and a rule (Supabase's index_advisor) are compared with
// the best of them by executed buffers.

import pg from 'pg'
import { loadPackage } from './lib/database.mjs'
import { bound, Reads } from './lib/indexes.mjs'
import { median } from './lib/measure.mjs'
import { workloads } from './lib/workloads.mjs'

export const about = 'index recommendations against exhaustive search: share within 5 % of the fewest buffers'

const WITHIN = 1.05

const FILL = `
  INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data)
  SELECT gen_random_uuid(), (ARRAY['CODE.GENERATED.SUCCESS', 'CODE.GENERATED.FAILURE', 'PR.MERGED.SUCCESS', 'ISSUE.OPENED.SUCCESS',
      'TEST.RUN.SUCCESS', 'TEST.RUN.FAILURE', 'REVIEW.DONE.SUCCESS', 'DEPLOY.DONE.SUCCESS', 'WORKFLOW.COMPLETED', 'RARE.SEEN.ONCE'])
      [CASE WHEN i % 5000 = 0 THEN 10 ELSE 1 + abs(hashint4(i)) % 9 END],
    timestamptz '2024-01-01Z' + i * interval '3 seconds',
    jsonb_build_object('issueId', (abs(hashint4(i + 1)) % 20000)::text, 'provider', 'p' || abs(hashint4(i + 2)) % 7)
      || CASE WHEN i % 10 = 0 THEN jsonb_build_object('prId', (i / 100)::text) ELSE '{}' END,
    jsonb_build_object('actor', jsonb_build_object('name', 'user ' || abs(hashint4(i + 3)) % 500, 'bot', i % 3 = 0)),
    jsonb_build_object('n', i, 'cost', abs(hashint4(i + 4)) % 1000, 'labels', jsonb_build_array('l' || i % 50, 'm' || i % 3000), 'text', repeat('x', 60))
  FROM generate_series(1, $1::int) AS i`

export async function run(context) {
  const url = await context.fresh()
  const rows = context.quick ? 20_000 : Number(process.env.TAMMA_ROWS ?? 1_000_000)
  const admin = new pg.Client({ connectionString: url })
  await admin.connect()
  const client = await loadPackage().connect({ url, migrate: true })
  try {
    await admin.query('DROP INDEX IF EXISTS idx_events_composite_1, idx_events_composite_2, idx_events_composite_3')
    await admin.query(FILL, [rows])
    await admin.query('VACUUM ANALYZE events')
    const all = workloads(client, rows)
    const chosen = context.quick ? all.filter((_, i) => i % 8 === 0) : all
    const tiers = context.quick ? ['sample'] : await available(admin)
    // First the advice, of a table that has none of the indexes; then all that anybody thought of is built, once.
    const native = client.indexes[Symbol.for('tamma.events.native')]
    const advised = []
    for (const workload of chosen) advised.push(await advice(native, workload, tiers))
    await build(
      admin,
      advised.flatMap(one => one.candidates)
    )
    const judge = new Judge(admin, client)
    for (const tier of tiers) {
      const outcomes = []
      for (const one of advised) outcomes.push(await judge.judge(one, tier))
      tell(context, tier, outcomes, rows)
    }
  } finally {
    await client.close()
    await admin.end()
    await context.drop(url)
  }
}

async function available(admin) {
  const { rowCount } = await admin.query(`SELECT FROM pg_available_extensions WHERE name = 'hypopg'`)
  if (rowCount === 0) return ['sample']
  await admin.query('CREATE EXTENSION hypopg')
  return ['hypopg', 'sample']
}

async function advice(native, workload, tiers) {
  const candidates = await native.candidates(workload.queries)
  const recommended = {}
  for (const tier of tiers) {
    const options = { maxIndexes: workload.maxIndexes, hypopg: tier === 'hypopg' }
    const start = performance.now()
    const all = (await native.recommend(workload.queries, options)).filter(one => one.definition)
    const names = all.map(one => one.indexName)
    for (const { indexName: name, sql } of all)
      if (!candidates.some(one => one.name === name)) throw new Error(`${sql} is recommended, and no candidate`)
    const cost = all.length > 0 ? Math.min(...all.map(one => one.costAfter)) : undefined
    recommended[tier] = { names, cost, ms: performance.now() - start }
  }
  return { ...workload, candidates, recommended }
}

/** Builds indexes that no plan sees. */
async function build(admin, candidates) {
  const all = new Map(candidates.map(one => [one.name, one.sql.replace(' CONCURRENTLY', '')]))
  for (const sql of all.values()) await admin.query(sql)
  await admin.query('VACUUM ANALYZE events')
  const names = [...all.keys()]
  await admin.query(
    'UPDATE pg_index SET indisvalid = false WHERE indexrelid IN (SELECT oid FROM pg_class WHERE relname = ANY($1))',
    [names]
  )
}

function tell(context, tier, outcomes, rows) {
  const share = of => outcomes.filter(one => one[of] <= one.best * WITHIN).length / outcomes.length
  const errors = outcomes.flatMap(one => one.errors).sort((a, b) => a - b)
  const ours = share('ours')
  const peers = {
    "greedy by cost (Dexter's method)": share('greedy'),
    "single columns (index_advisor's rule)": share('rule')
  }
  context.report({
    case: `${outcomes.length} workloads of ${rows.toLocaleString('en-US')} events, ${tier}`,
    unit: 'share within 5 % of the best',
    ours,
    peers,
    ratio: ours / Math.max(...Object.values(peers), 0.01),
    higherIsBetter: true,
    limit: 0.95,
    detail: {
      costError: { median: errors.length > 0 ? median(errors) : 0, p90: errors[Math.floor(errors.length * 0.9)] ?? 0 },
      secondsOfAdvice: outcomes.reduce((sum, one) => sum + one.ms, 0) / 1000,
      missed: outcomes
        .filter(one => one.ours > one.best * WITHIN)
        .map(({ name, ours, best, greedy, chosen, bestOf }) => ({ name, ours, best, greedy, chosen, bestOf }))
    }
  })
}

/** Lets the planner see any set of a workload's candidates, and counts what is read. */
class Judge {
  constructor(admin, client) {
    this.admin = admin
    this.compile = client[Symbol.for('tamma.events.native')].compile
    this.known = new Map()
  }

  async judge({ name, queries, maxIndexes, candidates, recommended }, tier) {
    const sql = new Map(candidates.map(one => [one.name, one.sql.split(' ON ')[1]]))
    const names = candidates.map(one => one.name)
    const reads = []
    for (const { query, frequency } of queries) reads.push({ frequency, of: await this.reads(query, candidates) })
    const total = async set => {
      const sum = { blocks: 0, cost: 0 }
      for (const { frequency, of } of reads) {
        const { blocks, cost } = await of.with(set)
        sum.blocks += frequency * blocks
        sum.cost += frequency * cost
      }
      return sum
    }
    let best = { blocks: Number.POSITIVE_INFINITY }
    for (const set of subsets(names, maxIndexes)) {
      const { blocks } = await total(set)
      if (blocks < best.blocks) best = { blocks, set }
    }
    const { names: ours, cost: told, ms } = recommended[tier]
    const seen = await total(ours)
    return {
      name,
      ms,
      best: best.blocks,
      bestOf: best.set.map(one => sql.get(one)),
      ours: seen.blocks,
      chosen: ours.map(one => sql.get(one)),
      greedy: (await total(await greedy(total, candidates, maxIndexes))).blocks,
      rule: (await total(await rule(reads, candidates))).blocks,
      errors: told === undefined ? [] : [Math.abs(told - seen.cost) / Math.max(seen.cost, 1)]
    }
  }

  /** What a query reads with sets of these candidates. What was found for one tier holds for the other. */
  async reads(query, candidates) {
    const compiled = this.compile(query)
    const key = JSON.stringify([compiled, candidates.map(one => one.name)])
    if (!this.known.has(key)) {
      const statement = await bound(this.admin, compiled)
      this.known.set(key, new Reads(this.admin, statement, candidates))
    }
    return this.known.get(key)
  }
}

/** One after the other, whichever the planner likes best, while it saves half of the cost: of one or two keys. */
async function greedy(total, candidates, most) {
  const small = candidates.filter(one => one.keys <= 2).map(one => one.name)
  const chosen = []
  let { cost } = await total([])
  while (chosen.length < most) {
    let best
    for (const name of small.filter(one => !chosen.includes(one))) {
      const now = (await total([...chosen, name])).cost
      if (best === undefined || now < best.now) best = { name, now }
    }
    if (best === undefined || best.now > cost * 0.5) break
    chosen.push(best.name)
    cost = best.now
  }
  return chosen
}

/** Every single key that some plan uses where it may have them all. */
async function rule(reads, candidates) {
  const single = candidates.filter(one => one.keys === 1).map(one => one.name)
  const used = new Set()
  for (const { of } of reads) for (const name of (await of.with(single)).used) used.add(name)
  return [...used]
}

/** All sets of at most so many. */
function subsets(names, most) {
  let sets = [[]]
  for (const name of names) sets = sets.concat(sets.filter(set => set.length < most).map(set => [...set, name]))
  return sets
}
