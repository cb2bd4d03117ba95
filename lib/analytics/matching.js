'use strict'

/** Sequences and patterns without the builder. */

const { EventsError } = require('../errors.js')
const { Call, execute } = require('../run.js')
const { encodeQuery } = require('../wire.js')

/** The matches that a query asks for. */
async function find(core, query, options) {
  const { rows } = await execute(new Call(core.native, encodeQuery(query), { bigints: core.bigints }), options)
  return rows
}

async function findSequences(core, sequence, filter = {}, options = undefined) {
  return await find(core, { filter, sequence: given(sequence, 'sequence') }, options)
}

async function findPatterns(core, pattern, filter = {}, options = undefined) {
  return await find(core, { filter, pattern: given(pattern, 'pattern') }, options)
}

function given(value, path) {
  if (value === undefined) throw new EventsError('INVALID_QUERY', `${path}: is missing`, { path })
  return value
}

module.exports = { findSequences, findPatterns }
