'use strict'

/** Recommendations as lines of text, and the workload they are for. */

const { readFile } = require('node:fs/promises')
const { UsageError, wholeNumber } = require('./arguments.js')
const { bytes } = require('../monitor/html.js')
const { count, plural, printable } = require('./text.js')

const ADVICE_OPTIONS = Object.freeze({
  workload: { type: 'string', short: 'w', value: 'FILE', description: 'a JSON list of { query, frequency }' },
  'max-indexes': { type: 'string', value: 'N', description: 'at most so many indexes (default: 10)' },
  'max-bytes': { type: 'string', value: 'BYTES', description: 'together no larger than this' },
  format: { type: 'string', short: 'f', value: 'FORMAT', description: 'table (default) or json' }
})

/** @param {readonly import('../../index').IndexRecommendation[]} advice @param {import('./style.js').Style} style */
function adviceLines(advice, style) {
  if (advice.length === 0) return ['Nothing to recommend.']
  return advice.flatMap(one => {
    const what = one.action === 'merge' ? `create, in the place of ${one.replaces.join(', ')}` : one.action
    const gain =
      one.queries.length > 0
        ? `${plural(one.queries.length, 'query').replace('querys', 'queries')}, cost ${count(one.costBefore)} to ${count(one.costAfter)}, ` +
          `about ${bytes(one.estimatedSizeBytes)}, ${count(one.writeCostBytesPerEvent)} B of log an event (${one.method})`
        : undefined
    return [
      style.bold(`${what} ${printable(one.indexName)}`),
      `  ${printable(one.sql)};`,
      ...(gain ? [`  ${gain}`] : []),
      ...one.reasons.map(reason => `  ${style.dim(printable(reason))}`)
    ]
  })
}

function budget(values, command) {
  const options = {}
  const most = wholeNumber(values, 'max-indexes', command)
  const bytes = wholeNumber(values, 'max-bytes', command)
  if (most !== undefined) options.maxIndexes = most
  if (bytes !== undefined) options.maxBytes = bytes
  return options
}

/** The patterns of `--workload`; none without it. */
async function workload({ workload: file }, command) {
  if (file === undefined) return []
  let parsed
  try {
    parsed = JSON.parse(await readFile(file, 'utf8'))
  } catch (error) {
    throw new UsageError(`--workload ${file}: ${error.message}`, command)
  }
  if (!Array.isArray(parsed))
    throw new UsageError(`--workload ${file}: must be a list of { query, frequency }`, command)
  return parsed
}

module.exports = { ADVICE_OPTIONS, adviceLines, budget, workload }
