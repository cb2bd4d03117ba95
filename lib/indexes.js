'use strict'

/** The index manager: indexes built, analysed, recommended, tuned. */

const { aborted, EventsError, unwrap } = require('./errors.js')
const { encodeQuery } = require('./wire.js')

/** Milliseconds between two looks at work under way. */
const GLANCE = 200

function invalid(path, problem) {
  return new EventsError('INVALID_QUERY', `${path}: ${problem}`, { path })
}

/** Refuses what is no object of these options. */
function checked(options, known) {
  if (options === null || typeof options !== 'object' || Array.isArray(options))
    throw invalid('options', 'must be an object')
  for (const key of Object.keys(options)) {
    if (options[key] !== undefined && !known.includes(key))
      throw invalid(key, `is not an option; known are ${known.join(', ')}`)
  }
  const { onProgress, signal } = options
  if (onProgress !== undefined && typeof onProgress !== 'function') throw invalid('onProgress', 'must be a function')
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw invalid('signal', 'must be an AbortSignal')
  return options
}

function checkedName(name) {
  if (typeof name !== 'string') throw invalid('indexName', 'must be a string')
  return name
}

class IndexManager {
  #native

  /** @param {import('../native/binding').NativeIndexes} native */
  constructor(native) {
    this.#native = native
  }

  async createIndex(definition, options = {}) {
    const { onProgress, signal } = checked(options, ['onProgress', 'signal'])
    if (signal?.aborted) throw aborted(signal.reason)
    const text = encodeQuery(definition)
    await work(job => this.#native.create(job, text), { onProgress, signal })
  }

  async dropIndex(indexName) {
    const name = checkedName(indexName)
    await work(job => this.#native.remove(job, name))
  }

  async rebuildIndex(indexName) {
    const name = checkedName(indexName)
    await work(job => this.#native.rebuild(job, name))
  }

  async listIndexes() {
    return unwrap(await this.#native.list())
  }

  async analyzeIndex(indexName) {
    return unwrap(await this.#native.analyze(checkedName(indexName)))
  }

  async recommendIndexes(queryPatterns, options = {}) {
    const { maxIndexes, maxBytes, maxWriteTax } = checked(options, ['maxIndexes', 'maxBytes', 'maxWriteTax'])
    const patterns = queryPatterns === undefined ? undefined : encodeQuery(queryPatterns, ['queryPatterns'])
    return unwrap(await this.#native.recommend(patterns, encodeQuery(defined({ maxIndexes, maxBytes, maxWriteTax }))))
  }

  async optimizeIndexes(options = {}) {
    const { onProgress, ...rest } = checked(options, ['dryRun', 'maxIndexes', 'maxBytes', 'maxWriteTax', 'onProgress'])
    if (rest.dryRun !== undefined && typeof rest.dryRun !== 'boolean') throw invalid('dryRun', 'must be true or false')
    const text = encodeQuery(defined(rest))
    return await work(job => this.#native.optimize(job, undefined, text), { onProgress })
  }

  async getIndexUsage() {
    return unwrap(await this.#native.usage())
  }

  async getIndexSize() {
    return unwrap(await this.#native.sizes())
  }

  async getIndexFragmentation() {
    return unwrap(await this.#native.fragmentation())
  }

  /**
   * For the benchmarks, the tests and the command line: any tier of what-if, candidates that are put in, a workload
   * that is given to `optimize`, and what the report is drawn from.
   */
  get [Symbol.for('tamma.events.native')]() {
    const patterns = given => (given === undefined ? undefined : encodeQuery(given))
    return {
      recommend: async (given, options = {}) =>
        unwrap(await this.#native.recommend(patterns(given), encodeQuery(options))),
      optimize: (given, options = {}, watch = {}) =>
        work(job => this.#native.optimize(job, patterns(given), encodeQuery(options)), watch),
      candidates: async given => unwrap(await this.#native.candidates(encodeQuery(given))),
      report: async () => unwrap(await this.#native.report())
    }
  }
}

/** In options, `undefined` means left out. */
function defined(options) {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

/** Runs work that can be watched and stopped; resolves, or throws, once it has ended. */
async function work(begin, { onProgress, signal } = {}) {
  const { NativeIndexJob } = require('./native.js')
  const job = NativeIndexJob.open()
  const stop = () => job.stop()
  let thrown
  const look = () => {
    try {
      onProgress(JSON.parse(job.progress()))
    } catch (error) {
      // The caller's own function: what it throws ends the work, and is what the caller gets.
      thrown ??= { error }
      job.stop()
    }
  }
  const looking = onProgress && setInterval(look, GLANCE)
  signal?.addEventListener('abort', stop, { once: true })
  try {
    if (onProgress) look()
    const done = unwrap(await begin(job))
    if (onProgress) look()
    return done
  } catch (error) {
    if (thrown) throw thrown.error
    if (signal?.aborted && error.code === 'QUERY_CANCELLED') throw aborted(signal.reason)
    throw error
  } finally {
    clearInterval(looking)
    signal?.removeEventListener('abort', stop)
  }
}

module.exports = { IndexManager }
