'use strict'

const { oneOf, UsageError, wholeNumber } = require('../arguments.js')
const { CONNECTION_OPTIONS, withClient } = require('../connection.js')
const { QUERY_OPTIONS, eventQuery } = require('../event-query.js')
const { ProgressBar } = require('../progress.js')
const { duration, plural } = require('../text.js')

const FORMATS = ['csv', 'ndjson', 'json', 'parquet', 'arrow']

/** @type {import('../commands.js').Command} */
module.exports = {
  summary: 'Writes events, or what a query gives, to a file: CSV, NDJSON, JSON, Parquet or Arrow',
  usage: ['--out FILE [--format FORMAT] [--type TYPE] [--where CONDITION] [options]', '--json QUERY [options]'],
  options: {
    out: { type: 'string', short: 'o', value: 'FILE', description: 'where to (default: standard output)' },
    format: {
      type: 'string',
      short: 'f',
      value: 'FORMAT',
      description: `${FORMATS.join(', ')} (default: as FILE ends)`
    },
    compression: { type: 'string', value: 'HOW', description: 'none, gzip, zstd, or snappy for Parquet' },
    delimiter: { type: 'string', value: 'CHARACTER', description: 'of a CSV, instead of the comma' },
    'no-header': { type: 'boolean', description: 'leave out the first line of a CSV' },
    neutralize: { type: 'boolean', description: 'make texts of CSV cells that a spreadsheet would run' },
    timeout: { type: 'string', value: 'MS', description: 'give up, and stop the query on the server, after so long' },
    ...QUERY_OPTIONS,
    ...CONNECTION_OPTIONS
  },
  notes: [
    'A file is there whole or not at all: it is written under a temporary name and renamed. In Parquet',
    'and Arrow, tags, metadata and data are text that holds JSON.'
  ].join('\n'),
  examples: [
    ['--out events.parquet', 'everything, as Parquet'],
    ["--type 'PR.*' --select timestamp,tags.repo,data.files --out merges.csv", 'three fields of some events'],
    ["--since '30 days' --format ndjson --compression zstd --out month.ndjson.zst", 'a month, packed']
  ],

  async run({ values, io, signal }) {
    const query = eventQuery(values)
    const format = formatOf(values)
    const timeout = wholeNumber(values, 'timeout', 'export')
    const progress = new ProgressBar(io, 'export')
    const options = {
      format,
      to: values.out ?? process.stdout,
      compression: values.compression,
      ...(format === 'csv' && { csv: csvOf(values) }),
      signal,
      timeout,
      onProgress: values.out === undefined ? undefined : one => progress.update(one)
    }
    const report = await withClient(values, { signal, command: 'export' }, client =>
      client.optimizer.exportQuery(query, options).finally(() => progress.done())
    )
    if (values.out === undefined) return
    const took = duration(report.duration)
    await io.err.line(`${plural(report.rows, 'row')}, ${plural(report.bytes, 'byte')} in ${took}: ${values.out}`)
  }
}

function formatOf(values) {
  const ending = /\.(csv|ndjson|jsonl|json|parquet|arrow|feather)(?:\.(?:gz|zst))?$/i
    .exec(values.out ?? '')?.[1]
    .toLowerCase()
  const known = { jsonl: 'ndjson', feather: 'arrow' }[ending] ?? ending
  if (values.format === undefined && known !== undefined) return known
  if (values.format === undefined) throw new UsageError(`--format is one of ${FORMATS.join(', ')}`, 'export')
  return oneOf(values, 'format', FORMATS, 'export')
}

function csvOf(values) {
  return { header: !values['no-header'], delimiter: values.delimiter, neutralizeFormulas: values.neutralize }
}
