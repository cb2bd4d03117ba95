'use strict'

const { UsageError } = require('./arguments.js')

/** For every command that asks a database. */
const CONNECTION_OPTIONS = Object.freeze({
  url: { type: 'string', value: 'URL', description: 'postgres://… (default: DATABASE_URL, else a local PostgreSQL)' },
  embedded: {
    type: 'string',
    value: 'DIR',
    description: 'a local PostgreSQL with its data in DIR, started when needed'
  }
})

/**
 * Connects, runs `work` and closes, whatever happens in between.
 * @template T
 * @param {Record<string, any>} values
 * @param {{ signal: AbortSignal, migrate?: boolean, command: string, connect?: import('../../index').ConnectOptions }} options
 * @param {(client: import('../../index').EventsClient) => Promise<T>} work
 * @returns {Promise<T>}
 */
async function withClient(values, { signal, migrate, command, connect: more }, work) {
  if (values.url !== undefined && values.embedded !== undefined) {
    throw new UsageError('--url and --embedded exclude each other', command)
  }
  for (const option of ['url', 'embedded']) {
    if (values[option] === '') throw new UsageError(`--${option} needs a value`, command)
  }
  // Loaded here, as help and usage errors need no native code.
  const { connect } = require('../../index.js')
  const client = await connect({
    ...(values.url !== undefined && { url: values.url }),
    ...(values.embedded !== undefined && { embedded: { directory: values.embedded } }),
    ...(migrate && { migrate }),
    ...more
  })
  try {
    signal.throwIfAborted()
    return await work(client)
  } finally {
    await client.close()
  }
}

module.exports = { CONNECTION_OPTIONS, withClient }
