// Where a bench's events come from: a file, a folder of files, or the generator; and the generator after the file's
// end where a bench asks for more than the file has.

import { createReadStream, createWriteStream, existsSync, readdirSync, statSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { generateEvents } from './generate.mjs'

const EVENT_FILE = /\.ndjson(\.gz)?$/

/** What is wrong with the command line, not with the program. */
export class UsageError extends Error {}

/** The files that `--data` names, in a fixed order. */
export function eventFiles(data) {
  if (!data) return []
  if (!existsSync(data)) throw new UsageError(`--data ${data}: no such file or folder`)
  if (!statSync(data).isDirectory()) {
    if (!EVENT_FILE.test(data)) throw new UsageError(`--data ${data}: expected a folder, .ndjson or .ndjson.gz`)
    return [path.resolve(data)]
  }
  const files = readdirSync(data)
    .filter(name => EVENT_FILE.test(name))
    .sort()
  if (files.length === 0) throw new UsageError(`--data ${data}: no .ndjson or .ndjson.gz file in this folder`)
  return files.map(name => path.resolve(data, name))
}

/** The lines of a file, unzipped where it is zipped. */
export async function* lines(file) {
  const input = createReadStream(file)
  const text = file.endsWith('.gz') ? input.pipe(createGunzip()) : input
  input.on('error', error => text.destroy(error))
  try {
    for await (const line of createInterface({ input: text, crlfDelay: Number.POSITIVE_INFINITY })) if (line) yield line
  } finally {
    input.destroy()
  }
}

/**
 * The first `rows` events of the source.
 * @param {{ data?: string, seed?: number }} source
 */
export async function* events(source, rows) {
  let count = 0
  let start
  for (const file of eventFiles(source.data)) {
    for await (const line of lines(file)) {
      if (count === rows) return
      const event = JSON.parse(line)
      start = Math.max(start ?? 0, Date.parse(event.timestamp))
      count += 1
      yield event
    }
  }
  yield* generateEvents({ count: rows - count, seed: source.seed, start: start && start + 1 })
}

/**
 * The first `rows` events of the source, which begins again where it ends: later, with other ids, issues and pull
 * requests, as if the work went on.
 * @param {{ data?: string, seed?: number }} source
 */
export async function* replicated(source, rows) {
  if (eventFiles(source.data).length === 0) return yield* events(source, rows)
  let count = 0
  let shift = 0
  for (let copy = 0; count < rows; copy++) {
    let [first, last] = [Number.POSITIVE_INFINITY, 0]
    for (const file of eventFiles(source.data)) {
      for await (const line of lines(file)) {
        if (count++ === rows) return
        const event = JSON.parse(line)
        const at = Date.parse(event.timestamp)
        first = Math.min(first, at)
        last = Math.max(last, at)
        yield copy === 0 ? event : moved(event, shift, copy)
      }
    }
    shift += last - first + 1
  }
}

function moved(event, shift, copy) {
  const later = id => {
    const time = (Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16) + shift).toString(16).padStart(12, '0')
    return `${time.slice(0, 8)}-${time.slice(8)}${id.slice(13)}`
  }
  const other = value => value && `${value}.${copy}`
  const { issueId, prId } = event.tags
  const { causationId, correlationId } = event.metadata
  return {
    ...event,
    id: later(event.id),
    timestamp: new Date(Date.parse(event.timestamp) + shift).toISOString(),
    tags: { ...event.tags, ...(issueId && { issueId: other(issueId) }), ...(prId && { prId: other(prId) }) },
    metadata: {
      ...event.metadata,
      ...(causationId && { causationId: later(causationId) }),
      ...(correlationId && { correlationId: other(correlationId) })
    },
    data: event.data.sha ? { ...event.data, sha: other(event.data.sha) } : event.data
  }
}

export async function countEvents(file) {
  let count = 0
  for await (const _ of lines(file)) count += 1
  return count
}

/** The first `rows` events as a file, for benches that read one. */
export async function writeEvents(source, rows, file) {
  await pipeline(async function* () {
    for await (const event of events(source, rows)) yield `${JSON.stringify(event)}\n`
  }, createWriteStream(file))
}
