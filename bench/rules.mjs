// Each rule of the planner, on a query that it was made for: the answer with it, and without it alone.

import { isDeepStrictEqual } from 'node:util'
import pg from 'pg'
import { loadPackage } from './lib/database.mjs'
import { against, interleave, OURS } from './lib/measure.mjs'

export const about = 'each rule of the planner with it and without it: ms a query'
export const datasets = ({ quick }) => [quick ? 3000 : 1_000_000]

const WITHOUT = 'without the rule'
const INDEXES = {
  idx_bench_type: 'ON events (event_type, "timestamp" DESC)',
  idx_bench_tags: 'ON events USING gin (tags jsonb_path_ops)'
}
const leaf = (field, op, value) => ({ field, op, value })
const count = [{ fn: 'count' }]

/** A query for each rule. `span` is the first, the middle and the last time of the log. */
const QUERIES = {
  contradiction: () => ({
    filter: { where: { and: [leaf('data.files[0].lines', 'gt', 300), leaf('data.files[0].lines', 'lt', 200)] } }
  }),
  'one-list': ({ issues }) => ({
    filter: {
      where: { or: issues.slice(0, 200).map(issue => leaf('tags.prId', 'eq', String(Number(issue) + 100_000))) }
    },
    aggregates: count
  }),
  'tighten-ranges': () => ({
    filter: { where: { and: [1, 2, 3, 4, 5].map(n => leaf('data.files[0].lines', 'gte', n * 50)) } },
    aggregates: count
  }),
  'having-to-filter': ({ issues }) => ({
    filter: {},
    groupBy: ['tags.issueId'],
    aggregates: [{ fn: 'mode', field: 'type' }],
    timeBucket: { interval: '1 day' },
    having: leaf('tags.issueId', 'eq', issues[0])
  }),
  'join-bounds': ({ span }) => ({
    filter: { startTime: span[1], endTime: new Date(span[1].getTime() + 3_600_000) },
    joins: [{ table: 'events', alias: 'next', on: { 'tags.repo': 'tags.repo' }, within: '1 minute' }],
    aggregates: count
  }),
  'union-arms': () => ({
    filter: { eventTypes: ['PLAN.GENERATED.SUCCESS', 'PR.MERGED.SUCCESS', 'ISSUE.CLOSED.SUCCESS'] },
    orderBy: [{ field: 'timestamp', direction: 'desc' }],
    offset: 2000,
    limit: 20
  }),
  'tag-containment': ({ issues }) => ({ filter: { tags: { prId: String(Number(issues[0]) + 100_000) } } }),
  'partial-index': ({ last }) => ({
    filter: { where: leaf('tags.area', 'eq', last.area) },
    timeWindow: { last: last.window },
    aggregates: count
  })
}

export async function run(context) {
  const url = context.dataset(datasets(context)[0])
  const admin = new pg.Client({ connectionString: url })
  await admin.connect()
  try {
    const facts = await prepare(admin)
    for (const rule of Object.keys(QUERIES)) await compare(context, url, rule, QUERIES[rule](facts))
  } finally {
    for (const name of [...Object.keys(INDEXES), 'idx_bench_recent']) await admin.query(`drop index if exists ${name}`)
    await admin.end()
  }
}

/** Indexes, and constants that are in the log. */
async function prepare(admin) {
  for (const [name, definition] of Object.entries(INDEXES)) await admin.query(`create index ${name} ${definition}`)
  const { rows: issues } = await admin.query(
    `select tags->>'issueId' as issue from events where tags ? 'prId' group by 1 order by count(*) desc, 1 limit 400`
  )
  const { rows } = await admin.query(`select min("timestamp") a, max("timestamp") z from events`)
  const [{ a, z }] = rows
  // The log ends in the past: a window up to now that begins within its last hundredth.
  const cut = new Date(z.getTime() - (z - a) / 100)
  await admin.query(
    `create index idx_bench_recent on events ((tags->>'area'), "timestamp") where "timestamp" >= '${cut.toISOString()}'`
  )
  await admin.query('vacuum analyze events')
  const { rows: areas } = await admin.query(`select tags->>'area' area from events where tags ? 'area' limit 1`)
  const window = `${Math.floor((Date.now() - cut.getTime()) / 60_000) - 120} minutes`
  return {
    issues: issues.map(({ issue }) => issue),
    span: [a, new Date((a.getTime() + z.getTime()) / 2), z],
    last: { window, area: areas[0].area }
  }
}

async function compare(context, url, rule, query) {
  const open = async () => loadPackage().connect({ url })
  const clients = { [OURS]: await open(), [WITHOUT]: await open() }
  try {
    const native = clients[WITHOUT][Symbol.for('tamma.events.native')]
    if (!native.rules().includes(rule)) throw new Error(`there is no rule ${rule}`)
    native.leaveOutRules([rule])
    const { rules } = await clients[OURS].optimizer.optimizeQuery(query)
    if (!rules.some(applied => applied.rule === rule)) throw new Error(`${rule} has nothing to say of its own query`)
    const answers = []
    for (const client of Object.values(clients)) answers.push((await client.optimizer.executeQuery(query)).rows)
    if (!isDeepStrictEqual(...answers.map(sorted))) throw new Error(`${rule} changes the answer`)
    const contenders = Object.fromEntries(
      Object.entries(clients).map(([name, client]) => [name, () => time(() => client.optimizer.executeQuery(query))])
    )
    const rounds = context.rounds(9)
    const figures = await interleave(contenders, { rounds, warmUp: 2 })
    const { spread, ...result } = against(figures, { higherIsBetter: false })
    context.report({
      case: rule,
      unit: 'ms',
      higherIsBetter: false,
      ...result,
      ...(context.quick ? {} : { atLeast: 1.2 }),
      detail: { rounds, spread, query: JSON.stringify(query).slice(0, 300) }
    })
  } finally {
    for (const client of Object.values(clients)) await client.close()
  }
}

async function time(work) {
  const start = performance.now()
  await work()
  return performance.now() - start
}

const sorted = rows => rows.map(row => JSON.stringify(row)).sort()
