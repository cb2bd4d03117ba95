'use strict'

const { oneOf, UsageError } = require('../arguments.js')
const { CONNECTION_OPTIONS, withClient } = require('../connection.js')
const { QUERY_OPTIONS, eventQuery } = require('../event-query.js')
const { writeTable } = require('../table.js')

const { type, tag, since, until, where } = QUERY_OPTIONS
const MOMENTS = ['count', 'nulls', 'mean', 'stddev', 'min', 'max', 'sum', 'skewness', 'kurtosis', 'mad']

/** @type {import('../commands.js').Command} */
module.exports = {
  summary: 'Describes the numbers of a field: mean, deviation, percentiles',
  usage: ['--field FIELD [--by FIELDS] [--type TYPE] [--where CONDITION] [options]'],
  options: {
    field: { type: 'string', value: 'FIELD', description: 'the field, such as data.durationMs' },
    by: { type: 'string', multiple: true, value: 'FIELD', description: 'one line for each value of this field' },
    format: { type: 'string', short: 'f', value: 'FORMAT', description: 'table (default) or json' },
    ...{ type, tag, since, until, where },
    ...CONNECTION_OPTIONS
  },
  examples: [
    ['--field data.insertions --type CODE.COMMITTED.SUCCESS', 'the size of commits'],
    ['--field data.insertions --by tags.repo', 'the same of each repository']
  ],

  async run({ values, io, signal }) {
    if (values.field === undefined) throw new UsageError('--field says which numbers', 'stats')
    const format = oneOf(values, 'format', ['table', 'json'], 'stats')
    const { filter } = eventQuery(values)
    const options = { ...(values.by && { groupBy: values.by }), signal }
    const found = await withClient(values, { signal, command: 'stats' }, client =>
      client.analytics.statistics(values.field, filter, options)
    )
    if (format === 'json') return io.out.line(JSON.stringify(found, null, 2))
    const lines = found.map(summary => ({
      ...summary.group,
      ...Object.fromEntries(MOMENTS.map(name => [name, rounded(summary[name])])),
      ...Object.fromEntries(
        Object.entries(summary.percentiles).map(([share, value]) => [`p${share * 100}`, rounded(value)])
      )
    }))
    await writeTable([lines], io)
  }
}

/** Six digits are enough to read. */
const rounded = value => (typeof value === 'number' ? Number(value.toPrecision(6)) : value)
