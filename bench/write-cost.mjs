// What the cache's column, its index, its guards and the gate of conditional appends cost a write.

import { loadPackage } from './lib/database.mjs'
import { generateEvents } from './lib/generate.mjs'
import { against, interleave, OURS, perSecond } from './lib/measure.mjs'
import { pgClient } from './lib/peers.mjs'

export const about = 'append() with transaction_id, its index and triggers, and without: events/s'

const BARE = 'without them'

/** Takes away what a table would not have if nobody asked it for what is new. */
const STRIP = `
  DROP TRIGGER zzz_tamma_guard_insert ON events;
  DROP TRIGGER zzz_tamma_guard_update ON events;
  DROP TRIGGER tamma_0_enter_gate ON events;
  DROP TRIGGER tamma_2_log_rotation ON events;
  DROP INDEX idx_events_transaction_id;
  ALTER TABLE events DROP COLUMN transaction_id`

export async function run(context) {
  for (const size of [1000, 10, 1]) await compare(context, size)
}

async function compare(context, size) {
  const opened = {}
  try {
    for (const name of [OURS, BARE]) {
      const url = await context.fresh()
      if (name === BARE) await strip(url)
      const client = await loadPackage().connect({ url })
      opened[name] = { url, client, next: batches(context.source.seed, size), written: 0 }
    }
    const each = Math.ceil((context.quick ? 1000 : 5000) / size / (size === 1 ? 5 : 1))
    const contenders = Object.fromEntries(
      Object.entries(opened).map(([name, writer]) => [name, () => write(writer, each, size)])
    )
    const rounds = context.rounds(9)
    const { spread, ...result } = against(await interleave(contenders, { rounds }), { higherIsBetter: true })
    for (const [name, writer] of Object.entries(opened)) await verify(name, writer)
    context.report({
      case: size === 1 ? 'one event at a time' : `batches of ${size}`,
      unit: 'events/s',
      higherIsBetter: true,
      ...result,
      detail: { rounds, spread }
    })
  } finally {
    for (const { client, url } of Object.values(opened)) {
      await client.close()
      await context.drop(url)
    }
  }
}

async function strip(url) {
  const client = await pgClient(url)
  try {
    await client.query(STRIP)
  } finally {
    await client.end()
  }
}

// Both get the same events in the same order.
function batches(seed, size) {
  const events = generateEvents({ count: Number.POSITIVE_INFINITY, seed })
  return () => Array.from({ length: size }, () => events.next().value)
}

async function write(writer, count, size) {
  const prepared = Array.from({ length: count }, writer.next)
  const rate = await perSecond(async () => {
    for (const events of prepared) await writer.client.append(events)
    return count * size
  })
  writer.written += count * size
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
