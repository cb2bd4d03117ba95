'use strict'

/** Queries as values: run, streamed and explained without the builder. */

const { EventsError, unwrap } = require('./errors.js')
const { exportRows } = require('./export.js')
const { explain } = require('./plan.js')
const { Call, checkOptions, execute } = require('./run.js')
const { RowStream } = require('./stream.js')
const { copied, decodeQuery, encodeQuery } = require('./wire.js')

class Optimizer {
  #core

  constructor(core) {
    this.#core = core
  }

  #call(query) {
    return new Call(this.#core.native, encodeQuery(query), { bigints: this.#core.bigints })
  }

  async createExecutionPlan(query, options) {
    return await explain(this.#call(query), options)
  }

  /** The query with every rule applied, and what indexes would do for it. */
  async optimizeQuery(query, options) {
    const { recommendations = true } = checkOptions(options, ['recommendations'])
    if (typeof recommendations !== 'boolean')
      throw new EventsError('INVALID_QUERY', 'recommendations: must be true or false', { path: 'recommendations' })
    const text = encodeQuery(query)
    const optimized = unwrap(await this.#core.native.optimize(text))
    const advice = recommendations ? await this.#advice(text) : []
    return { ...optimized, query: decodeQuery(optimized.query), recommendations: advice }
  }

  /** What would be built for this query alone. A role that may not look at the log's indexes gets no advice. */
  async #advice(text) {
    try {
      const all = unwrap(await this.#core.indexes.recommend(`[{"query":${text}}]`, '{}'))
      return all.filter(({ action }) => action === 'create' || action === 'merge')
    } catch (error) {
      if (error instanceof EventsError && error.sqlState !== undefined) return []
      throw error
    }
  }

  async estimateQueryCost(query) {
    return unwrap(await this.#core.native.estimate(encodeQuery(query)))
  }

  async executeQuery(query, options) {
    return await execute(this.#call(query), options)
  }

  executeQueryStream(query, options) {
    const kept = copied(query)
    return new RowStream(() => this.#call(kept), options)
  }

  async analyzeIndexUsage() {
    return unwrap(await this.#core.indexes.usage())
  }

  /** As `QueryBuilder.export`, of a query that is a value. */
  async exportQuery(query, options) {
    return await exportRows(this.#core.exporter, `"query":${encodeQuery(query)}`, options)
  }

  async cancelQuery(queryId) {
    unwrap(await this.#core.native.cancel(checkedId(queryId)))
  }

  async getQueryStats(queryId) {
    return unwrap(this.#core.monitor.query(checkedId(queryId)))
  }

  async getSlowQueries(threshold) {
    if (threshold !== undefined && !(Number.isFinite(threshold) && threshold >= 0))
      throw new EventsError('INVALID_QUERY', 'threshold: must be a number of milliseconds', { path: 'threshold' })
    return unwrap(this.#core.monitor.slow(threshold))
  }
}

function checkedId(queryId) {
  if (typeof queryId !== 'string')
    throw new EventsError('INVALID_QUERY', 'queryId: must be a string', { path: 'queryId' })
  return queryId
}

module.exports = { Optimizer }
