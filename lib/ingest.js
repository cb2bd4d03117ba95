'use strict'

/** Writing events: `append` and `importEvents`. */

const { createReadStream } = require('node:fs')
const { stat } = require('node:fs/promises')
const { createGunzip } = require('node:zlib')
const { EventsError, aborted, unwrap } = require('./errors.js')
const { checkOptions } = require('./run.js')
const { encodeEvents, encodeQuery } = require('./wire.js')

/** Refused lines that a report lists one by one, unless `maxRejected` says otherwise. */
const DEFAULT_LISTED = 1000
/** Bytes of events handed to the core at once. */
const CHUNK = 256 * 1024
/** Milliseconds between two calls of `onProgress`. */
const PROGRESS_INTERVAL = 100

async function append(core, events, condition) {
  if (!Array.isArray(events))
    throw new EventsError('INVALID_EVENT', 'events: must be a list of events', { path: 'events' })
  if (condition === undefined) return unwrap(await core.native.append(encodeEvents(events)))
  return unwrap(await core.native.append(encodeEvents(events), encodeCondition(condition)))
}

/** In options, `undefined` means left out. */
function encodeCondition(condition) {
  if (condition === null || typeof condition !== 'object' || Array.isArray(condition))
    throw new EventsError('INVALID_QUERY', 'condition: must be { failIf, after }', { path: 'condition' })
  const given = Object.entries(condition).filter(([key, value]) => key !== 'after' || value !== undefined)
  return encodeQuery(Object.fromEntries(given), ['condition'])
}

async function importEvents(core, source, options = {}) {
  checkOptions(options, ['onProgress', 'signal', 'maxRejected'])
  const { onProgress, signal, maxRejected = DEFAULT_LISTED } = options
  if (!(Number.isInteger(maxRejected) && maxRejected >= 0 && maxRejected < 2 ** 32)) {
    throw new EventsError('INVALID_QUERY', 'maxRejected: must be a whole number of lines', { path: 'maxRejected' })
  }
  if (onProgress !== undefined && typeof onProgress !== 'function') {
    throw new EventsError('INVALID_QUERY', 'onProgress: must be a function', { path: 'onProgress' })
  }
  if (signal?.aborted) throw aborted(signal.reason)
  const started = performance.now()
  const progress = new Progress(onProgress, started)
  const { NativeImport } = require('./native.js')
  const native = NativeImport.open(core.native, maxRejected)
  const chunks = typeof source === 'string' ? fileChunks(source, progress) : eventChunks(source, progress)
  let isWaiting = false
  try {
    for (;;) {
      isWaiting = true
      const { value, done } = await untilAborted(chunks.next(), signal)
      isWaiting = false
      if (done) break
      unwrap(await untilAborted(native.push(value), signal))
      progress.tick()
    }
    const report = unwrap(await untilAborted(native.finish(), signal))
    progress.end()
    return { ...report, duration: performance.now() - started }
  } catch (error) {
    const released = chunks.return().catch(() => {})
    unwrap(await native.abort())
    // A source that was asked and has not answered is released when it does, which may be never.
    if (!isWaiting) await released
    throw error
  }
}

/** Waits no longer than the signal allows. */
async function untilAborted(promise, signal) {
  if (signal === undefined) return promise
  let listener
  const fired = new Promise((_, reject) => {
    listener = () => reject(aborted(signal.reason))
    if (signal.aborted) listener()
    else signal.addEventListener('abort', listener, { once: true })
  })
  try {
    return await Promise.race([fired, promise])
  } finally {
    signal.removeEventListener('abort', listener)
  }
}

/** The bytes of a file, unpacked where it begins as gzip does. */
async function* fileChunks(path, progress) {
  let file
  try {
    progress.start((await stat(path)).size, 'bytes', 'import')
    file = createReadStream(path, { highWaterMark: CHUNK })
    const iterator = file[Symbol.asyncIterator]()
    const first = await iterator.next()
    if (first.done) return
    const bytes = counted(first.value, iterator, progress)
    if (first.value[0] !== 0x1f || first.value[1] !== 0x8b) return yield* bytes
    yield* gunzipped(bytes)
  } catch (cause) {
    if (cause instanceof EventsError) throw cause
    const reason = cause.code === 'ENOENT' ? 'there is no such file' : cause.message
    throw new EventsError('INVALID_EVENT', `cannot read ${path}: ${reason}`, { path: 'source', cause })
  } finally {
    file?.destroy()
  }
}

async function* counted(first, rest, progress) {
  progress.add(first.length)
  yield first
  for await (const chunk of rest) {
    progress.add(chunk.length)
    yield chunk
  }
}

async function* gunzipped(bytes) {
  const { Readable, pipeline } = require('node:stream')
  const gunzip = createGunzip({ chunkSize: CHUNK })
  // Destroys both ends when either fails or the consumer stops; the error comes by iteration.
  pipeline(Readable.from(bytes), gunzip, () => {})
  yield* gunzip
}

/** The events of an iterable as lines. */
async function* eventChunks(source, progress) {
  if (source === null || typeof source !== 'object' || !(Symbol.asyncIterator in source || Symbol.iterator in source)) {
    throw new EventsError('INVALID_EVENT', 'source: must be a path, or events to iterate over', { path: 'source' })
  }
  progress.start(Array.isArray(source) ? source.length : null, 'events', 'import')
  let lines = []
  let size = 0
  for await (const event of source) {
    const line = lineOf(event)
    lines.push(line)
    size += line.length
    progress.add(1)
    if (size >= CHUNK) {
      yield Buffer.from(lines.join(''), 'utf8')
      lines = []
      size = 0
    }
  }
  if (lines.length > 0) yield Buffer.from(lines.join(''), 'utf8')
}

/** An event as a line. What JSON cannot say makes a line that is refused with its path and reason. */
function lineOf(event) {
  try {
    return `${encodeEvents(event, [])}\n`
  } catch (error) {
    if (!(error instanceof EventsError)) throw error
    const { path = '', message } = error
    const problem = path === '' ? message : message.slice(path.length + 2)
    return `!${JSON.stringify([path, problem])}\n`
  }
}

/** Calls `onProgress` now and then, and once at the end. */
class Progress {
  #call
  #started
  #last = 0
  #state = { done: 0, total: null, unit: 'events', phase: 'import' }

  constructor(call, started) {
    this.#call = call
    this.#started = started
  }

  start(total, unit, phase) {
    this.#state = { done: 0, total, unit, phase }
  }

  add(count) {
    this.#state.done += count
  }

  tick() {
    if (performance.now() - this.#last >= PROGRESS_INTERVAL) this.#report()
  }

  end() {
    this.#report()
  }

  #report() {
    this.#last = performance.now()
    this.#call?.({ ...this.#state, elapsed: this.#last - this.#started })
  }
}

module.exports = { append, importEvents }
