'use strict'

const { randomUUID } = require('node:crypto')
const { tmpdir } = require('node:os')
const path = require('node:path')
const { UsageError } = require('../arguments.js')
const { tour } = require('../demo/tour.js')
const { ProgressBar } = require('../progress.js')
const { count, duration, plural } = require('../text.js')

/** Of fewer events a rate says nothing. */
const RATED = 1000

/** @type {import('../commands.js').Command} */
module.exports = {
  summary: 'Shows what can be asked, over a git history or an NDJSON file, in a database of its own',
  usage: ['[--git PATH | --ndjson FILE] [--embedded DIR]'],
  options: {
    git: { type: 'string', value: 'PATH', description: 'the history of the git repository at PATH (default: here)' },
    ndjson: { type: 'string', value: 'FILE', description: 'one event a line as JSON; may be gzip' },
    embedded: {
      type: 'string',
      value: 'DIR',
      description: 'keep the database in DIR; by default it is removed at the end'
    }
  },
  examples: [
    ['', 'the repository you are in'],
    ['--git ~/src/shop --embedded ./events', 'another one, to be asked more afterwards']
  ],

  async run({ values, io, signal }) {
    if (values.git !== undefined && values.ndjson !== undefined) {
      throw new UsageError('--git and --ndjson exclude each other', 'demo')
    }
    const { connect } = require('../../../index.js')
    const started = performance.now()
    const events = await connect({ embedded: databaseOf(values) })
    try {
      signal.throwIfAborted()
      const [{ version }] = (await events.sql`SELECT current_setting('server_version') AS version`.execute()).rows
      await step(io, `PostgreSQL ${version} of its own is up`, performance.now() - started)
      await load(events, values, io, signal)
      await io.out.line()
      await tour(events, io, signal)
    } finally {
      await events.close()
    }
    if (values.embedded !== undefined) {
      await io.out.line(`Ask more: tamma-events query --embedded ${JSON.stringify(values.embedded)} --help`)
    }
  }
}

/** Without a directory of its own it would join whatever else runs for this project. */
function databaseOf({ embedded }) {
  if (embedded !== undefined) return { directory: embedded }
  return { directory: path.join(tmpdir(), `tamma-events-demo-${randomUUID()}`), persistent: false }
}

async function load(events, { git = '.', ndjson }, io, signal) {
  const bar = new ProgressBar(io, 'importing')
  const onProgress = progress => bar.update(progress)
  let report
  let from = ndjson
  try {
    if (ndjson === undefined) {
      const { gitEvents, repositoryName } = require('../../git/index.js')
      from = `the git history of ${await repositoryName(git, { signal })}`
      report = await events.importEvents(gitEvents(git, { signal, subjects: true, onProgress }), { signal })
    } else report = await events.importEvents(ndjson, { signal, onProgress })
  } finally {
    bar.done()
  }
  const rate = report.imported < RATED ? '' : `, ${count((report.imported / report.duration) * 1000)} a second`
  await step(io, `${plural(report.imported, 'event')} from ${from}${rate}`, report.duration)
}

function step({ out, style }, text, elapsed) {
  return out.line(`${style.green('✔')} ${text} ${style.dim(`(${duration(elapsed)})`)}`)
}
