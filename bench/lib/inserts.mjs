// The usual ways to insert many rows with `pg`, by hand; named, so that each is parsed and planned once.

const COLUMNS = 'event_id, event_type, "timestamp", tags, metadata, data'
const TYPES = ['uuid', 'text', 'timestamptz', 'jsonb', 'jsonb', 'jsonb']

const valuesOf = event => [
  event.id,
  event.type,
  event.timestamp,
  JSON.stringify(event.tags),
  JSON.stringify(event.metadata),
  JSON.stringify(event.data)
]

/** One array per column. */
export function insertUnnest(events, conflict = '') {
  const columns = TYPES.map(() => [])
  for (const event of events) for (const [i, value] of valuesOf(event).entries()) columns[i].push(value)
  const arrays = TYPES.map((type, i) => `$${i + 1}::${type}[]`).join(', ')
  return {
    name: `unnest${conflict}`,
    text: `insert into events (${COLUMNS}) select * from unnest(${arrays}) ${conflict}`,
    values: columns
  }
}

/** The whole batch as one JSON array, taken apart by the server. */
export function insertJson(events, conflict = '') {
  const fields = 'id uuid, type text, "timestamp" timestamptz, tags jsonb, metadata jsonb, data jsonb'
  const text = `insert into events (${COLUMNS})
    select id, type, "timestamp", tags, metadata, data from json_to_recordset($1::json) as event(${fields}) ${conflict}`
  return { name: `json${conflict}`, text, values: [JSON.stringify(events)] }
}

/** A bind per value. */
export function insertRows(events, conflict = '') {
  const values = events.flatMap(valuesOf)
  const tuples = events.map((_, row) => `(${TYPES.map((_, i) => `$${row * TYPES.length + i + 1}`).join(',')})`)
  const text = `insert into events (${COLUMNS}) values ${tuples.join(',')} ${conflict}`
  return { name: `rows${events.length}${conflict}`, text, values }
}

const escaped = text => text.replaceAll('\\', '\\\\')

/** A line of COPY's text format. JSON.stringify leaves no tab and no newline in it. */
export function copyLine(event) {
  const [id, type, timestamp, tags, metadata, data] = valuesOf(event)
  return `${id}\t${type}\t${timestamp}\t${escaped(tags)}\t${escaped(metadata)}\t${escaped(data)}\n`
}

export const COPY = `copy events (${COLUMNS}) from stdin`
