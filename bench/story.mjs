// The story's promises about indexes: thirty questions, asked with the primary key alone, then after `optimizeIndexes()`
// has learned from them; whether each is answered by the best index there is or could be; and what writing costs then.

import pg from 'pg'
import { loadPackage } from './lib/database.mjs'
import { bound, executed, hidden, secondary } from './lib/indexes.mjs'
import { against, interleave, median, OURS, perSecond } from './lib/measure.mjs'
import { replicated } from './lib/source.mjs'
import { questions } from './lib/story.mjs'

export const about =
  'thirty questions before and after optimizeIndexes(): ms, share on the best index, what writing costs'

/** An index is as good as the best that reads hardly more. */
const WITHIN = 1.05
const BESIDE = 'primary key only'

export async function run(context) {
  const rows = context.quick ? 20_000 : Number(process.env.TAMMA_ROWS ?? 1_000_000)
  const url = await context.fresh()
  const admin = new pg.Client({ connectionString: url })
  let bare
  try {
    await fill(url, replicated(context.source, rows))
    await admin.connect()
    await strip(admin)
    await learn(context, url, admin, rows)
    await admin.end()
    bare = await context.copy(url)
    await withClient(bare, strip)
    await tax(context, { [OURS]: url, [BESIDE]: bare }, rows)
  } finally {
    await admin.end()
    await context.drop(url)
    if (bare) await context.drop(bare)
  }
}

async function fill(url, events) {
  const client = await loadPackage().connect({ url })
  try {
    await client.importEvents(events)
  } finally {
    await client.close()
  }
}

async function withClient(url, work) {
  const admin = new pg.Client({ connectionString: url })
  await admin.connect()
  try {
    return await work(admin)
  } finally {
    await admin.end()
  }
}

async function strip(admin) {
  for (const { name } of await secondary(admin)) await admin.query(`DROP INDEX ${name}`)
  await admin.query('VACUUM (ANALYZE, FREEZE) events')
}

async function learn(context, url, admin, rows) {
  const client = await loadPackage().connect({ url })
  try {
    const asked = await questions(admin, client)
    const before = await ask(asked, context.rounds(3))
    const told = await client.indexes.optimizeIndexes()
    await admin.query('VACUUM (ANALYZE) events')
    const after = await ask(asked, context.rounds(5))
    const slower = after.each.sort((a, b) => b.ms - a.ms).slice(0, 6)
    context.report({
      case: `mean of ${asked.length} questions of ${rows.toLocaleString('en-US')} events`,
      unit: 'ms',
      ...against({ [OURS]: [after.mean], [BESIDE]: [before.mean] }, { higherIsBetter: false }),
      higherIsBetter: false,
      atLeast: 10,
      detail: {
        indexes: (await secondary(admin)).map(one => `${one.sql}, ${Math.round(one.bytes / 2 ** 20)} MB`),
        reverted: told.reverted,
        writeTaxExpected: told.writeTax,
        seconds: Math.round(told.duration / 1000),
        slowest: Object.fromEntries(slower.map(({ name, ms }) => [name, ms]))
      }
    })
    await optimal(context, { client, admin, asked, told })
  } finally {
    await client.close()
  }
}

/** The mean of the questions, of the median of each. */
async function ask(asked, rounds) {
  const each = []
  for (const { name, make } of asked) {
    const figures = await interleave({ [OURS]: () => timed(make()) }, { rounds })
    each.push({ name, ms: median(figures[OURS]) })
  }
  return { each, mean: each.reduce((sum, one) => sum + one.ms, 0) / each.length }
}

async function timed(query) {
  const start = performance.now()
  await query.execute()
  return performance.now() - start
}

/**
 * The share of the questions that read as little as with any one index, of those that are there and those that were
 * recommended or tried: each is measured with that index alone, and without any.
 */
