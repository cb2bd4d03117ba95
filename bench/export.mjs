// Writing a whole log to a file: ours beside the best that JavaScript has for each format.

import { createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import pg from 'pg'
import QueryStream from 'pg-query-stream'
import { loadPackage } from './lib/database.mjs'
import { against, footprint, interleave, OURS, perSecond } from './lib/measure.mjs'

export const about = 'all events to a file of each format: rows/s, memory'
export const datasets = ({ quick }) => (quick ? [2000] : [1_000_000])

const FORMATS = ['csv', 'ndjson', 'json', 'parquet', 'arrow']
const PEERS = {
  csv: { 'psql-style COPY TO, through pg': copyTo, 'pg-query-stream + writer': csvByHand },
  ndjson: { 'pg-query-stream + writer': ndjsonByHand },
  json: { 'pg-query-stream + writer': ndjsonByHand },
  parquet: { 'pg-query-stream + apache-arrow columns': columnsByHand },
  arrow: { 'pg-query-stream + apache-arrow': arrowByHand }
}

export async function run(context) {
  const [rows] = datasets(context)
  const folder = await mkdtemp(path.join(tmpdir(), 'tamma-bench-'))
  const client = await loadPackage().connect({ url: context.dataset(rows), limits: { timeout: 600_000 } })
  try {
    for (const format of FORMATS) await rates(context, { rows, folder, client, format })
    await footprints(context, rows)
  } finally {
    await client.close()
    await rm(folder, { recursive: true, force: true })
  }
}

async function rates(context, { rows, folder, client, format }) {
  const to = name => path.join(folder, `${name.replace(/\W/g, '_')}.${format}`)
  const url = context.dataset(rows)
  const contenders = {
    [OURS]: () => perSecond(async () => (await client.query().export({ format, to: to(OURS) })).rows)
  }
  for (const [name, write] of Object.entries(PEERS[format]))
    contenders[name] = () =>
      perSecond(async () => {
        await write(url, to(name))
        return rows
      })
  const rounds = context.rounds(3)
  const figures = await interleave(contenders, { rounds })
  const common = { unit: 'rows/s', higherIsBetter: true }
  const result = against(figures, { ...common, peers: Object.keys(PEERS[format]) })
  context.report({
    case: `${rows.toLocaleString('en-US')} rows to ${format}`,
    ...common,
    ...result,
    ...(context.quick || format !== 'parquet' ? {} : { atLeast: 3 }),
    detail: { rounds, spread: result.spread }
  })
}

async function footprints(context, rows) {
  for (const format of FORMATS) {
    const { memory } = await context.probe({ rows, format })
    context.report({
      case: `${rows.toLocaleString('en-US')} rows to ${format}, growth of resident memory`,
      unit: 'MB',
      higherIsBetter: false,
      ...against({ [OURS]: [memory] }, { higherIsBetter: false, peers: [] }),
      ...(context.quick ? {} : { limit: 200 })
    })
  }
}

/** In a fresh process: memory over one export. */
export async function probe(context, { rows, format }) {
  const folder = await mkdtemp(path.join(tmpdir(), 'tamma-bench-'))
  const client = await loadPackage().connect({ url: context.dataset(rows), limits: { timeout: 600_000 } })
  try {
    await client
      .query()
      .limit(1000)
      .export({ format, to: path.join(folder, 'warm') })
    return await footprint(async () => (await client.query().export({ format, to: path.join(folder, 'out') })).rows)
  } finally {
    await client.close()
    await rm(folder, { recursive: true, force: true })
  }
}

const SELECT = 'SELECT event_id, event_type, "timestamp", tags, metadata, data FROM events'

/** COPY's text comes as protocol messages, which `pg` hands over one by one. */
async function copyTo(url, to) {
  const client = new pg.Client(url)
  await client.connect()
  try {
    const rows = new Readable({ read() {} })
    const { connection } = client
    const onData = message => rows.push(message.chunk)
    connection.on('copyData', onData)
    const done = pipeline(rows, createWriteStream(to))
    await client.query(`COPY (${SELECT}) TO STDOUT WITH (FORMAT csv, HEADER)`)
    connection.off('copyData', onData)
    rows.push(null)
    await done
  } finally {
    await client.end()
  }
}

async function streamed(url, write) {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return await write(client.query(new QueryStream(SELECT, [], { batchSize: 1000, highWaterMark: 1000 })))
  } finally {
    await client.end()
  }
}

const cell = value => {
  const text =
    value instanceof Date ? value.toISOString() : typeof value === 'object' ? JSON.stringify(value) : String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

const inChunks = async function* (rows, line) {
  let chunk = ''
  for await (const row of rows) {
    chunk += line(row)
    if (chunk.length > 1 << 18) {
      yield chunk
      chunk = ''
    }
  }
  yield chunk
}

async function csvByHand(url, to) {
  const line = row => `${Object.values(row).map(cell).join()}\r\n`
  await streamed(url, rows => pipeline(inChunks(rows, line), createWriteStream(to)))
}

async function ndjsonByHand(url, to) {
  const line = row => `${JSON.stringify(row)}\n`
  await streamed(url, rows => pipeline(inChunks(rows, line), createWriteStream(to)))
}

/** Record batches of so many rows, as columns of apache-arrow. */
async function* batches(rows, arrow) {
  const fields = {
    event_id: new arrow.Utf8(),
    event_type: new arrow.Utf8(),
    timestamp: new arrow.TimestampMillisecond(),
    tags: new arrow.Utf8(),
    metadata: new arrow.Utf8(),
    data: new arrow.Utf8()
  }
  let columns = Object.keys(fields).map(() => [])
  const flush = () => {
    const vectors = Object.entries(fields).map(([name, type], i) => [name, arrow.vectorFromArray(columns[i], type)])
    columns = Object.keys(fields).map(() => [])
    return new arrow.Table(Object.fromEntries(vectors)).batches[0]
  }
  for await (const { event_id, event_type, timestamp, tags, metadata, data } of rows) {
    const values = [
      event_id,
      event_type,
      timestamp.getTime(),
      JSON.stringify(tags),
      JSON.stringify(metadata),
      JSON.stringify(data)
    ]
    for (const [i, value] of values.entries()) columns[i].push(value)
    if (columns[0].length === 8192) yield flush()
  }
  if (columns[0].length > 0) yield flush()
}

async function arrowByHand(url, to) {
  const arrow = await import('apache-arrow')
  await streamed(url, async rows => {
    const writer = new arrow.RecordBatchFileWriter()
    const writing = writer.writeAll(batches(rows, arrow))
    await pipeline(Readable.from(writer), createWriteStream(to))
    await writing
  })
}

/** A lower bound for a writer of Parquet in JavaScript: the columns, made and thrown away. */
async function columnsByHand(url) {
  const arrow = await import('apache-arrow')
  await streamed(url, async rows => {
    for await (const _ of batches(rows, arrow));
  })
}
