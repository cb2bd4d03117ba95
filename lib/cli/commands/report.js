'use strict'

const { writeFile } = require('node:fs/promises')
const { wholeNumber } = require('../arguments.js')
const { CONNECTION_OPTIONS, withClient } = require('../connection.js')
const { LOG_OPTIONS, running, secondsBack, slots, slowest, statements } = require('../query-log.js')
const { count, duration } = require('../text.js')

/** As many slots as a chart has room for. */
const SLOTS = 120

/** @type {import('../commands.js').Command} */
module.exports = {
  summary: 'Writes a page about what was asked lately: latency over time, the slowest statements',
  usage: ['[--out FILE] [--since DURATION] [options]'],
  options: {
    out: { type: 'string', short: 'o', value: 'FILE', description: 'where to write (default: standard output)' },
    ...LOG_OPTIONS,
    ...CONNECTION_OPTIONS
  },
  notes: [
    'One HTML file that needs nothing else. It is drawn from query_performance_log, where clients write',
    'a sample of what they run; values are never part of it. client.monitor.report() draws the same of',
    'one client, to the microsecond.'
  ].join('\n'),
  examples: [["--since '1 day' --out report.html", 'the last day']],

  async run({ values, io, signal }) {
    const limit = wholeNumber(values, 'limit', 'report') ?? 20
    const seconds = secondsBack(values, 'report')
    const html = await withClient(values, { signal, command: 'report' }, client => draw(client, seconds, limit, signal))
    if (values.out === undefined) return io.out.write(html)
    await writeFile(values.out, html)
    await io.err.line(`wrote ${values.out}`)
  }
}

async function draw(client, seconds, limit, signal) {
  const { page } = require('../../monitor/report.js')
  const slotSeconds = Math.max(10, Math.ceil(seconds / SLOTS))
  const [found, times, slow, now, health, ofIndexes] = await Promise.all([
    statements(client, seconds, signal),
    slots(client, seconds, slotSeconds, signal),
    slowest(client, seconds, limit, signal),
    running(client, signal),
    client.monitor.getHealth(),
    client.indexes[Symbol.for('tamma.events.native')].report()
  ])
  const runs = found.reduce((sum, one) => sum + one.calls, 0)
  return page({
    title: 'Queries of an event log',
    about: `${new Date().toISOString()} · the last ${duration(seconds * 1000)} · PostgreSQL ${health.postgres.version}`,
    problems: health.problems,
    tiles: [
      ['logged runs', count(runs)],
      ['statements', count(found.length)],
      ['all runs together', duration(found.reduce((sum, one) => sum + one.totalTime, 0))],
      ['the slowest', duration(slow[0]?.executionTime ?? 0)],
      ['rows', count(found.reduce((sum, one) => sum + one.rows, 0))],
      ['running', count(now.length)]
    ],
    slots: times,
    slotSeconds,
    fingerprints: found.slice(0, limit),
    running: now.map(({ pid, started, time, waits, query }) => ({
      queryId: `backend ${pid}`,
      startedAt: started,
      status: waits === '' ? 'running' : waits,
      executionTime: time,
      queryText: query
    })),
    slow,
    indexes: ofIndexes.indexes,
    decisions: ofIndexes.decisions
  })
}
