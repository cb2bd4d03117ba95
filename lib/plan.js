'use strict'

/** Plans, as the core describes them, with a `toString()` for people. */

const { aborted, unwrap } = require('./errors.js')
const { checkOptions, nativeOptions, onAbort } = require('./run.js')
const { randomUUID } = require('node:crypto')

/** Explains a query. */
async function explain(call, options) {
  const { signal, ...rest } = checkOptions(options, ['signal', 'timeout', 'queryId', 'analyze'])
  if (signal?.aborted) throw aborted(signal.reason, rest.queryId)
  if (!signal) return asPlan(unwrap(await call.native.explain(call.text, nativeOptions(rest))))
  const queryId = rest.queryId ?? randomUUID()
  // The id may have ended: then there is nothing to cancel.
  const abort = onAbort(signal, () => void call.native.cancel(queryId), queryId)
  try {
    return asPlan(
      unwrap(await Promise.race([call.native.explain(call.text, nativeOptions({ ...rest, queryId })), abort.fired]))
    )
  } finally {
    abort.done()
  }
}

function asPlan({ text, confidence, ...plan }) {
  const shown = [heading(plan, confidence), ...rewrites(plan), text.trimEnd(), ...remarks(plan)].join('\n')
  return Object.defineProperty(plan, 'toString', { value: () => `${shown}\n`, enumerable: false })
}

function heading({ strategy, executionTime, estimatedRows }, confidence) {
  const rows = `${estimatedRows} ${estimatedRows === 1 ? 'row' : 'rows'} expected`
  if (confidence === undefined) return `${strategy}: ${executionTime.toFixed(2)} ms, measured; ${rows}`
  const how =
    confidence === 'none' ? 'a guess: nothing like it has run yet' : `learned from runs, confidence ${confidence}`
  return `${strategy}: about ${executionTime.toFixed(2)} ms (${how}); ${rows}`
}

const rewrites = ({ rules }) =>
  rules.map(({ rule, before, after, reason }) => `rule ${rule}: ${before} => ${after} (${reason})`)

function* remarks({ hints, warnings }) {
  for (const { hint, value, honoured, how, reason } of hints) {
    const why = how ?? reason
    yield `hint ${hint} ${value}: ${honoured ? 'honoured' : 'not honoured'}${why === undefined ? '' : `, ${why}`}`
  }
  for (const warning of warnings) yield `warning: ${warning}`
}

module.exports = { asPlan, explain }
