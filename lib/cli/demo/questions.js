'use strict'

const { count, duration } = require('../text.js')
const { bars, rowsOf, steps } = require('./answers.js')

/**
 * The questions of the demo. What is printed above an answer is the source text of `query` or
 * `ask`, so it is what was run. `given` are the values of `findTopics` that it uses.
 * @typedef {object} Question
 * @property {string} title
 * @property {(events: import('../../../index').EventsClient, given: Record<string, any>) => any} [query] to be executed
 * @property {(events: import('../../../index').EventsClient, given: Record<string, any>) => Promise<any>} [ask]
 * @property {readonly string[]} [given]
 * @property {(answer: any) => string[]} show
 * @property {(answer: any, elapsed: number) => string} [timing] instead of the time of the whole
 * @property {string} [remark]
 * @property {(answer: any) => Promise<import('../../../index').QueryExecutionPlan>} [explain] its plan is shown at the end
 */

/** @type {readonly Question[]} */
const QUESTIONS = [
  {
    title: 'What happened?',
    query: events => events.sql`
      SELECT event_type AS type, count(*)::int AS events
      FROM events GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 8`,
    show: ({ rows }) => bars(rows, 'type', 'events')
  },
  {
    title: 'Where has the work been lately?',
    given: ['since'],
    query: (events, { since }) => events.sql`
      SELECT tags->>'area' AS area, count(*)::int AS commits
      FROM events WHERE event_type = 'CODE.COMMITTED.SUCCESS' AND timestamp >= ${since}::timestamptz
        AND tags ? 'area' GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5`,
    show: ({ rows }) => bars(rows, 'area', 'commits')
  },
  {
    title: 'Which commits were the largest?',
    given: ['many'],
    query: (events, { many }) =>
      events
        .query()
        .where({ eventTypes: ['CODE.COMMITTED.SUCCESS'] })
        .where('data.insertions', 'gt', many)
        .select({
          when: 'timestamp',
          area: 'tags.area',
          lines: 'data.insertions',
          files: 'data.files',
          what: 'data.subject'
        })
        .orderBy('data.insertions', 'desc')
        .limit(5),
    show: ({ rows }) => rowsOf(rows),
    remark: 'A number in JSON is compared as a number; rows where it is text or missing are left out, not an error.'
  },
  {
    title: 'What belongs together?',
    given: ['correlation'],
    query: (events, { correlation }) =>
      events.query().where('metadata.correlationId', 'eq', correlation).orderBy('timestamp').limit(8),
    show: ({ rows }) => steps(rows)
  },
  {
    title: 'What came last, page by page?',
    given: ['merges'],
    ask: async (events, { merges }) => {
      const latest = events.query().where({ eventTypes: merges }).orderBy('timestamp', 'desc').limit(3)
      const pages = []
      do pages.push(await latest.after(pages.at(-1)?.nextCursor).execute())
      while (pages.at(-1).nextCursor && pages.length < 2)
      return { latest, pages }
    },
    show: ({ pages }) => pages.flatMap(({ rows }, page) => steps(rows, `page ${page + 1}`)),
    explain: ({ latest }) => latest.explain(),
    remark: 'The cursor is a key, not a count: page 1,000 costs what page 2 costs.'
  },
  {
    title: 'All of them, one at a time?',
    ask: async events => {
      let count = 0
      let insertions = 0
      for await (const event of events.query().executeStream()) {
        count++
        if (typeof event.data.insertions === 'number') insertions += event.data.insertions
      }
      return { count, insertions }
    },
    show: ({ count, insertions }) => rowsOf([{ events: count, insertions }]),
    timing: ({ count: rows }, elapsed) => (rows < 1000 ? duration(elapsed) : `${count((rows / elapsed) * 1000)} rows/s`)
  },
  {
    title: 'And a question that has no answer?',
    ask: async events => {
      const none = events.query().where('data.insertions', 'gt', 500).where('data.insertions', 'lt', 100)
      const { rowCount, executionTime } = await none.execute()
      const { rules } = await none.explain()
      return { rowCount, executionTime, rules }
    },
    show: ({ rowCount, rules }) => [`${rowCount} rows`, ...rules.map(({ rule, reason }) => `${rule}: ${reason}`)],
    timing: ({ executionTime }) => duration(executionTime)
  }
]

module.exports = { QUESTIONS }
