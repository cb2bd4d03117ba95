'use strict'

const { oneOf, wholeNumber } = require('../arguments.js')
const { CONNECTION_OPTIONS, withClient } = require('../connection.js')
const { QUERY_OPTIONS, eventQuery } = require('../event-query.js')
const { printable } = require('../text.js')

const HINT_OPTIONS = Object.freeze({
  'use-index': {
    type: 'string',
    multiple: true,
    value: 'INDEX',
    description: 'prefer this index, and say whether that worked'
  },
  'force-index': { type: 'string', multiple: true, value: 'INDEX', description: 'this index or an error' }
})

/** @type {import('../commands.js').Command} */
module.exports = {
  summary: 'Shows how a query would run',
  usage: ['[--type TYPE] [--tag KEY=VALUE] [--since TIME] [--where CONDITION] [options]', '--json QUERY [options]'],
  options: {
    ...QUERY_OPTIONS,
    ...HINT_OPTIONS,
    analyze: { type: 'boolean', description: 'run it, and show measured times and rows' },
    format: { type: 'string', short: 'f', value: 'FORMAT', description: 'text (default) or json' },
    timeout: { type: 'string', value: 'MS', description: 'give up, and stop the query on the server, after so long' },
    ...CONNECTION_OPTIONS
  },
  notes: [
    "The flags of a query are those of `tamma-events query`. Shown are the plan of PostgreSQL, the module's own",
    'rewrites of the query, what became of hints, and what could be better.'
  ].join('\n'),
  examples: [
    ["--type 'PR.*' --since '30 days' --order timestamp:desc --limit 20", 'the plan of a query'],
    ["--where 'data.insertions > 500' --analyze", 'the same with what it really took'],
    ['--type CODE.COMMITTED.SUCCESS --limit 5 --use-index idx_events_timestamp', 'would this index do?']
  ],

  async run({ values, io, signal }) {
    const format = oneOf(values, 'format', ['text', 'json'], 'explain')
    const timeout = wholeNumber(values, 'timeout', 'explain')
    const query = hinted(eventQuery(values), values)
    await withClient(values, { signal, command: 'explain' }, async client => {
      const plan = await client.optimizer.createExecutionPlan(query, {
        analyze: values.analyze ?? false,
        signal,
        timeout
      })
      if (format === 'json') return io.out.line(JSON.stringify(plan, null, 2))
      for (const line of described(plan, io.style)) await io.out.line(line)
    })
  }
}

/** The hints of the flags are added to those of `--json`. */
function hinted(query, values) {
  const useIndex = values['use-index']
  const forceIndex = values['force-index']
  if (useIndex === undefined && forceIndex === undefined) return query
  return { ...query, hints: { ...query?.hints, ...(useIndex && { useIndex }), ...(forceIndex && { forceIndex }) } }
}

/**
 * A plan quotes conditions, and those what the caller wrote: nothing of it may move the cursor.
 * @param {import('../../../index').QueryExecutionPlan} plan
 * @param {import('../style.js').Style} style
 */
function described(plan, style) {
  const lines = plan.toString().trimEnd().split('\n').map(printable)
  const section = (title, items) => {
    if (items.length > 0) lines.push('', style.bold(title), ...items.map(item => `  ${printable(item)}`))
  }
  section(
    'Rewritten',
    plan.rules.map(({ rule, before, after, reason }) => `${rule}: ${before} → ${after} (${reason})`)
  )
  section(
    'Hints',
    plan.hints.map(({ hint, value, honoured, how, reason }) => `${hint} ${value}: ${honoured ? how : `no, ${reason}`}`)
  )
  section('Could be better', plan.warnings)
  lines.push('', style.dim(`strategy ${plan.strategy}, plan ${plan.planHash}, fingerprint ${plan.fingerprint}`))
  return lines
}
