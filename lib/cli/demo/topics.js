'use strict'

const MERGES = ['PR.MERGED.*', 'PR.BACKPORTED.*']

/**
 * What to ask about, so that the questions suit ten years of history and ten commits alike.
 * @param {import('../../../index').EventsClient} events
 * @returns {Promise<Record<string, any> | undefined>} nothing where there are no events
 */
async function findTopics(events) {
  const [
    {
      rows: [range]
    },
    {
      rows: [large]
    },
    {
      rows: [together]
    },
    merge
  ] = await Promise.all([
    events.sql`SELECT to_json(min(timestamp)) AS first, to_json(max(timestamp)) AS last FROM events`.execute(),
    events.sql`
      SELECT percentile_disc(0.95) WITHIN GROUP (ORDER BY (data->>'insertions')::int)::int AS many
      FROM events WHERE event_type = 'CODE.COMMITTED.SUCCESS' AND jsonb_typeof(data->'insertions') = 'number'`.execute(),
    events.sql`
      SELECT metadata->>'correlationId' AS id FROM events WHERE metadata ? 'correlationId'
      GROUP BY 1 HAVING count(*) <= 8 ORDER BY count(DISTINCT event_type) DESC, count(*) DESC, 1 LIMIT 1`.execute(),
    events.query().where({ eventTypes: MERGES }).limit(1).execute()
  ])
  if (range.first === null) return undefined
  return {
    since: lastPart(range.first, range.last),
    many: roundDown((large?.many ?? 0) - 1),
    correlation: together?.id ?? '',
    merges: merge.rowCount > 0 ? MERGES : ['CODE.COMMITTED.SUCCESS']
  }
}

/** The start of the last tenth. */
function lastPart(first, last) {
  const [from, to] = [Date.parse(first), Date.parse(last)]
  const start = new Date(to - (to - from) / 10)
  if (to - from > 30 * 86_400_000) start.setUTCHours(0, 0, 0, 0)
  return start.toISOString()
}

/** 387 to 300: a number that somebody would ask with. */
function roundDown(value) {
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(Math.max(value, 1))))
  return Math.floor(value / unit) * unit
}

module.exports = { findTopics }
