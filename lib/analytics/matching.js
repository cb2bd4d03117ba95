'use strict'

/** Sequences and patterns without the builder. */

const { EventsError } = require('../errors.js')
const { Call, execute } = require('../run.js')
const { encodeQuery } = require('../wire.js')
const { RUN, split } = require('./arguments.js')

/** The matches that a query asks for. */
async function find(core, query, options) {
  const { own, run } = split(options, ['hints'], RUN)
  const call = new Call(core.native, encodeQuery({ ...query, ...own }), { bigints: core.bigints })
  const { rows } = await execute(call, run)
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
