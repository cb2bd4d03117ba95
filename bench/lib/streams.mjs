// The ways to read a whole log row by row: ours and the peers'. Each contender opens once and then streams as often
// as asked; `each` is called for every row.

import Cursor from 'pg-cursor'
import QueryStream from 'pg-query-stream'
import { loadPackage } from './database.mjs'
import { fastest, OURS, perSecond } from './measure.mjs'
import { COLUMNS, pgClient, pgTypes, postgresJs, TIMES } from './peers.mjs'

const BATCHES = [100, 500, 1000, 5000]

// The type of batch that is read is the peer's natural one: pg-cursor and postgres.js are read with a plain loop over
// each batch, which costs them no promise per row.
const OPEN = {
  [OURS]: async url => {
    const client = await loadPackage().connect({ url })
    const query = limit => (limit ? client.query().limit(limit) : client.query())
    return {
      stream: async (each, limit) => {
        for await (const row of query(limit).executeStream()) each(row)
      },
      drain: drainOf(client, query()),
      close: () => client.close()
    }
  },
  'pg-query-stream': async (url, { batch, times }) => {
    const client = await pgClient(url)
    return {
      stream: async (each, limit) => {
        const rows = client.query(new QueryStream(statement(limit), [], { batchSize: batch, types: pgTypes(times) }))
        for await (const row of rows) each(row)
      },
      close: () => client.end()
    }
  },
  'pg-cursor': async (url, { batch, times }) => {
    const client = await pgClient(url)
    return {
      stream: async (each, limit) => {
        const cursor = client.query(new Cursor(statement(limit), [], { types: pgTypes(times) }))
        for (let rows = await cursor.read(batch); rows.length > 0; rows = await cursor.read(batch)) {
          for (const row of rows) each(row)
        }
        await cursor.close()
      },
      close: () => client.end()
    }
  },
  'postgres.js': async (url, { batch, times }) => {
    const sql = postgresJs(url, times, 1)
    return {
      stream: async (each, limit) => {
        for await (const rows of sql.unsafe(statement(limit), [], { prepare: true }).cursor(batch)) {
          for (const row of rows) each(row)
        }
      },
      close: () => sql.end()
    }
  }
}

export const STREAM_PEERS = Object.keys(OPEN).filter(name => name !== OURS)

const statement = limit => `select ${COLUMNS} from events${limit ? ` limit ${limit}` : ''}`

// Not part of the API: how fast the native side alone reads the rows of a query, without handing them over.
function drainOf(client, query) {
  const native = client[Symbol.for('tamma.events.native')]
  return native?.drain ? () => native.drain(query.toQuery()) : undefined
}

/**
 * How fast the server alone reads these rows and writes them in the binary format, sending them nowhere: no client
 * with one connection can be faster. Undefined where the server cannot tell (before PostgreSQL 17).
 */
export async function openServer(url) {
  const client = await pgClient(url)
  const { rows } = await client.query("select current_setting('server_version_num')::int as version")
  const can = rows[0].version >= 170_000
  const measured = `explain (analyze, timing off, buffers off, serialize binary) ${statement()}`
  return { write: can ? () => client.query(measured) : undefined, close: () => client.end() }
}

export const openStream = (name, url, settings) => OPEN[name](url, settings)

export const settingsText = ({ batch, times }) => `batches of ${batch}, timestamps as ${times}`

/** Batch size and kind of timestamp with which this peer is fastest on the first `rows` rows. */
export async function bestSettings(name, url, rows) {
  const all = BATCHES.flatMap(batch => TIMES.map(times => ({ batch, times })))
  const opened = await Promise.all(all.map(settings => openStream(name, url, settings)))
  try {
    const candidates = opened.map(({ stream }, i) => [
      i,
      () =>
        perSecond(async () => {
          let count = 0
          await stream(() => count++, rows)
          return count
        })
    ])
    return all[await fastest(Object.fromEntries(candidates), { rounds: 4 })]
  } finally {
    await Promise.all(opened.map(({ close }) => close()))
  }
}
