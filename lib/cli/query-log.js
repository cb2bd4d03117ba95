'use strict'

/**
 * What clients have logged in `query_performance_log`, and what they run now. A command has a
 * client of its own, which has seen nothing: what others did stands in the database.
 */

const { UsageError } = require('./arguments.js')

const LOG_OPTIONS = Object.freeze({
  since: { type: 'string', value: 'DURATION', description: "how far back, such as '15 minutes' (default: 1 hour)" },
  limit: { type: 'string', value: 'N', description: 'at most so many statements (default: 20)' }
})

const UNITS = { second: 1, minute: 60, hour: 3600, day: 86_400, week: 604_800 }

/** Seconds of `--since`. */
function secondsBack({ since = '1 hour' }, command) {
  const [, number, unit] = /^(\d{1,6}(?:\.\d+)?) (second|minute|hour|day|week)s?$/.exec(since) ?? []
  const seconds = Number(number) * UNITS[unit]
  if (!(seconds > 0)) throw new UsageError(`--since is a duration such as '15 minutes', not '${since}'`, command)
  return seconds
}

/** Rows of the log; that there is none is told in words that help. */
async function rowsOf(query) {
  try {
    return (await query).rows
  } catch (error) {
    if (error.sqlState !== '42P01') throw error
    throw new Error('there is no query_performance_log in this database: connect({ migrate: true }) makes it', {
      cause: error
    })
  }
}

/**
 * Statements by their text, what took the most time first.
 * @param {import('../../index').EventsClient} client
 * @param {number} seconds
 */
function statements(client, seconds, signal) {
  return rowsOf(
    client.sql`
      SELECT query_text AS "queryText", count(*)::int AS calls, sum(execution_time_ms)::float8 AS "totalTime",
        avg(execution_time_ms)::float8 AS "meanTime",
        percentile_disc(0.5) WITHIN GROUP (ORDER BY execution_time_ms)::float8 AS p50,
        percentile_disc(0.95) WITHIN GROUP (ORDER BY execution_time_ms)::float8 AS p95,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY execution_time_ms)::float8 AS p99,
        max(execution_time_ms)::float8 AS "maxTime", sum(rows_returned)::float8 AS rows
      FROM query_performance_log WHERE created_at >= now() - ${seconds}::float8 * interval '1 second'
      GROUP BY 1 ORDER BY 3 DESC, 1 LIMIT 1000`.execute({ signal })
  )
}

/** Latency over time, in slots of so many seconds. */
function slots(client, seconds, slotSeconds, signal) {
  return rowsOf(
    client.sql`
      SELECT to_char(to_timestamp(floor(extract(epoch FROM created_at) / ${slotSeconds}::int) * ${slotSeconds}::int)
          AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS at,
        count(*)::int AS runs, 0 AS errors,
        percentile_disc(0.5) WITHIN GROUP (ORDER BY execution_time_ms)::float8 AS p50,
        percentile_disc(0.95) WITHIN GROUP (ORDER BY execution_time_ms)::float8 AS p95,
        max(execution_time_ms)::float8 AS max
      FROM query_performance_log WHERE created_at >= now() - ${seconds}::float8 * interval '1 second'
      GROUP BY 1 ORDER BY 1`.execute({ signal })
  )
}

/** The slowest runs. */
function slowest(client, seconds, limit, signal) {
  return rowsOf(
    client.sql`
      SELECT query_id AS "queryId", query_text AS "queryText", 'done' AS status,
        to_char((created_at - execution_time_ms * interval '1 millisecond') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "startedAt",
        execution_time_ms::float8 AS "executionTime", rows_returned AS "rowsReturned"
      FROM query_performance_log WHERE created_at >= now() - ${seconds}::float8 * interval '1 second'
      ORDER BY execution_time_ms DESC, created_at LIMIT ${limit}::int`.execute({ signal })
  )
}

/**
 * What a running statement says, without its values: the server tells the text as it was sent, and
 * the caller's own SQL may hold some. Literals, cut off ones too, become '?', comments nothing.
 */
function withoutLiterals(text) {
  return text
    .replace(
      /("(?:[^"]|"")*"?|[\p{L}_][\p{L}\p{N}_$]*(?!')|\$\d+)|--[^\n]*|\/\*.*?(?:\*\/|$)|\b[eE]'(?:[^'\\]|''|\\.)*'?|(?:\b(?:[bBxXnN]|[uU]&))?'(?:[^']|'')*'?|\$(\w*)\$.*?(?:\$\2\$|$)|\d[\d_.]*(?:[eE][+-]?\d+)?/gsu,
      (found, kept) => kept ?? (/^(?:--|\/\*)/.test(found) ? ' ' : '?')
    )
    .replace(/\s+/g, ' ')
    .trim()
}

/** What clients of this package run in this database. */
async function running(client, signal) {
  const { rows } = await client.sql`
    SELECT pid, to_char(query_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS started,
      (extract(epoch FROM clock_timestamp() - query_start) * 1000)::float8 AS time,
      coalesce(wait_event_type || ' ' || wait_event, '') AS waits, query
    FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'tamma-events'
      AND state <> 'idle' AND pid <> pg_backend_pid() ORDER BY query_start`.execute({ signal })
  return rows.map(row => ({ ...row, query: withoutLiterals(row.query) }))
}

module.exports = { LOG_OPTIONS, secondsBack, statements, slots, slowest, running }
