'use strict'

/** The caller's own SQL as a tagged template, read only. */

const { EventsError } = require('./errors.js')
const { Call, execute } = require('./run.js')
const { RowStream } = require('./stream.js')
const { copied, encodeQuery } = require('./wire.js')

function sql(client, strings, values) {
  if (!Array.isArray(strings) || !Array.isArray(strings.raw)) {
    throw new EventsError('INVALID_QUERY', 'sql is a template tag: write client.sql`SELECT …`', { path: 'sql' })
  }
  const kept = copied(values)
  const text = () => `{"strings":${JSON.stringify(strings)},"values":${encodeQuery(kept, ['values'])}}`
  const call = () => new Call(client.native, text(), { isSql: true, bigints: client.bigints })
  return {
    async execute(options) {
      return await execute(call(), options)
    },
    executeStream(options) {
      return new RowStream(call, options)
    }
  }
}

module.exports = { sql }
