'use strict'

const { UsageError, oneOf } = require('../arguments.js')
const { CONNECTION_OPTIONS, withClient } = require('../connection.js')
const { ProgressBar } = require('../progress.js')
const { count, duration, plural, printable } = require('../text.js')

/** Bad lines that are shown; the rest is only counted. */
const SHOWN_REJECTED = 5

/** @type {import('../commands.js').Command} */
module.exports = {
  summary: 'Imports events from a git history or an NDJSON file; what is there already is skipped',
  usage: ['--git PATH [--url URL | --embedded DIR]', '--ndjson FILE [--url URL | --embedded DIR]'],
  options: {
    git: { type: 'string', value: 'PATH', description: 'the history of the git repository at PATH' },
    subjects: { type: 'boolean', description: 'with --git: the first line of each commit message too' },
    ndjson: { type: 'string', value: 'FILE', description: 'one event a line as JSON; may be gzip' },
    format: { type: 'string', value: 'FORMAT', description: 'how to report: text (default) or json' },
    ...CONNECTION_OPTIONS
  },
  notes: [
    'From git come commits, merged pull requests, releases, reverts, closed issues and a few more.',
    'Authors appear as hashes, never by name or e-mail. The tables are created where they are missing.',
    'Lines that are no events are left out and reported, with exit code 1; the others are imported.'
  ].join('\n'),
  examples: [
    ['--git .', 'this repository, into DATABASE_URL or a local PostgreSQL'],
    ['--git ~/src/shop --embedded ./events', 'into a local PostgreSQL with its data in ./events'],
    ['--ndjson events.ndjson.gz --url postgres://localhost/log', 'a file, into a server']
  ],

  async run({ values, io, signal }) {
    if ((values.git === undefined) === (values.ndjson === undefined)) {
      throw new UsageError('give either --git PATH or --ndjson FILE', 'import')
    }
    if (values.subjects && values.git === undefined) throw new UsageError('--subjects goes with --git', 'import')
    const format = oneOf(values, 'format', ['text', 'json'], 'import')

    const bar = new ProgressBar(io, 'importing')
    const report = await withClient(values, { signal, migrate: true, command: 'import' }, async client => {
      try {
        return await importFrom(client, values, { signal, bar })
      } finally {
        bar.done()
      }
    })
    if (format === 'json') await io.out.line(JSON.stringify(report))
    else await tell(report, io)
    return report.rejectedCount > 0 ? 1 : 0
  }
}

function importFrom(client, { git, ndjson, subjects }, { signal, bar }) {
  const onProgress = progress => bar.update(progress)
  if (ndjson !== undefined) return client.importEvents(ndjson, { signal, onProgress })
  const { gitEvents } = require('../../git/index.js')
  // git knows how many commits are to come; the import can't.
  return client.importEvents(gitEvents(git, { signal, subjects, onProgress }), { signal })
}

async function tell({ imported, duplicates, rejected, rejectedCount, duration: milliseconds }, { out, style }) {
  const rate = milliseconds > 0 ? ` (${count((imported / milliseconds) * 1000)} events/s)` : ''
  await out.line(`${style.green(plural(imported, 'event'))} imported in ${duration(milliseconds)}${rate}`)
  if (duplicates > 0) await out.line(`${plural(duplicates, 'event')} skipped, as they were there already`)
  if (rejectedCount === 0) return
  await out.line(`${style.yellow(plural(rejectedCount, 'line'))} rejected`)
  for (const { line, reason } of rejected.slice(0, SHOWN_REJECTED))
    await out.line(`  line ${count(line)}: ${printable(reason)}`)
  if (rejectedCount > SHOWN_REJECTED) await out.line(`  and ${count(rejectedCount - SHOWN_REJECTED)} more`)
}
