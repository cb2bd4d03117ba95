'use strict'

const { oneOf } = require('../arguments.js')
const { CONNECTION_OPTIONS, withClient } = require('../connection.js')
const { ADVICE_OPTIONS, adviceLines, budget, workload } = require('../advice.js')

/** @type {import('../commands.js').Command} */
module.exports = {
  summary: 'Recommends indexes for a workload, and says what each would save and cost',
  usage: ['--workload FILE [options]'],
  options: { ...ADVICE_OPTIONS, ...CONNECTION_OPTIONS },
  notes: [
    'Costs are the planner’s: with hypothetical indexes where the extension HypoPG is installed, else on',
    'a sample in a temporary table. Nothing is built, and nothing is changed. Without a workload only',
    'what is there is looked at. A query is written as client.query()…toQuery() gives it.'
  ].join('\n'),
  examples: [['--workload queries.json', 'what these queries would gain by']],

  async run({ values, io, signal }) {
    const format = oneOf(values, 'format', ['table', 'json'], 'advise')
    const options = budget(values, 'advise')
    const patterns = await workload(values, 'advise')
    await withClient(values, { signal, command: 'advise' }, async client => {
      const advice = await client.indexes.recommendIndexes(patterns, options)
      if (format === 'json') return await io.out.line(JSON.stringify(advice, null, 2))
      await io.out.write(`${adviceLines(advice, io.style).join('\n')}\n`)
    })
  }
}
