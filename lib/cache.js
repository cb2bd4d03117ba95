'use strict'

/** Cached results, looked after by hand. */

const { deserialize, serialize } = require('node:v8')
const { EventsError, unwrap } = require('./errors.js')
const { RowReader } = require('./rows.js')
const { Call, execute } = require('./run.js')
const { encodeQuery } = require('./wire.js')

/** Queries that a warm-up runs at once. */
const LANES = 4
/** Queries of the recorded workload that it runs at most. */
const MOST_WARMED = 200

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

  async get(queryKey) {
    const { held, batches } = unwrap(this.#cache.find(text(queryKey, 'queryKey')))
    if (held !== undefined) return deserialize(Buffer.from(held, 'base64'))
    if (batches === undefined) return null
    const reader = new RowReader(this.#core.bigints)
    const rows = batches.flatMap(batch => reader.rows(batch))
    const { token, rowCount, executionTime, queryId, cache } = batches.at(-1).end
    return { queryId, token, rows, rowCount, executionTime, cache }
  }

  async set(queryKey, result, ttl) {
    text(queryKey, 'queryKey')
    if (result === null || typeof result !== 'object' || !Array.isArray(result.rows))
      throw new EventsError('INVALID_QUERY', 'result: must be a result, with rows', { path: 'result' })
    unwrap(this.#cache.hold(queryKey, serialized(result), ttl === undefined ? undefined : encodeQuery(ttl, ['ttl'])))
  }

  async delete(queryKey) {
    await this.#forget('key', text(queryKey, 'queryKey'))
  }

  async clear() {
    await this.#forget('all', '')
  }

  async invalidateByPattern(pattern) {
    await this.#forget('pattern', text(pattern, 'pattern'))
  }

  async invalidateByTable(table) {
    await this.#forget('table', text(table, 'table'))
  }

  /** Here at once; in other processes when it resolves, or as soon as they can be told. */
  async #forget(kind, name) {
    unwrap(await this.#cache.forget(kind, name))
  }

  async getCacheStats() {
    return unwrap(this.#cache.stats())
  }

  async optimize() {
    unwrap(await this.#cache.optimize())
  }

  async warmup(queries) {
    if (queries === undefined) return this.#warmUsual()
    if (!Array.isArray(queries))
      throw new EventsError('INVALID_QUERY', 'queries: must be a list of queries', { path: 'queries' })
    // All are read before the first one runs: a mistake in the last is no reason to have run the others.
    const { native, bigints } = this.#core
    const calls = queries.map(query => {
      // Refuses what is no query.
      this.keyOf(query)
      return new Call(native, encodeQuery(cached(query)), { bigints })
    })
    await run(calls)
  }

  /** What the cache was asked for lately, but for what is no query here any more, or waits for a token. */
  async #warmUsual() {
    const { native, bigints } = this.#core
    const { queries } = unwrap(await this.#cache.workload(MOST_WARMED))
    const calls = queries.filter(
      query => isQuery(this.#cache.keyOf(query)) && JSON.parse(query).hints?.cache?.token === undefined
    )
    await run(calls.map(query => new Call(native, query, { bigints })))
  }
}

/** Some at once. */
async function run(calls) {
  let next = 0
  const lane = async () => {
    while (next < calls.length) await execute(calls[next++])
  }
  await Promise.all(Array.from({ length: Math.min(LANES, calls.length) }, lane))
}

function isQuery(answer) {
  try {
    return unwrap(answer) !== undefined
  } catch {
    return false
  }
}

/** The query with the hint that lets the cache keep its answer. */
function cached(query) {
  if (query === null || typeof query !== 'object') return query
  const { hints } = query
  if (hints?.cache !== undefined && hints.cache !== false) return query
  return { ...query, hints: { ...hints, cache: true } }
}

/** As structured cloning has it: dates and bigints come back as they were, and each time anew. */
function serialized(result) {
  try {
    return serialize(result).toString('base64')
  } catch (cause) {
    throw new EventsError('INVALID_QUERY', 'result: holds what cannot be kept, such as a function', {
      path: 'result',
      cause
    })
  }
}

function text(value, path) {
  if (typeof value === 'string' && value !== '') return value
  throw new EventsError('INVALID_QUERY', `${path}: must be a string that is not empty`, { path })
}

module.exports = { QueryCache }
