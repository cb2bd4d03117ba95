// Writing, a thousand events in a transaction.

import { loadPackage } from './lib/database.mjs'
import { generateEvents } from './lib/generate.mjs'
import { insertJson, insertRows, insertUnnest } from './lib/inserts.mjs'
import { against, interleave, OURS, perSecond } from './lib/measure.mjs'
import { pgClient, postgresJs } from './lib/peers.mjs'

export const about = 'batches of 1,000 events, a transaction each: events/s'

const BATCH = 1000

/** All of one shape: `write(events)` commits them. Each writes to a log of its own, made from the same template. */
const WRITERS = {
  [OURS]: async url => {
    const client = await loadPackage().connect({ url })
    return { write: events => client.append(events), close: () => client.close() }
  },
  'pg, unnest': url => pgWriter(url, insertUnnest),
  'pg, one JSON value': url => pgWriter(url, insertJson),
  'pg, rows of values': url => pgWriter(url, insertRows),
  'postgres.js, insert helper': async url => {
    const sql = postgresJs(url, 'text', 1)
    const write = events =>
      sql`insert into events ${sql(
        events.map(event => ({
          event_id: event.id,
          event_type: event.type,
          timestamp: event.timestamp,
          tags: sql.json(event.tags),
          metadata: sql.json(event.metadata),
          data: sql.json(event.data)
        }))
      )}`
    return { write, close: () => sql.end() }
  }
}

async function pgWriter(url, insert) {
  const client = await pgClient(url)
  return { write: events => client.query(insert(events)), close: () => client.end() }
}

export async function run(context) {
  const opened = {}
  const urls = []
  try {
    for (const [name, open] of Object.entries(WRITERS)) {
      const url = await context.fresh()
      urls.push(url)
      opened[name] = { ...(await open(url)), next: batches(context.source.seed), url, written: 0 }
    }
    const each = context.quick ? 1 : 10
    const contenders = Object.fromEntries(
      Object.entries(opened).map(([name, writer]) => [name, () => write(writer, each)])
    )
    const rounds = context.rounds(9)
    const figures = await interleave(contenders, { rounds })
    for (const [name, writer] of Object.entries(opened)) await verify(name, writer)

    const { spread, ...result } = against(figures, { higherIsBetter: true })
    context.report({
      case: 'batches of 1,000',
      unit: 'events/s',
      higherIsBetter: true,
      ...result,
      ...(context.quick ? {} : { limit: 10_000 }),
      detail: { rounds, spread }
    })
  } finally {
    for (const { close } of Object.values(opened)) await close()
    for (const url of urls) await context.drop(url)
  }
}

// Every writer gets the same events in the same order.
function batches(seed) {
  const events = generateEvents({ count: Number.POSITIVE_INFINITY, seed })
  return () => Array.from({ length: BATCH }, () => events.next().value)
}

async function write(writer, count) {
  const prepared = Array.from({ length: count }, writer.next)
  const rate = await perSecond(async () => {
    for (const events of prepared) await writer.write(events)
    return count * BATCH
  })
  writer.written += count * BATCH
  return rate
}

async function verify(name, { url, written }) {
  const client = await pgClient(url)
  try {
    const { rows } = await client.query('select count(*)::int as count from events')
    if (rows[0].count !== written) throw new Error(`${name} wrote ${written} events, the table has ${rows[0].count}`)
  } finally {
    await client.end()
  }
}
