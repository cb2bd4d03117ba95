'use strict'

const { oneOf, UsageError } = require('../arguments.js')
const { CONNECTION_OPTIONS, withClient } = require('../connection.js')
const { ProgressBar } = require('../progress.js')
const { bytes } = require('../../monitor/html.js')
const { tableLines } = require('../table.js')
const { count, printable } = require('../text.js')

/** @type {import('../commands.js').Command} */
module.exports = {
  summary: 'Shows the indexes of the event table, what each is worth and why',
  usage: ['[--format table|json] [options]', '--create story [options]'],
  options: {
    create: {
      type: 'string',
      value: 'SET',
      description: "build a named set: story, the indexes of the module's story"
    },
    format: { type: 'string', short: 'f', value: 'FORMAT', description: 'table (default) or json' },
    ...CONNECTION_OPTIONS
  },
  notes: [
    'Bloat is measured where the extension pgstattuple is installed, else estimated. Use is counted across',
    "resets of the server's statistics, as far as it was noted in index_usage_stats."
  ].join('\n'),
  examples: [['', 'every index, its size, its use, and a verdict']],

  async run({ values, io, signal }) {
    const format = oneOf(values, 'format', ['table', 'json'], 'indexes')
    if (values.create !== undefined) oneOf(values, 'create', ['story'], 'indexes')
    await withClient(values, { signal, command: 'indexes' }, async client => {
      if (values.create !== undefined) return await create(client, io, signal)
      const { indexes } = await client.indexes[Symbol.for('tamma.events.native')].report()
      if (format === 'json') return await io.out.line(JSON.stringify(indexes, null, 2))
      await show(indexes, io)
    })
  }
}

async function create(client, io, signal) {
  const { indexSets } = require('../../index-sets.js')
  for (const definition of indexSets.story) {
    const bar = new ProgressBar(io, definition.name)
    try {
      await client.indexes.createIndex(definition, { signal, onProgress: progress => bar.update(progress) })
      bar.done()
      await io.err.line(`built ${definition.name}`)
    } catch (error) {
      bar.done()
      if (error.code !== 'INDEX_EXISTS') throw error
      await io.err.line(`${definition.name} is there`)
    }
  }
}

async function show(indexes, { out, style }) {
  if (indexes.length === 0) throw new UsageError('the event table has no index', 'indexes')
  const rows = indexes.map(one => ({
    index: one.name,
    type: one.type,
    size: bytes(one.sizeBytes),
    scans: count(one.scans),
    'last used': one.lastUsed?.slice(0, 16).replace('T', ' ') ?? '',
    empty: `${Math.round(one.bloatRatio * 100)} %`,
    verdict: one.verdict,
    why: printable(one.reasons.join('; '))
  }))
  const [head, ...lines] = tableLines(rows, { width: out.isTTY ? (out.columns ?? 80) : 200 })
  await out.write(`${[style.bold(head), ...lines].join('\n')}\n`)
}
