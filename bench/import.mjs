// A file of events into an empty log.

import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { loadPackage } from './lib/database.mjs'
import { COPY, copyLine, insertJson, insertUnnest } from './lib/inserts.mjs'
import { against, footprint, interleave, OURS, perSecond } from './lib/measure.mjs'
import { pgClient, postgresJs } from './lib/peers.mjs'
import { countEvents, eventFiles, lines, writeEvents } from './lib/source.mjs'

export const about = 'a file of newline-delimited JSON into an empty log: events/s, seconds, memory'

const GENERATED = 196_137
const PROMISED = { events: 196_137, seconds: 20 }
const BATCH = 2000

// The peers' inserts skip duplicates as ours do; COPY by hand cannot, and checks nothing: the most any importer on
// this server could reach from JavaScript.
const IMPORTERS = {
  [OURS]: async (url, file) => {
    const client = await loadPackage().connect({ url })
    try {
      const { rejected } = await client.importEvents(file)
      if (rejected.length > 0) throw new Error(`line ${rejected[0].line}: ${rejected[0].reason}`)
    } finally {
      await client.close()
    }
  },
  'pg, unnest': (url, file) => insertInBatches(url, file, insertUnnest),
  'pg, one JSON value': (url, file) => insertInBatches(url, file, insertJson),
  'postgres.js, COPY by hand': async (url, file) => {
    const sql = postgresJs(url, 'text', 1)
    try {
      await pipeline(Readable.from(copyChunks(file)), await sql.unsafe(COPY).writable())
    } finally {
      await sql.end()
    }
  }
}

async function insertInBatches(url, file, insert) {
  const client = await pgClient(url)
  try {
    let batch = []
    const flush = () => client.query(insert(batch, 'on conflict do nothing'))
    for await (const line of lines(file)) {
      batch.push(JSON.parse(line))
      if (batch.length < BATCH) continue
      await flush()
      batch = []
    }
    if (batch.length > 0) await flush()
  } finally {
    await client.end()
  }
}

async function* copyChunks(file) {
  let text = ''
  for await (const line of lines(file)) {
    text += copyLine(JSON.parse(line))
    if (text.length < 65_536) continue
    yield text
    text = ''
  }
  if (text) yield text
}

export async function run(context) {
  const { file, title, remove } = await fileOf(context)
  try {
    const count = await countEvents(file)
    const contenders = Object.fromEntries(
      Object.entries(IMPORTERS).map(([name, importer]) => [name, () => intoEmptyLog(context, importer, file, count)])
    )
    const rounds = context.rounds(3)
    const figures = await interleave(contenders, { rounds, warmUp: 0 })
    const { spread, ...result } = against(figures, { higherIsBetter: true })
    const name = `${count.toLocaleString('en-US')} events, ${title}`
    const detail = {
      rounds,
      spread,
      settings: { 'pg, unnest': `batches of ${BATCH}`, 'pg, one JSON value': `batches of ${BATCH}` }
    }
    context.report({ case: name, unit: 'events/s', higherIsBetter: true, ...result, detail })

    const seconds = Object.fromEntries(
      Object.entries(figures).map(([name, rates]) => [name, rates.map(rate => count / rate)])
    )
    const limit = !context.quick && count <= PROMISED.events ? { limit: PROMISED.seconds } : {}
    const timed = against(seconds, { higherIsBetter: false })
    context.report({ case: `${name}, time`, unit: 's', higherIsBetter: false, ...timed, ...limit, detail: { rounds } })

    await memory(context, file, name)
  } finally {
    await remove()
  }
}

// One file is imported as it is; a folder, or nothing, as one file made for the purpose.
async function fileOf(context) {
  const files = eventFiles(context.source.data)
  if (files.length === 1 && !context.quick) {
    return { file: files[0], title: path.basename(files[0]), remove: async () => {} }
  }
  const folder = await mkdtemp(path.join(os.tmpdir(), 'tamma-bench-'))
  const remove = () => rm(folder, { recursive: true, force: true })
  try {
    const file = path.join(folder, 'events.ndjson')
    await writeEvents(context.source, context.quick ? 2000 : GENERATED, file)
    return { file, title: files.length ? path.basename(context.source.data) : 'generated', remove }
  } catch (error) {
    await remove()
    throw error
  }
}

async function intoEmptyLog(context, importer, file, count) {
  const url = await context.fresh()
  try {
    const rate = await perSecond(async () => {
      await importer(url, file)
      return count
    })
    const client = await pgClient(url)
    const { rows } = await client.query('select count(*)::int as count from events').finally(() => client.end())
    if (rows[0].count !== count) throw new Error(`imported ${rows[0].count} of ${count} events`)
    return rate
  } finally {
    await context.drop(url)
  }
}

async function memory(context, file, name) {
  const figures = {}
  for (const importer of Object.keys(IMPORTERS)) figures[importer] = [(await context.probe({ importer, file })).memory]
  const result = against(figures, { higherIsBetter: false })
  context.report({ case: `${name}, growth of resident memory`, unit: 'MB', higherIsBetter: false, ...result })
}

/** In a fresh process: memory over one import. */
export async function probe(context, { importer, file }) {
  const url = await context.fresh()
  try {
    return await footprint(() => IMPORTERS[importer](url, file))
  } finally {
    await context.drop(url)
  }
}
