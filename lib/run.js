'use strict'

/** Runs: a call to the core, its options and its signal; buffered here, streamed in `stream.js`. */

const { defaultMaxListeners, getMaxListeners, setMaxListeners } = require('node:events')
const { EventsError, fromNative, aborted, calledFrom, whereCalled } = require('./errors.js')
const { RowReader } = require('./rows.js')
const { again, withRows } = require('./kept.js')
const { traced } = require('./tracing.js')

/** What can be run: a query's JSON text, or SQL's. Made by the builder and by `client.sql`. */
class Call {
  constructor(native, text, { isSql = false, bigints = false } = {}) {
    this.native = native
    this.text = text
    this.isSql = isSql
    this.bigints = bigints
  }
}

const KNOWN = ['signal', 'timeout', 'queryId', 'batchSize', 'analyze']

/** Checks the options of a run. In options, `undefined` means left out. */
function checkOptions(options = {}, known = KNOWN) {
  if (options === null || typeof options !== 'object') throw invalid('options', 'must be an object')
  for (const key of Object.keys(options)) {
    if (options[key] !== undefined && !known.includes(key))
      throw invalid(key, `is not an option; known are ${known.join(', ')}`)
  }
  const { signal, timeout, queryId, batchSize } = options
  if (signal !== undefined && (signal === null || typeof signal.addEventListener !== 'function'))
    throw invalid('signal', 'must be an AbortSignal')
  if (timeout !== undefined && !(Number.isInteger(timeout) && timeout >= 0 && timeout <= 2 ** 53)) {
    throw invalid('timeout', 'must be a whole number of milliseconds; 0 asks for the cap')
  }
  if (queryId !== undefined && (typeof queryId !== 'string' || queryId === '' || !queryId.isWellFormed()))
    throw invalid('queryId', 'must be a string that is not empty')
  if (batchSize !== undefined && !(Number.isInteger(batchSize) && batchSize > 0))
    throw invalid('batchSize', 'must be a whole number of rows from 1')
  return options
}

function invalid(path, problem) {
  return new EventsError('INVALID_QUERY', `${path}: ${problem}`, { path })
}

/** The options that the core takes, as JSON text; nothing where there are none. */
function nativeOptions({ timeout, queryId, analyze }) {
  if (timeout === undefined && queryId === undefined && analyze === undefined) return undefined
  return JSON.stringify({ timeout, queryId, analyze })
}

/** Parses a batch; a described error is thrown. */
function parsed(text) {
  const batch = JSON.parse(text)
  if (batch.error !== undefined) throw fromNative(batch.error)
  return batch
}

/**
 * Listens to a signal. One that ends a whole service has a listener for every query that runs, of
 * which Node warns from the eleventh on; the number is raised as Node's own `fetch` does.
 * @param {AbortSignal} signal
 * @param {() => void} listener
 */
function listen(signal, listener) {
  if (signal instanceof AbortSignal && getMaxListeners(signal) === defaultMaxListeners) setMaxListeners(1500, signal)
  signal.addEventListener('abort', listener, { once: true })
}

/**
 * A promise that rejects when the signal fires, and a way to stop listening.
 * @param {AbortSignal} signal
 * @param {() => void} stop
 * @param {string} [queryId]
 */
function onAbort(signal, stop, queryId) {
  const here = whereCalled(onAbort)
  let listener
  const fired = new Promise((_, reject) => {
    listener = () => {
      stop()
      reject(calledFrom(here, aborted(signal.reason, queryId)))
    }
    listen(signal, listener)
  })
  fired.catch(() => {})
  return { fired, done: () => signal.removeEventListener('abort', listener) }
}

/** Longest time without a turn of the event loop, in milliseconds. */
const TURN = 8

const immediate = () => new Promise(resolve => setImmediate(resolve))

/** A batch with its rows, which may be kept from an answer before. */
const whole = text => withRows(parsed(text), text.length)

/** Reads a buffered run to its end. */
async function readAll(call, first, next) {
  const reader = new RowReader(call.bigints)
  let turned = performance.now()
  let batch = whole(first)
  let rows = reader.rows(batch)
  const parts = []
  while (batch.end === undefined) {
    parts.push(rows)
    // Where the next batch is always there, waiting for it gives the event loop no turn.
    if (performance.now() - turned >= TURN) {
      await immediate()
      turned = performance.now()
    }
    batch = whole(await next())
    rows = reader.rows(batch)
  }
  return { rows: parts.length === 0 ? rows : parts.concat([rows]).flat(), end: batch.end }
}

/** Runs a call and gives its whole result. */
async function execute(call, options) {
  const { signal, queryId: asked } = checkOptions(options)
  if (signal?.aborted) throw aborted(signal.reason, asked)
  return await traced(call, async () => {
    const run = () => (signal ? executeAbortable(call, options) : executeDirectly(call, options ?? {}))
    let ended
    try {
      ended = await run()
    } catch (error) {
      ended = await again(error, run)
    }
    const { rows, end } = ended
    const { queryId, token, rowCount, executionTime } = end
    return Object.assign({ queryId, token, rows, rowCount, executionTime, cache: 'off' }, end)
  })
}

async function executeDirectly(call, options) {
  const answer = await call.native.execute(call.text, call.isSql, nativeOptions(options))
  if (typeof answer === 'string') return await readAll(call, answer)
  const [first, stream] = answer
  try {
    return await readAll(call, first, () => stream.next())
  } finally {
    stream.close()
  }
}

async function executeAbortable(call, options) {
  const stream = call.native.stream(call.text, call.isSql, true, nativeOptions(options))
  const abort = onAbort(options.signal, () => stream.close(), options.queryId)
  const next = () => Promise.race([abort.fired, stream.next()])
  try {
    return await readAll(call, await next(), next)
  } finally {
    abort.done()
    stream.close()
  }
}

module.exports = { Call, checkOptions, nativeOptions, parsed, execute, immediate, listen, onAbort, TURN }
