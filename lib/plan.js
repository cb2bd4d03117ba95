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
  // The id may have ended, or not have begun: then there is nothing to cancel.
  const abort = onAbort(signal, () => void call.native.cancel(queryId), queryId)
  try {
    return asPlan(
      unwrap(await Promise.race([call.native.explain(call.text, nativeOptions({ ...rest, queryId })), abort.fired]))
    )
  } finally {
    abort.done()
  }
}

function asPlan({ text, ...plan }) {
  return Object.defineProperty(plan, 'toString', { value: () => text, enumerable: false })
}

module.exports = { asPlan, explain }
