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

  #options(options) {
    return JSON.stringify({ ...(options && JSON.parse(options)), snapshot: this.#number })
  }

  execute(call, isSql, options) {
    return this.#native.execute(call, isSql, this.#options(options))
  }

  stream(call, isSql, buffered, options) {
    return this.#native.stream(call, isSql, buffered, this.#options(options))
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
    analytics: new Inside(core.analytics, number)
  }
  const at = Object.freeze({ query: () => new QueryBuilder(inside), analytics: new Analytics(inside) })
  try {
    return await fn(at)
  } finally {
    unwrap(await core.native.releaseSnapshot(number))
  }
}

module.exports = { withSnapshot }
