'use strict'

const { EventsError } = require('../errors.js')

function invalid(path, problem) {
  return new EventsError('INVALID_QUERY', `${path}: ${problem}`, { path })
}

/**
 * The options of a question: those that are its own, for the core to check, and those of its run.
 * `undefined` means left out; what is neither is refused.
 */
function split(options, own, run) {
  if (options === undefined) return { own: {}, run: {} }
  if (options === null || typeof options !== 'object' || Array.isArray(options))
    throw invalid('options', 'must be an object')
  const parts = { own: {}, run: {} }
  for (const [key, value] of Object.entries(options)) {
    if (value === undefined) continue
    if (own.includes(key)) parts.own[key] = value
    else if (run.includes(key)) parts.run[key] = value
    else throw invalid(key, `is not an option; known are ${[...own, ...run].join(', ')}`)
  }
  return parts
}

/** The options of a run. */
const RUN = ['signal', 'timeout', 'queryId']

module.exports = { RUN, invalid, split }
