'use strict'

const { UsageError } = require('./arguments.js')
const { PROGRAM } = require('./help.js')
const { redact } = require('./redact.js')
const { printable } = require('./text.js')

/** What to try next, by SQLSTATE where PostgreSQL answered, else by the code of an EventsError. */
const HINTS = {
  UNKNOWN_TABLE: `${PROGRAM} import creates the tables and fills them`,
  CONNECTION_FAILED: 'check the URL and that the server is up, or use --embedded DIR for a local PostgreSQL',
  DATABASE_ERROR: 'sqlState is what PostgreSQL answered; DEBUG=1 shows more',
  INVALID_QUERY: `${PROGRAM} query --help lists the flags and shows examples`,
  MIGRATION_FAILED: 'the database was left as it was',
  POOL_TIMEOUT: 'the server has no free connection; try again, or raise its max_connections',
  QUERY_TIMEOUT: 'narrow the query by --type, --tag or --since, or raise --timeout',
  RESULT_TOO_LARGE: 'add --limit, or stream with --format ndjson',
  UNKNOWN_FIELD: 'fields are id, type, timestamp, createdAt, tags.KEY, metadata.PATH and data.PATH'
}

/**
 * Says on stderr what went wrong: code, path and what to try; a stack only with DEBUG.
 * @param {unknown} error
 * @param {{ err: import('./output.js').Output, errStyle: import('./style.js').Style }} io
 */
function reportFailure(error, { err, errStyle: style }) {
  const failure = error instanceof Error ? error : new Error(String(error))
  const rows = []
  if (failure instanceof UsageError) {
    rows.push(['hint', `${[PROGRAM, failure.command].filter(Boolean).join(' ')} --help`])
  } else {
    for (const key of ['code', 'path', 'sqlState']) if (failure[key] !== undefined) rows.push([key, failure[key]])
    const hint = [failure.sqlState, failure.code].find(key => Object.hasOwn(HINTS, key ?? ''))
    if (hint !== undefined) rows.push(['hint', HINTS[hint]])
    else if (failure.retryable) rows.push(['hint', 'try again'])
  }
  const lines = [`${style.red('error')}: ${clean(failure.message)}`]
  for (const [key, value] of rows) lines.push(`  ${style.dim(`${key}:`)} ${clean(value)}`)
  if (process.env.DEBUG) lines.push(...stacks(failure))
  err.line(lines.join('\n'))
}

/** @returns {string[]} the stack of an error and of what caused it */
function stacks(error) {
  const lines = []
  for (let at = error; at instanceof Error && lines.length < 5; at = at.cause) {
    const stack = (at.stack ?? String(at)).split('\n').map(clean).join('\n')
    lines.push(lines.length === 0 ? stack : `caused by ${stack}`)
  }
  return lines
}

function clean(text) {
  return printable(redact(String(text)))
}

module.exports = { reportFailure }
