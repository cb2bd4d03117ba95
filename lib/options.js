'use strict'

/** The options of `connect`: which are known, what the core takes, what goes elsewhere. */

const { EventsError } = require('./errors.js')

const CORE = ['replicas', 'table', 'pool', 'limits', 'bigint', 'immutable']
const OTHER = ['url', 'embedded', 'migrate', 'monitor', 'maintenance', 'cache', 'redis', 'onLog']

function invalid(path, problem) {
  return new EventsError('INVALID_QUERY', `${path}: ${problem}`, { path })
}

/** In options, `undefined` means left out, at any depth. */
function defined(value) {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .map(([key, member]) => [key, defined(member)])
  )
}

function boolean(options, key) {
  const value = options[key]
  if (value !== undefined && typeof value !== 'boolean') throw invalid(key, 'must be true or false')
  return value
}

/**
 * @param {import('../index').ConnectOptions} [given]
 * @returns {{ core: object, monitor: object, maintenance: object | undefined, cache: object, onLog: Function | undefined, embedded: object | undefined, migrate: boolean }}
 */
function connectOptions(given = {}) {
  if (given === null || typeof given !== 'object' || Array.isArray(given)) throw invalid('options', 'must be an object')
  const options = defined(given)
  const known = [...CORE, ...OTHER]
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) throw invalid(key, `is not an option; known are ${known.join(', ')}`)
  }
  if (options.onLog !== undefined && typeof options.onLog !== 'function') throw invalid('onLog', 'must be a function')
  boolean(options, 'immutable')
  const core = Object.fromEntries(CORE.filter(key => options[key] !== undefined).map(key => [key, options[key]]))
  const embedded = embeddedOptions(options)
  if (embedded === undefined) core.url = urlOf(options)
  return {
    core,
    monitor: options.monitor ?? {},
    cache: withRedis(options),
    maintenance: options.maintenance,
    onLog: options.onLog,
    embedded,
    migrate: boolean(options, 'migrate') ?? embedded !== undefined
  }
}

/** The cache's options; where Redis is belongs to them. */
function withRedis({ cache = {}, redis }) {
  const isObject = cache !== null && typeof cache === 'object' && !Array.isArray(cache)
  if (isObject && Object.hasOwn(cache, 'redis'))
    throw invalid('cache.redis', 'is not an option: redis stands beside it')
  return redis === undefined || !isObject ? cache : { ...cache, redis }
}

/** How to start the embedded server; undefined where a url says where the server is. */
function embeddedOptions({ url, embedded }) {
  if (url !== undefined && embedded) throw invalid('embedded', 'does not go with url: choose one')
  if (embedded === false) return undefined
  if (embedded === undefined) return (url ?? process.env.DATABASE_URL) === undefined ? {} : undefined
  if (embedded === true) return {}
  if (embedded === null || typeof embedded !== 'object') throw invalid('embedded', 'must be true, false or an object')
  const { directory, port, persistent, ...unknown } = embedded
  for (const key of Object.keys(unknown))
    throw invalid(`embedded.${key}`, 'is not an option; known are directory, port, persistent')
  if (directory !== undefined && (typeof directory !== 'string' || directory === ''))
    throw invalid('embedded.directory', 'must be a path')
  if (port !== undefined && !(Number.isInteger(port) && port > 0 && port < 65536))
    throw invalid('embedded.port', 'must be a port number')
  boolean({ 'embedded.persistent': persistent }, 'embedded.persistent')
  return embedded
}

function urlOf({ url, embedded }) {
  const found = url ?? process.env.DATABASE_URL
  if (found === undefined) throw invalid('url', embedded === false ? 'is missing, and embedded is false' : 'is missing')
  // A variable that was not set, most likely: to start a server of one's own instead would hide that.
  if (typeof found !== 'string' || found === '')
    throw invalid('url', url === undefined ? 'is empty in DATABASE_URL' : 'must be a string that is not empty')
  return found
}

module.exports = { connectOptions }