async function optimal(context, { client, admin, asked, told }) {
  const tried = told.recommendations.filter(one => one.action === 'create' && !told.created.includes(one.indexName))
  for (const one of tried) await admin.query(one.sql.replace(' CONCURRENTLY', ''))
  await admin.query('VACUUM (ANALYZE) events')
  const added = tried.map(one => one.indexName)
  const there = (await secondary(admin)).map(one => one.name.replaceAll('"', ''))
  const worse = []
  for (const { name, make } of asked) {
    const statement = await bound(admin, client[Symbol.for('tamma.events.native')].compile(make().toQuery()))
    const read = async visible => {
      const blind = there.filter(index => !visible.includes(index))
      return (await hidden(admin, blind, () => executed(admin, statement))).blocks
    }
    const own = await read(there.filter(index => !added.includes(index)))
    let best = { blocks: await read([]) }
    for (const index of there) {
      const blocks = await read([index])
      if (blocks < best.blocks) best = { blocks, index }
    }
    if (own > best.blocks * WITHIN) worse.push({ name, blocks: own, best })
  }
  for (const index of added) await admin.query(`DROP INDEX "${index}"`)
  const usage = await client.indexes.getIndexUsage()
  context.report({
    case: 'questions on the index that reads least',
    unit: '%',
    ours: (1 - worse.length / asked.length) * 100,
    peers: { optimalIndexRatio: usage.optimalIndexRatio * 100 },
    ratio: null,
    higherIsBetter: true,
    limit: 95,
    detail: { worse }
  })
}

/**
 * What appending costs with the indexes, beside the primary key alone: the same events to both, those that follow the
 * log's last. All of `append` is measured, as its caller sees it, and not what the server spends on the rows alone.
 */
async function tax(context, urls, rows) {
  const following = replicated(context.source, Number.POSITIVE_INFINITY)
  for (let passed = 0; passed < rows; passed++) await following.next()
  for (const size of [1000, 100, 1]) {
    const count = Math.ceil((context.quick ? 1000 : 10_000) / size / (size === 1 ? 10 : 1))
    const turns = new Turns(following, size, count)
    const opened = {}
    try {
      for (const [name, url] of Object.entries(urls)) {
        const client = await loadPackage().connect({ url })
        opened[name] = { client, turn: 0, wal: 0, written: 0 }
      }
      const contenders = Object.fromEntries(
        Object.entries(opened).map(([name, writer]) => [
          name,
          async () => append(urls[name], writer, await turns.at(writer.turn++))
        ])
      )
      const { spread, ...result } = against(await interleave(contenders, { rounds: context.rounds(9) }), {
        higherIsBetter: true
      })
      const bytes = name => opened[name].wal / opened[name].written
      context.report({
        case: size === 1 ? 'appending one event at a time' : `appending ${size} events at a time`,
        unit: 'events/s',
        higherIsBetter: true,
        ...result,
        atLeast: 0.8,
        detail: {
          tax: 1 / result.ratio - 1,
          spread,
          walBytesPerEvent: { [OURS]: Math.round(bytes(OURS)), [BESIDE]: Math.round(bytes(BESIDE)) }
        }
      })
    } finally {
      for (const { client } of Object.values(opened)) await client.close()
    }
  }
}

/** The batches of each turn, the same for all who take it. */
class Turns {
  #events
  #size
  #count
  #taken = []

  constructor(events, size, count) {
    this.#events = events
    this.#size = size
    this.#count = count
  }

  async at(turn) {
    while (this.#taken.length <= turn) {
      const batches = []
      while (batches.length < this.#count) {
        const batch = []
        while (batch.length < this.#size) batch.push((await this.#events.next()).value)
        batches.push(batch)
      }
      this.#taken.push(batches)
    }
    return this.#taken[turn]
  }
}

async function append(url, writer, batches) {
  const position = () =>
    withClient(url, async admin => (await admin.query('SELECT pg_current_wal_insert_lsn() AS at')).rows[0].at)
  const from = await position()
  const rate = await perSecond(async () => {
    for (const events of batches) await writer.client.append(events)
    return batches.flat().length
  })
  writer.wal += await withClient(
    url,
    async admin =>
      (await admin.query('SELECT pg_wal_lsn_diff($1, $2)::float8 AS n', [await position(), from])).rows[0].n
  )
  writer.written += batches.flat().length
  return rate
}
