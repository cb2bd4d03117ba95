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

  /** @param {import('../native/binding').NativeClient} client */
  constructor(client) {
    const { NativeIndexes } = require('./native.js')
    this.#native = NativeIndexes.of(client)
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
