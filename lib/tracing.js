'use strict'

/**
 * Runs on the diagnostics channel `tamma:events:query`, with the attribute names of OpenTelemetry's
 * conventions for databases. Without a subscriber a run costs one look at the channel.
 *
 * A message never holds rows, values or credentials.
 */

const { tracingChannel } = require('node:diagnostics_channel')

const channel = tracingChannel('tamma:events:query')
const { start, end, asyncStart, asyncEnd, error } = channel

/** `TracingChannel.hasSubscribers` is not in every Node 20. */
const wanted = () =>
  start.hasSubscribers ||
  end.hasSubscribers ||
  asyncStart.hasSubscribers ||
  asyncEnd.hasSubscribers ||
  error.hasSubscribers

/** What is known before the run. */
function attributes(call) {
  const shape = JSON.parse(call.native.shape(call.text, call.isSql))
  return {
    'db.system.name': 'postgresql',
    'db.operation.name': 'SELECT',
    'db.query.text': shape.queryText ?? '',
    'tamma.events.fingerprint': shape.fingerprint ?? '',
    ...JSON.parse(call.native.address())
  }
}

/** Adds what the end of the run says. */
function ended(context, failure, { queryId, rowCount } = {}) {
  const { attributes } = context
  if (failure !== undefined) {
    context.error = failure
    attributes['error.type'] = failure.code ?? failure.name
    if (failure.sqlState !== undefined) attributes['db.response.status_code'] = failure.sqlState
  }
  if (rowCount !== undefined) attributes['db.response.returned_rows'] = rowCount
  const id = queryId ?? failure?.queryId
  if (id !== undefined) attributes['tamma.events.query_id'] = id
}

/**
 * Runs `work` as one traced run.
 * @template {{ queryId: string, rowCount: number }} T
 * @param {import('./run.js').Call} call
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
function traced(call, work) {
  if (!wanted()) return work()
  const context = { operation: 'execute', attributes: attributes(call) }
  let result
  // The channel would hand on what the promise resolves with: rows are none of its business.
  const run = async () => {
    try {
      result = await work()
      ended(context, undefined, result)
    } catch (failure) {
      ended(context, failure)
      throw failure
    }
  }
  return channel.tracePromise(run, context).then(() => result)
}

/** The trace of a stream, from its first row's request to its end. */
class StreamTrace {
  #context
  #rows = 0

  /** @returns {StreamTrace | undefined} nothing where nobody listens */
  static begin(call, begin) {
    if (!wanted()) return void begin()
    const trace = new StreamTrace()
    trace.#context = { operation: 'stream', attributes: attributes(call) }
    channel.traceSync(begin, trace.#context)
    return trace
  }

  /** @param {number} count */
  rows(count) {
    this.#rows += count
  }

  /** The last that is said; a second call says nothing. */
  end(failure, queryId) {
    const context = this.#context
    if (context === undefined) return
    this.#context = undefined
    ended(context, failure, { queryId, rowCount: this.#rows })
    if (failure !== undefined) error.publish(context)
    asyncStart.runStores(context, () => asyncEnd.publish(context))
  }
}

module.exports = { StreamTrace, traced }
