'use strict'

/**
 * Analytics: each method names a question, the core answers it by one statement, and the answer is
 * shaped here. Questions run as queries do: with an id, a signal, a timeout, under the same limits.
 */

const { unwrap } = require('../errors.js')
const { exportRows } = require('../export.js')
const { asPlan } = require('../plan.js')
const { Call, execute } = require('../run.js')
const { encodeQuery } = require('../wire.js')
const { RUN, invalid, split } = require('./arguments.js')
const { findPatterns, findSequences } = require('./matching.js')
const { encodeStages } = require('./pipeline.js')
const { flowReport, variantReport } = require('./process.js')

class Analytics {
  #core

  constructor(core) {
    this.#core = core
    Object.freeze(this)
  }

  /** Asks the core; gives the rows of its answer. */
  async #ask(op, members, run) {
    const call = new Call(this.#core.analytics, encodeQuery({ op, ...members }), {})
    const { rows } = await execute(call, run)
    return rows
  }

  async timeSeries(query, options) {
    if (query === null || typeof query !== 'object') throw invalid('query', 'must be an object')
    if (query.timeBucket === undefined) throw invalid('timeBucket', 'is missing: a time series has buckets')
    const call = new Call(this.#core.native, encodeQuery(query), { bigints: this.#core.bigints })
    return await execute(call, options)
  }

  async statistics(field, filter, options) {
    const { own, run } = split(options, ['percentiles', 'groupBy', 'hints'], RUN)
    const rows = await this.#ask('statistics', { field, ...given({ filter }), ...own }, run)
    const shares = own.percentiles ?? [0.25, 0.5, 0.75, 0.9, 0.95, 0.99]
    const groups = [...new Set(own.groupBy ?? [])]
    return rows.map(({ group, percentiles, ...moments }) => ({
      field,
      group: Object.fromEntries(groups.map((name, i) => [name, group[i]])),
      ...moments,
      percentiles: Object.fromEntries(shares.map((share, i) => [String(share), percentiles?.[i] ?? null]))
    }))
  }

  async histogram(field, filter, options) {
    const { own, run } = split(options, ['bins', 'min', 'max', 'hints'], RUN)
    return await this.#ask('histogram', { field, ...given({ filter }), ...own }, run)
  }

  async correlation(x, y, filter, options) {
    const { own, run } = split(options, ['hints'], RUN)
    const [row] = await this.#ask('correlation', { x, y, ...given({ filter }), ...own }, run)
    return row
  }

  async outliers(field, filter, options) {
    const { own, run } = split(options, ['method', 'threshold', 'hints'], RUN)
    const rows = await this.#ask('outliers', { field, ...given({ filter }), ...own }, run)
    return rows.map(({ value, score, expected, ...event }) => ({ event, value, score, expected }))
  }

  async changepoints(query, options) {
    if (query === null || typeof query !== 'object') throw invalid('query', 'must be an object')
    const { op: _, ...members } = query
    const { own, run } = split(options, ['hints'], RUN)
    return await this.#ask('changepoints', { ...given(members), ...own }, run)
  }

  async findSequences(sequence, filter, options) {
    return await findSequences(this.#core, sequence, filter, options)
  }

  async findPatterns(pattern, filter, options) {
    return await findPatterns(this.#core, pattern, filter, options)
  }

  async funnel(steps, options) {
    const { own, run } = split(options, ['by', 'window', 'filter', 'mode', 'hints'], RUN)
    const [report] = await this.#ask('funnel', { steps, ...own }, run)
    return report
  }

  async retention(options) {
    const { own, run } = split(options, ['by', 'start', 'returning', 'period', 'periods', 'filter', 'hints'], RUN)
    const [{ cohorts }] = await this.#ask('retention', own, run)
    return { cohorts, period: String(own.period) }
  }

  async pipeline(stages, options) {
    const { own, run } = split(options, ['hints'], RUN)
    const text = pipelineText(stages, own)
    return await execute(new Call(this.#core.analytics, text, { bigints: this.#core.bigints }), run)
  }

  async exportPipeline(stages, options) {
    return await exportRows(this.#core.exporter, `"pipeline":${encodeStages(stages)}`, options)
  }

  async explainPipeline(stages, options) {
    const text = pipelineText(stages, split(options, ['hints'], []).own)
    return asPlan(unwrap(await this.#core.analytics.explainPipeline(text)))
  }

  async flow(options) {
    const { own, run } = split(options, ['by', 'filter', 'hints'], RUN)
    return flowReport(await this.#ask('flow', own, run))
  }

  async variants(options) {
    const { own, run } = split(options, ['by', 'filter', 'limit', 'hints'], RUN)
    return variantReport(await this.#ask('variants', own, run), own.limit)
  }

  async timeInState(options) {
    const { own, run } = split(options, ['by', 'state', 'filter', 'until', 'hints'], RUN)
    return { states: await this.#ask('timeInState', own, run) }
  }
}

function pipelineText(stages, { hints }) {
  const more = hints === undefined ? '' : `,"hints":${encodeQuery(hints, ['hints'])}`
  return `{"op":"pipeline","stages":${encodeStages(stages)}${more}}`
}

/** The members that are there. */
const given = members => Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined))

module.exports = { Analytics }
