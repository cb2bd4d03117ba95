'use strict'

/** Cached results, looked after by hand. */

const { EventsError, unwrap } = require('./errors.js')
const { encodeQuery } = require('./wire.js')

const LATER = ['get', 'set', 'delete', 'clear', 'invalidateByPattern', 'invalidateByTable', 'optimize', 'warmup']

class QueryCache {
  #core
  #native

  constructor(core) {
    this.#core = core
  }

  /** Made when it is first asked for: many clients never are. */
  get #cache() {
    this.#native ??= require('./native.js').NativeCache.of(this.#core.native)
    return this.#native
  }

  keyOf(query) {
    return unwrap(this.#cache.keyOf(encodeQuery(query))).key
  }

  async getCacheStats() {
    const stats = unwrap(this.#cache.stats())
    return stats
  }
}

for (const method of LATER) {
  Object.defineProperty(QueryCache.prototype, method, {
    value: async function unsupported() {
      throw new EventsError('UNSUPPORTED', `cache.${method}() is not part of this version`)
    },
    writable: true,
    configurable: true
  })
}

module.exports = { QueryCache }
