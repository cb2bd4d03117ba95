'use strict'

const { oneOf } = require('../arguments.js')
const { ADVICE_OPTIONS, adviceLines, budget, workload } = require('../advice.js')
const { CONNECTION_OPTIONS, withClient } = require('../connection.js')
const { duration, printable } = require('../text.js')

/** @type {import('../commands.js').Command} */
module.exports = {
  summary: 'Builds the indexes that a workload gains by, keeps those that prove themselves, drops what is redundant',
  usage: ['--workload FILE [--dry-run] [options]'],
  options: {
    'dry-run': { type: 'boolean', description: 'build and drop nothing, and say what would be done' },
    ...ADVICE_OPTIONS,
    ...CONNECTION_OPTIONS
  },
  notes: [
    'Each index is built without stopping writers, and kept if the workload’s own statements read less with',
    'it. What did not help is dropped again, and remembered: a later run does not try it anew.'
  ].join('\n'),
  examples: [['--workload queries.json --dry-run', 'what would be done']],

  async run({ values, io, signal }) {
    const format = oneOf(values, 'format', ['table', 'json'], 'optimize')
    const options = { ...budget(values, 'optimize'), dryRun: values['dry-run'] === true }
    const patterns = await workload(values, 'optimize')
    await withClient(values, { signal, command: 'optimize' }, async client => {
      const { optimize } = client.indexes[Symbol.for('tamma.events.native')]
      const done = await optimize(patterns, options, { signal })
      if (format === 'json') return await io.out.line(JSON.stringify(done, null, 2))
      await io.out.write(`${lines(done, io.style).join('\n')}\n`)
    })
  }
}

function lines(done, style) {
  const { created, dropped, rebuilt, reverted, skipped } = done
  return [
    ...adviceLines(done.recommendations, style),
    '',
    ...created.map(name => `built     ${printable(name)}`),
    ...dropped.map(name => `dropped   ${printable(name)}`),
    ...rebuilt.map(name => `rebuilt   ${printable(name)}`),
    ...reverted.map(({ name, reason }) => `reverted  ${printable(name)}: ${printable(reason)}`),
    ...skipped.map(({ name, reason }) => `skipped   ${printable(name)}: ${printable(reason)}`),
    style.bold(`${Math.round(done.improvement * 100)} % fewer blocks read, in ${duration(done.duration)}`)
  ]
}
