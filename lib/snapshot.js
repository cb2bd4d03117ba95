'use strict'

/** One snapshot for all queries that a function makes. */

const { Analytics } = require('./analytics')
const { QueryBuilder } = require('./builder.js')
const { EventsError, unwrap } = require('./errors.js')

/** The core, as it is called inside of a snapshot: each run carries the snapshot's number. */
class Inside {
  #native
  #number

  constructor(native, number) {
    this.#native = native
    this.#number = number
  }

  execute(call, isSql, options) {
    return this.#native.execute(call, isSql, within(options, this.#number))
  }

  stream(call, isSql, buffered, options) {
    return this.#native.stream(call, isSql, buffered, within(options, this.#number))
  }

  explainPipeline(call) {
    return this.#native.explainPipeline(call)
  }

  explain(call, options) {
    return this.#native.explain(call, options)
  }

  compile(call) {
    return this.#native.compile(call)
  }

  cancel(queryId) {
    return this.#native.cancel(queryId)
  }

  shape(call, isSql) {
    return this.#native.shape(call, isSql)
  }

  address() {
    return this.#native.address()
  }
}

/** The same of exports. */
class InsideExporter {
  #native
  #number

  constructor(native, number) {
    this.#native = native
    this.#number = number
  }

  stream(call, options) {
    return this.#native.stream(call, within(options, this.#number))
  }
}

/** Options of a run, as JSON text, with the snapshot that it sees. */
const within = (options, snapshot) => JSON.stringify({ ...(options && JSON.parse(options)), snapshot })

/**
 * Runs `fn` with queries that all see one snapshot. It is let go when `fn` has settled.
 * @template T
 * @param {object} core
 * @param {(at: { query: () => QueryBuilder, analytics: Analytics }) => Promise<T>} fn
 * @returns {Promise<T>}
 */
async function withSnapshot(core, fn) {
  if (typeof fn !== 'function')
    throw new EventsError('INVALID_QUERY', 'snapshot: takes a function of the queries', { path: 'snapshot' })
  const { number } = unwrap(await core.native.holdSnapshot())
  const inside = {
    ...core,
    native: new Inside(core.native, number),
    analytics: new Inside(core.analytics, number),
    exporter: new InsideExporter(core.exporter, number)
  }
  const at = Object.freeze({ query: () => new QueryBuilder(inside), analytics: new Analytics(inside) })
  try {
    return await fn(at)
  } finally {
    unwrap(await core.native.releaseSnapshot(number))
  }
}

module.exports = { withSnapshot }
