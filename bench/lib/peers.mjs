// The drivers we are compared with, each configured at its best: named or prepared statements, a pool as large as
// ours, and timestamps left as text where that is faster for them than making a Date (we give text too).

import pg from 'pg'
import postgres from 'postgres'

const TIMESTAMPTZ = 1184
const asIs = text => text

/** Connections of every pool here, ours included. */
export const POOL = 8

export const COLUMNS = 'event_id as id, event_type as type, "timestamp", tags, metadata, data'

/** How a driver may hand over timestamps. */
export const TIMES = ['date', 'text']

export function pgTypes(times) {
  if (times === 'date') return pg.types
  return { getTypeParser: (oid, format) => (oid === TIMESTAMPTZ ? asIs : pg.types.getTypeParser(oid, format)) }
}

export const pgPool = (url, times = 'date') =>
  new pg.Pool({ connectionString: url, max: POOL, types: pgTypes(times), idleTimeoutMillis: 0 })

export async function pgClient(url) {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  return client
}

export function postgresJs(url, times = 'date', max = POOL) {
  const types = times === 'date' ? {} : { date: { to: TIMESTAMPTZ, from: [TIMESTAMPTZ], serialize: asIs, parse: asIs } }
  return postgres(url, { max, types, onnotice: () => {} })
}

// A row's content, whatever type the driver chose for the time, as a 32-bit hash (FNV-1a).
function hashRow(row) {
  const text = JSON.stringify([row.id, row.type, milliseconds(row.timestamp), row.tags, row.metadata, row.data])
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

function milliseconds(time) {
  if (time instanceof Date) return time.getTime()
  const iso = time.replace(' ', 'T').replace(/([+-]\d\d)$/, '$1:00')
  return Date.parse(iso)
}

/** Collects rows, in any order, into something that two contenders can be compared by. */
export class Digest {
  rows = 0
  sum = 0

  add(row) {
    this.rows += 1
    this.sum += hashRow(row)
  }

  get value() {
    return `${this.rows} rows, checksum ${this.sum}`
  }
}

/** Throws unless all give the same rows. */
export function assertSame(digests) {
  const values = Object.entries(digests).map(([name, digest]) => [name, digest.value])
  const [first] = values
  for (const [name, value] of values) {
    if (value !== first[1]) throw new Error(`different rows: ${first[0]} gave ${first[1]}, ${name} gave ${value}`)
  }
}
