'use strict'

const { setTimeout: sleep } = require('node:timers/promises')
const { oneOf, UsageError, wholeNumber } = require('../arguments.js')
const { CONNECTION_OPTIONS, withClient } = require('../connection.js')
const { LOG_OPTIONS, running, secondsBack, statements } = require('../query-log.js')
const { tableLines } = require('../table.js')
const { count, duration, plural, printable } = require('../text.js')

const ORDERS = { total: 'totalTime', mean: 'meanTime', p95: 'p95', max: 'maxTime', calls: 'calls' }

/** @type {import('../commands.js').Command} */
module.exports = {
  summary: 'Shows what runs, and which statements took the most time lately',
  usage: ['[--since DURATION] [--order total|mean|p95|max|calls] [--watch SECONDS] [options]'],
  options: {
    ...LOG_OPTIONS,
    order: { type: 'string', value: 'ORDER', description: `${Object.keys(ORDERS).join(', ')} (default: total)` },
    watch: { type: 'string', value: 'SECONDS', description: 'show it again after so long, until interrupted' },
    format: { type: 'string', short: 'f', value: 'FORMAT', description: 'table (default) or json' },
    ...CONNECTION_OPTIONS
  },
  notes: [
    'Statements come from query_performance_log, where clients write a sample of what they run, with',
    'times in whole milliseconds; values are never part of it.'
  ].join('\n'),
  examples: [
    ['', 'the last hour'],
    ["--since '5 minutes' --order p95 --watch 2", 'as it happens']
  ],

  async run({ values, io, signal }) {
    const format = oneOf(values, 'format', ['table', 'json'], 'top')
    const order = ORDERS[oneOf(values, 'order', Object.keys(ORDERS), 'top')]
    const limit = wholeNumber(values, 'limit', 'top') ?? 20
    const watch = wholeNumber(values, 'watch', 'top')
    if (watch === 0) throw new UsageError('--watch is a number of seconds from 1', 'top')
    const seconds = secondsBack(values, 'top')
    await withClient(values, { signal, command: 'top' }, async client => {
      for (;;) {
        const found = await statements(client, seconds, signal)
        found.sort((a, b) => b[order] - a[order])
        const now = { running: await running(client, signal), statements: found.slice(0, limit) }
        if (format === 'json') await io.out.line(JSON.stringify(now, null, watch === undefined ? 2 : undefined))
        else await show(now, found, io, watch !== undefined)
        if (watch === undefined) return
        await sleep(watch * 1000, undefined, { signal })
      }
    })
  }
}

async function show(now, all, { out, style }, again) {
  const width = out.isTTY ? (out.columns ?? 80) : 160
  const calls = all.reduce((sum, one) => sum + one.calls, 0)
  const lines = [
    style.bold(`${plural(now.running.length, 'running statement')}`),
    ...tableLines(
      now.running.map(({ pid, time, waits, query }) => ({ pid, time: duration(time), waits, statement: flat(query) })),
      { width }
    ),
    '',
    style.bold(`${plural(all.length, 'statement')}, ${plural(calls, 'logged run')}`),
    ...tableLines(
      now.statements.map(one => ({
        calls: count(one.calls),
        total: duration(one.totalTime),
        mean: duration(one.meanTime),
        p95: duration(one.p95),
        max: duration(one.maxTime),
        rows: count(one.rows),
        statement: flat(one.queryText)
      })),
      { width }
    )
  ]
  // Home and clear, as `top` does; in a pipe one after the other.
  await out.write(`${again && out.isTTY ? '\x1b[H\x1b[2J' : ''}${lines.join('\n')}\n`)
}

const flat = text => printable(text.replace(/\s+/g, ' '))
