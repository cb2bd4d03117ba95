'use strict'

/** The monitor: what runs, what ran, and how well. */

const { randomUUID } = require('node:crypto')
const { rename, rm, writeFile } = require('node:fs/promises')
const { EventsError, unwrap } = require('../errors.js')
const { SHOWN, clientReport } = require('./report.js')

const ORDERS = ['totalTime', 'meanTime', 'calls', 'p95']
function invalid(path, problem) {
  return new EventsError('INVALID_QUERY', `${path}: ${problem}`, { path })
}

/** Refuses what is no object of these options. */
function checked(options, known) {
  if (options === null || typeof options !== 'object') throw invalid('options', 'must be an object')
  for (const key of Object.keys(options)) {
    if (options[key] !== undefined && !known.includes(key))
      throw invalid(key, `is not an option; known are ${known.join(', ')}`)
  }
  return options
}

/** Written whole or not at all: whoever looks at the path meanwhile sees the page before. */
async function written(to, html) {
  const temporary = `${to}.${randomUUID()}.tmp`
  try {
    await writeFile(temporary, html, { flag: 'wx' })
    await rename(temporary, to)
  } catch (cause) {
    await rm(temporary, { force: true })
    throw new EventsError('EXPORT_FAILED', `the report cannot be written: ${cause.message}`, { path: 'to', cause })
  }
}

class PerformanceMonitor {
  #native
  #indexes
  #cache

  /**
   * @param {import('../../native/binding').NativeMonitor} native
   * @param {import('../../native/binding').NativeIndexes} indexes
   * @param {import('../../index').IQueryCache} cache
   */
  constructor(native, indexes, cache) {
    this.#native = native
    this.#indexes = indexes
    this.#cache = cache
  }

  /** What the report says of indexes; nothing where the database does not answer, which health tells. */
  async #ofIndexes() {
    try {
      return unwrap(await this.#indexes.report())
    } catch {
      return {}
    }
  }

  async getFingerprints(options = {}) {
    const { orderBy = 'totalTime', limit } = checked(options, ['orderBy', 'limit'])
    if (!ORDERS.includes(orderBy)) throw invalid('orderBy', `must be one of ${ORDERS.join(', ')}`)
    if (limit !== undefined && !(Number.isInteger(limit) && limit >= 0))
      throw invalid('limit', 'must be a whole number')
    return unwrap(this.#native.fingerprints(orderBy, limit === undefined ? undefined : Math.min(limit, 2 ** 32 - 1)))
  }

  async getPlanChanges() {
    return unwrap(await this.#native.planChanges())
  }

  async pinPlan(fingerprint, planHash) {
    if (typeof fingerprint !== 'string') throw invalid('fingerprint', 'must be a string')
    if (planHash !== null && typeof planHash !== 'string') throw invalid('planHash', 'must be a string, or null')
    unwrap(await this.#native.pin(fingerprint, planHash ?? undefined))
  }

  async getRunningQueries() {
    return unwrap(this.#native.running())
  }

  getPool() {
    return unwrap(this.#native.pool())
  }

  metrics() {
    return this.#native.metrics()
  }

  async getHealth() {
    return unwrap(await this.#native.health())
  }

  async report(options = {}) {
    const { to } = checked(options, ['to'])
    if (to !== undefined && (typeof to !== 'string' || to === '')) throw invalid('to', 'must be a path')
    const fingerprints = await this.getFingerprints()
    const html = clientReport({
      history: unwrap(this.#native.history()),
      fingerprints: fingerprints.slice(0, SHOWN),
      texts: new Map(fingerprints.map(one => [one.fingerprint, one.queryText])),
      running: await this.getRunningQueries(),
      slow: unwrap(this.#native.slow()),
      changes: unwrap(this.#native.knownPlanChanges()),
      pool: this.getPool(),
      health: await this.getHealth(),
      cache: await this.#cache.getCacheStats(),
      ...(await this.#ofIndexes())
    })
    if (to !== undefined) await written(to, html)
    return html
  }

  async flush() {
    unwrap(await this.#native.flush())
  }

  async reset() {
    this.#native.reset()
  }
}

module.exports = { PerformanceMonitor }
