'use strict'

const { oneOf, UsageError, wholeNumber } = require('../arguments.js')
const { CONNECTION_OPTIONS, withClient } = require('../connection.js')
const { QUERY_OPTIONS, eventQuery } = require('../event-query.js')
const { duration } = require('../text.js')

const { type, tag, since, until, where } = QUERY_OPTIONS
const WRITERS = { mermaid, dot, json: flow => JSON.stringify(flow, null, 2) }

/** @type {import('../commands.js').Command} */
module.exports = {
  summary: 'Draws what follows what in cases, as a Mermaid or Graphviz graph',
  usage: ['--by FIELD [--type TYPE] [--where CONDITION] [options]'],
  options: {
    by: { type: 'string', multiple: true, value: 'FIELD', description: 'what makes a case, such as tags.issueId' },
    format: { type: 'string', short: 'f', value: 'FORMAT', description: 'mermaid (default), dot or json' },
    min: { type: 'string', value: 'N', description: 'leave out edges of fewer than so many (default 1)' },
    ...{ type, tag, since, until, where },
    ...CONNECTION_OPTIONS
  },
  examples: [
    ['--by tags.issueId', 'the course of issues, for a Markdown page'],
    ['--by tags.caseId --min 50 --format dot | dot -Tsvg > flow.svg', 'the frequent edges, drawn by Graphviz']
  ],

  async run({ values, io, signal }) {
    if (values.by === undefined) throw new UsageError('--by says what makes a case', 'flow')
    const format = oneOf(values, 'format', Object.keys(WRITERS), 'flow')
    const least = wholeNumber(values, 'min', 'flow') ?? 1
    const { filter } = eventQuery(values)
    const flow = await withClient(values, { signal, command: 'flow' }, client =>
      client.analytics.flow({ by: values.by, filter, signal })
    )
    await io.out.line(WRITERS[format]({ ...flow, edges: flow.edges.filter(edge => edge.count >= least) }))
  }
}

/** The activities that have an edge, or begin or end a case; each with a short name. */
function nodes({ activities, edges, starts, ends }) {
  const seen = new Set([...edges.flatMap(({ from, to }) => [from, to]), ...Object.keys(starts), ...Object.keys(ends)])
  return new Map(
    activities.filter(({ type }) => seen.has(type)).map((activity, i) => [activity.type, { ...activity, id: `n${i}` }])
  )
}

function mermaid(flow) {
  const known = nodes(flow)
  // In Mermaid's quoted texts a quote is an entity, and so is what begins one.
  const text = value => value.replace(/[#"<>&]/g, character => `#${character.charCodeAt(0)};`)
  return [
    'flowchart LR',
    ...Array.from(known.values(), ({ id, type, count }) => `  ${id}["${text(type)}<br/>${count}"]`),
    ...flow.edges.map(
      ({ from, to, count, medianMs }) =>
        `  ${known.get(from).id} -->|"${count} · ${duration(medianMs)}"| ${known.get(to).id}`
    ),
    ...ended(
      flow,
      known,
      (id, count) => `  start((" ")) -->|${count}| ${id}`,
      (id, count) => `  ${id} -->|${count}| stop(((" ")))`
    )
  ].join('\n')
}

function dot(flow) {
  const known = nodes(flow)
  const text = JSON.stringify
  return [
    'digraph flow {',
    '  rankdir=LR; node [shape=box, style=rounded]; start [shape=circle, label=""]; stop [shape=doublecircle, label=""];',
    ...Array.from(known.values(), ({ id, type, count }) => `  ${id} [label=${text(`${type}\n${count}`)}];`),
    ...flow.edges.map(
      ({ from, to, count, medianMs }) =>
        `  ${known.get(from).id} -> ${known.get(to).id} [label=${text(`${count}\n${duration(medianMs)}`)}];`
    ),
    ...ended(
      flow,
      known,
      (id, count) => `  start -> ${id} [label="${count}"];`,
      (id, count) => `  ${id} -> stop [label="${count}"];`
    ),
    '}'
  ].join('\n')
}

function ended({ starts, ends }, known, start, end) {
  return [
    ...Object.entries(starts).map(([type, count]) => start(known.get(type).id, count)),
    ...Object.entries(ends).map(([type, count]) => end(known.get(type).id, count))
  ]
}
