'use strict'

const { oneOf, UsageError, wholeNumber } = require('../arguments.js')
const { CONNECTION_OPTIONS, withClient } = require('../connection.js')
const { QUERY_OPTIONS, eventQuery } = require('../event-query.js')
const { writeJson, writeNdjson } = require('../json.js')
const { writeTable } = require('../table.js')
const { duration, plural } = require('../text.js')

const WRITTEN_ROWS = 500
const WRITERS = { table: writeTable, json: writeJson, ndjson: writeNdjson }

/** @type {import('../commands.js').Command} */
module.exports = {
  summary: 'Asks for events',
  usage: ['[--type TYPE] [--tag KEY=VALUE] [--since TIME] [--where CONDITION] [options]', '--json QUERY [options]'],
  options: {
    ...QUERY_OPTIONS,
    format: { type: 'string', short: 'f', value: 'FORMAT', description: 'table (default), json or ndjson' },
    explain: { type: 'boolean', description: 'show the plan instead of running the query' },
    timeout: { type: 'string', value: 'MS', description: 'give up, and stop the query on the server, after so long' },
    ...CONNECTION_OPTIONS
  },
  notes: [
    'CONDITION is FIELD OPERATOR VALUE: = != < <= > >= ~ (regex) ^= (starts with) @> (contains), or the',
    "contract's words: eq ne lt lte gt gte in notIn between like ilike startsWith regex exists contains.",
    'VALUE is JSON, or text where it is no JSON. Comparison is by JSON type: 5 and "5" differ.',
    '',
    'Rows are written as they arrive. With --limit, a cursor for --after is shown where more is left.'
  ].join('\n'),
  examples: [
    ["--type 'PR.*' --since '30 days' --order timestamp:desc --limit 20", 'merges of the last month'],
    ["--where 'data.insertions > 500' --select timestamp,tags.area,data.insertions", 'the large commits'],
    ["--tag repo=acme/shop --where 'data.languages.rust exists' --format ndjson", 'one repository, as NDJSON'],
    ["--type CODE.COMMITTED.SUCCESS --where 'data.files > 10' --explain", 'the plan of a query']
  ],

  async run({ values, io, signal }) {
    const format = oneOf(values, 'format', Object.keys(WRITERS), 'query')
    const timeout = wholeNumber(values, 'timeout', 'query')
    if (values.explain && format === 'ndjson') throw new UsageError('--explain is written as table or json', 'query')
    const query = eventQuery(values)
    await withClient(values, { signal, command: 'query' }, async client => {
      const { optimizer } = client
      if (values.explain) {
        const plan = await optimizer.createExecutionPlan(query, { signal, timeout })
        return io.out.line(format === 'json' ? JSON.stringify(plan, null, 2) : plan.toString())
      }
      const answer = new Answer(optimizer, query, { signal, timeout })
      const rows = await WRITERS[format](answer.batches(), io)
      if (format === 'table') await summarize(rows, answer, io)
    })
  }
}

/** A limited query is run at once, as its answer has a cursor; any other one is streamed. */
class Answer {
  #optimizer
  #query
  #options
  #started = performance.now()
  nextCursor

  constructor(optimizer, query, options) {
    this.#optimizer = optimizer
    this.#query = query
    this.#options = options
  }

  get elapsed() {
    return performance.now() - this.#started
  }

  async *batches() {
    if (this.#query?.limit === undefined) {
      yield* inBatches(this.#optimizer.executeQueryStream(this.#query, this.#options))
      return
    }
    const { rows, nextCursor } = await this.#optimizer.executeQuery(this.#query, this.#options)
    this.nextCursor = nextCursor
    yield rows
  }
}

/** Rows by the hundred, as a write for each would cost more than the row. */
async function* inBatches(rows) {
  let batch = []
  for await (const row of rows) {
    batch.push(row)
    if (batch.length === WRITTEN_ROWS) {
      yield batch
      batch = []
    }
  }
  yield batch
}

async function summarize(rows, { elapsed, nextCursor }, { err, errStyle: style }) {
  await err.line(style.dim(`${plural(rows, 'row')} in ${duration(elapsed)}`))
  if (nextCursor !== undefined) await err.line(style.dim(`more: --after ${nextCursor}`))
}
