'use strict'

const { QUESTIONS } = require('./questions.js')
const { sourceOf } = require('./source.js')
const { findTopics } = require('./topics.js')
const { duration, printable } = require('../text.js')

const WIDTH = 96

/**
 * Asks the questions one after another and shows how, what came back and how long it took.
 * @param {import('../../../index').EventsClient} events
 * @param {{ out: import('../output.js').Output, style: import('../style.js').Style }} io
 * @param {AbortSignal} signal
 */
async function tour(events, io, signal) {
  const topics = await findTopics(events)
  if (topics === undefined) return io.out.line('There is no event yet, and so nothing to ask.')
  let planned
  for (const [at, question] of QUESTIONS.entries()) {
    signal.throwIfAborted()
    const answer = await showQuestion(events, io, question, at + 1, topics)
    if (question.explain) planned = { ...question, answer, number: at + 1 }
  }
  await showPlan(io, planned)
}

async function showQuestion(
  events,
  { out, style },
  { title, query, ask, given, show, timing, remark },
  number,
  topics
) {
  const started = performance.now()
  const answer = await (query ? query(events, topics).execute() : ask(events, topics))
  const elapsed = performance.now() - started

  await out.line(heading(style, `${number}  ${title}`, timing?.(answer, elapsed) ?? duration(elapsed)))
  const values = (given ?? []).map(name => `const ${name} = ${JSON.stringify(topics[name])}`)
  for (const line of [...values, ...(query ? chained(query, '.execute()') : sourceOf(ask))]) {
    await out.line(`   ${style.cyan(line)}`)
  }
  await out.line()
  for (const line of show(answer)) await out.line(`   ${line}`)
  if (remark) await out.line(`   ${style.dim(remark)}`)
  await out.line()
  return answer
}

async function showPlan({ out, style }, { explain, answer, number }) {
  const started = performance.now()
  const plan = await explain(answer)
  await out.line(heading(style, `How was question ${number} planned?`, duration(performance.now() - started)))
  for (const line of sourceOf(explain)) await out.line(`   ${style.cyan(`await ${line}`)}`)
  await out.line()
  for (const line of plan.toString().trimEnd().split('\n')) await out.line(`   ${printable(line)}`)
  await out.line()
}

/** The text of a query, with the call that runs it at the end of its last line, or on one of its own. */
function chained(query, call) {
  const [first, ...rest] = sourceOf(query)
  const lines = [`await ${first}`, ...rest]
  return lines.at(-1).trim().startsWith('.') ? [...lines, `  ${call}`] : [...lines.slice(0, -1), lines.at(-1) + call]
}

function heading(style, title, timing) {
  const gap = ' '.repeat(Math.max(2, WIDTH - title.length - timing.length))
  return `${style.bold(title)}${gap}${style.green(timing)}`
}

module.exports = { tour }
