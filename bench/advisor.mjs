// Index advice, held to what the server really reads: for each workload every set of candidates is tried with real
// indexes, and ours, a greedy by planner cost (Dexter's method) and a rule (Supabase's index_advisor) are compared with
// the best of them by executed buffers.

import pg from 'pg'
import { loadPackage } from './lib/database.mjs'
import { median } from './lib/measure.mjs'
import { workloads } from './lib/workloads.mjs'

export const about = 'index recommendations against exhaustive search: share within 5 % of the fewest buffers'

/** Candidates of a workload that are built; sets of them that are tried. */
const MOST_CANDIDATES = 14
const WITHIN = 1.05
/** An index for a single issue of twenty thousand answers the workload's example, and nothing else: no candidate. */
const ONE_VALUE = /WHERE .*"tags"->>'(?:issueId|prId)' = /

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
  const rows = context.quick ? 20_000 : 1_000_000
  const admin = new pg.Client({ connectionString: url })
  await admin.connect()
  const client = await loadPackage().connect({ url, migrate: true })
  try {
    await admin.query('DROP INDEX IF EXISTS idx_events_composite_1, idx_events_composite_2, idx_events_composite_3')
    await admin.query(FILL, [rows])
    await admin.query('VACUUM ANALYZE events')
    const all = workloads(client, rows)
    const chosen = context.quick ? all.filter((_, i) => i % 8 === 0) : all
    const judge = new Judge(admin, client)
    for (const tier of context.quick ? ['sample'] : await tiers(admin)) {
      const outcomes = []
      for (const workload of chosen) outcomes.push(await judge.judge(workload, tier))
      tell(context, tier, outcomes)
    }
  } finally {
    await client.close()
    await admin.end()
    await context.drop(url)
  }
}

async function tiers(admin) {
  const { rowCount } = await admin.query(`SELECT FROM pg_available_extensions WHERE name = 'hypopg'`)
  if (rowCount === 0) return ['sample']
  await admin.query('CREATE EXTENSION hypopg')
  return ['hypopg', 'sample']
}

function tell(context, tier, outcomes) {
  const share = of => outcomes.filter(one => one[of] <= one.best * WITHIN).length / outcomes.length
  const errors = outcomes.flatMap(one => one.errors).sort((a, b) => a - b)
  const ours = share('ours')
  const peers = {
    "greedy by cost (Dexter's method)": share('greedy'),
    "single columns (index_advisor's rule)": share('rule')
  }
  context.report({
    case: `${outcomes.length} workloads, ${tier}`,
    unit: 'share within 5 % of the best',
    ours,
    peers,
    ratio: ours / Math.max(...Object.values(peers), 0.01),
    higherIsBetter: true,
    limit: 0.95,
    detail: {
      costError: { median: errors.length > 0 ? median(errors) : 0, p90: errors[Math.floor(errors.length * 0.9)] ?? 0 },
      missed: outcomes.filter(one => one.ours > one.best * WITHIN).map(({ name, ours, best }) => ({ name, ours, best }))
    }
  })
}

/** Builds all candidates of a workload once, and lets the planner see any set of them. */
class Judge {
  constructor(admin, client) {
    this.admin = admin
    this.native = client.indexes[Symbol.for('tamma.events.native')]
    this.compile = client[Symbol.for('tamma.events.native')].compile
  }

  async judge({ name, queries, maxIndexes }, tier) {
    const options = { maxIndexes, hypopg: tier === 'hypopg' }
    const recommended = await this.native.recommend(queries, options)
    const ours = recommended.filter(one => one.definition).map(one => one.indexName)
    const candidates = (await this.native.candidates(queries))
      .filter(one => !ONE_VALUE.test(one.sql))
      .slice(0, MOST_CANDIDATES)
    for (const one of recommended)
      if (one.definition && !candidates.some(known => known.name === one.indexName)) candidates.push(one)
    const names = candidates.map(one => one.name ?? one.indexName)
    for (const one of candidates) await this.admin.query(one.sql.replace(' CONCURRENTLY', ''))
    await this.admin.query('VACUUM ANALYZE events')
    const statements = queries.map(({ query, frequency }) => ({ frequency, ...this.statement(query) }))
    try {
      const sets = subsets(names, maxIndexes)
      let best = { blocks: Number.POSITIVE_INFINITY }
      const costs = new Map()
      for (const set of sets) {
        const { blocks, cost } = await this.measure(statements, names, set)
        costs.set(set.join(), cost)
        if (blocks < best.blocks) best = { blocks, set }
      }
      const seen = await this.measure(statements, names, ours)
      const greedy = await this.greedy(statements, names, costs, maxIndexes, candidates)
      const rule = await this.rule(statements, names, candidates)
      const real = seen.cost
      const told = recommended.length > 0 ? Math.min(...recommended.map(one => one.costAfter)) : undefined
      return {
        name,
        best: best.blocks,
        ours: seen.blocks,
        greedy,
        rule,
        errors: told === undefined ? [] : [Math.abs(told - real) / Math.max(real, 1)]
      }
    } finally {
      for (const index of names) await this.admin.query(`DROP INDEX "${index}"`)
    }
  }

  statement(query) {
    const { sql, parameters } = this.compile(query)
    return { sql, parameters }
  }

  /** Blocks and planner cost of the workload with these indexes alone. Nobody else looks at this database. */
  async measure(statements, names, visible) {
    await this.admin.query('BEGIN')
    try {
      const hidden = names.filter(name => !visible.includes(name))
      if (hidden.length > 0)
        await this.admin.query(
          `UPDATE pg_index SET indisvalid = false WHERE indexrelid IN (SELECT oid FROM pg_class WHERE relname = ANY($1))`,
          [hidden]
        )
      let [blocks, cost] = [0, 0]
      for (const { sql, parameters, frequency } of statements) {
        const run = () =>
          this.admin.query({ text: `EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) ${sql}`, values: parameters })
        await run()
        const { Plan: plan } = (await run()).rows[0]['QUERY PLAN'][0]
        blocks += frequency * (plan['Shared Hit Blocks'] + plan['Shared Read Blocks'])
        cost += frequency * plan['Total Cost']
      }
      return { blocks, cost }
    } finally {
      await this.admin.query('ROLLBACK')
    }
  }

  /** One after the other, whichever the planner likes best, while it saves half of the cost: of one or two keys. */
  async greedy(statements, names, costs, most, candidates) {
    const small = candidates
      .filter(one => (one.keys ?? one.definition?.columns.length ?? 9) <= 2)
      .map(one => one.name ?? one.indexName)
    const chosen = []
    let { cost } = await this.measure(statements, names, [])
    while (chosen.length < most) {
      let best
      for (const name of small.filter(one => !chosen.includes(one))) {
        const set = [...chosen, name]
        const now = costs.get(set.join()) ?? (await this.measure(statements, names, set)).cost
        if (best === undefined || now < best.now) best = { name, now }
      }
      if (best === undefined || best.now > cost * 0.5) break
      chosen.push(best.name)
      cost = best.now
    }
    return (await this.measure(statements, names, chosen)).blocks
  }

  /** Every single key that some plan would use. */
  async rule(statements, names, candidates) {
    const single = candidates
      .filter(one => (one.keys ?? one.definition?.columns.length ?? 9) === 1)
      .map(one => one.name ?? one.indexName)
    return (await this.measure(statements, names, single)).blocks
  }
}

/** All sets of at most so many. */
function subsets(names, most) {
  let sets = [[]]
  for (const name of names) sets = sets.concat(sets.filter(set => set.length < most).map(set => [...set, name]))
  return sets
}
