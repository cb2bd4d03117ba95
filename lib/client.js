'use strict'

/** The client: opening it, what it offers, and closing it. */

const { fromNative, unwrap } = require('./errors.js')
const { Analytics } = require('./analytics')
const { QueryBuilder } = require('./builder.js')
const { append, importEvents } = require('./ingest.js')
const { IndexManager } = require('./indexes.js')
const { PerformanceMonitor } = require('./monitor')
const { QueryCache } = require('./cache.js')
const { connectOptions } = require('./options.js')
const { Optimizer } = require('./optimizer.js')
const { withSnapshot } = require('./snapshot.js')
const { sql } = require('./sql.js')
const { forwardLogs } = require('./logs.js')
const { encodeQuery } = require('./wire.js')

class EventsClient {
  #core
  #server
  #closing

  constructor(core, server) {
    this.#core = core
    this.#server = server
    this.optimizer = new Optimizer(core)
    this.analytics = new Analytics(core)
    this.indexes = new IndexManager(core.indexes)
    this.cache = new QueryCache(core)
    this.monitor = new PerformanceMonitor(core.monitor, core.indexes, this.cache)
    Object.freeze(this)
  }

  query() {
    return new QueryBuilder(this.#core)
  }

  sql(strings, ...values) {
    return sql(this.#core, strings, values)
  }

  async append(events, condition) {
    return append(this.#core, events, condition)
  }

  async importEvents(source, options) {
    return importEvents(this.#core, source, options)
  }

  async migrate() {
    return unwrap(await this.#core.native.migrate())
  }

  async snapshot(fn) {
    return await withSnapshot(this.#core, fn)
  }

  /** For tests and benchmarks: the core alone. */
  get [Symbol.for('tamma.events.native')]() {
    const { native } = this.#core
    return {
      /** Reads a query's rows, and gives their number. */
      drain: async query => unwrap(await native.drain(encodeQuery(query))).rows,
      /** Matches among events made in memory: how many, and in how many seconds. */
      match: async (query, events, partitions = 1, bits = 0) =>
        unwrap(await native.measureMatching(encodeQuery(query), events, partitions, bits)),
      /** Plans queries, again and again; gives the nanoseconds that each time took. */
      timePlanning: (queries, times, afresh) =>
        native.timePlanning(
          queries.map(q => encodeQuery(q)),
          times,
          afresh
        ),
      /** The names of the planner's rules. */
      rules: () => native.constructor.ruleNames(),
      /** Leaves these rules out from now on. */
      leaveOutRules: names => native.leaveOutRules(names),
      /** The statement of a query, for people. */
      compile: query => unwrap(native.compile(encodeQuery(query)))
    }
  }

  close() {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close() {
    try {
      unwrap(await this.#core.native.close())
    } finally {
      await this.#server?.stop()
    }
  }
}

if (Symbol.asyncDispose !== undefined) {
  Object.defineProperty(EventsClient.prototype, Symbol.asyncDispose, {
    value: function asyncDispose() {
      return this.close()
    },
    writable: true,
    configurable: true
  })
}

async function connect(options) {
  const { core, monitor, maintenance, cache, onLog, embedded, migrate } = connectOptions(options)
  let server
  if (embedded !== undefined) {
    // Loaded where it is wanted: it starts processes, and most services never need it.
    const { startEmbedded } = require('./embedded')
    server = await startEmbedded(embedded)
    core.url = server.url
  }
  try {
    const native = open(core, monitor, cache)
    const { NativeAnalytics, NativeExporter, NativeIndexes, NativeMonitor } = require('./native.js')
    const indexes = NativeIndexes.of(native)
    if (onLog !== undefined) forwardLogs(native, onLog)
    try {
      if (maintenance !== undefined) unwrap(indexes.maintain(encodeQuery(maintenance, ['maintenance'])))
      unwrap(await native.connect())
      if (migrate) unwrap(await native.migrate())
    } catch (error) {
      await native.close()
      throw error
    }
    const parts = {
      native,
      indexes,
      monitor: NativeMonitor.of(native),
      analytics: NativeAnalytics.of(native),
      exporter: NativeExporter.of(native)
    }
    return new EventsClient({ ...parts, bigints: core.bigint === 'bigint' }, server)
  } catch (error) {
    await server?.stop()
    throw error
  }
}

function open(core, monitor, cache) {
  const { NativeClient } = require('./native.js')
  try {
    return NativeClient.open(encodeQuery(core), encodeQuery(monitor, ['monitor']), encodeQuery(cache, ['cache']))
  } catch (error) {
    throw error.message.startsWith('{') ? fromNative(JSON.parse(error.message)) : error
  }
}

module.exports = { connect }
