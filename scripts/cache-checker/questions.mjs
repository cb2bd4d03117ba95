// What is asked of the cache, and the same by hand.
const number = `CASE WHEN jsonb_typeof(data->'n') = 'number' THEN (data->>'n')::numeric END`
const seen = 'pg_visible_in_snapshot(transaction_id, $1::text::pg_snapshot)'
const hour = `date_trunc('hour', "timestamp" AT TIME ZONE 'UTC')`
const text = time => `to_char(${time}, 'YYYY-MM-DD"T"HH24:MI:SS.000"Z"')`
const days = { from: '2024-01-01T00:00:00Z', to: '2024-01-06T00:00:00Z' }

/** Questions, and the same by hand: $1 is the snapshot. Rows are compared as JSON, sorted where `loose`. */
export const QUESTIONS = [
  {
    query: { filter: {}, groupBy: ['type'], aggregates: [{ fn: 'count' }, { fn: 'sum', field: 'data.n', as: 's' }] },
    sql: `SELECT event_type AS type, count(*)::int AS count, sum(${number})::float8 AS s FROM events WHERE ${seen} GROUP BY 1`,
    loose: true
  },
  {
    query: { filter: { eventTypes: ['A.*'] }, aggregates: [{ fn: 'count' }, { fn: 'max', field: 'data.n', as: 'm' }] },
    sql: `SELECT count(*)::int AS count, max(${number})::float8 AS m FROM events WHERE event_type LIKE 'A.%' AND ${seen}`
  },
  {
    query: { filter: {}, timeBucket: { interval: '1 day' }, aggregates: [{ fn: 'count' }], timeWindow: days },
    sql: `SELECT to_char(date_trunc('day', "timestamp" AT TIME ZONE 'UTC'), 'YYYY-MM-DD"T"HH24:MI:SS.000"Z"') AS bucket, count(*)::int AS count
      FROM events WHERE "timestamp" >= '2024-01-01Z' AND "timestamp" < '2024-01-06Z' AND ${seen} GROUP BY 1 ORDER BY 1`
  },
  {
    query: { filter: {}, select: ['id'], orderBy: [{ field: 'timestamp', direction: 'desc' }], limit: 10 },
    sql: `SELECT event_id::text AS id FROM events WHERE ${seen} ORDER BY "timestamp" DESC, event_id LIMIT 10`
  },
  {
    query: { filter: { eventTypes: ['C.RARE.X'] } },
    sql: `SELECT event_id::text AS id FROM events WHERE event_type = 'C.RARE.X' AND ${seen}`,
    only: 'id',
    loose: true
  },
  {
    query: { filter: { tags: { k: '1' } }, aggregates: [{ fn: 'median', field: 'data.n', as: 'm' }] },
    sql: `SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY (${number})::float8) AS m FROM events WHERE tags->>'k' = '1' AND ${seen}`
  },
  {
    query: {
      filter: {},
      timeBucket: { interval: '1 hour' },
      groupBy: ['tags.k'],
      aggregates: [{ fn: 'count' }],
      orderBy: [{ field: 'count', direction: 'desc' }],
      limit: 4
    },
    sql: `SELECT ${text('h')} AS bucket, k AS "tags.k", n AS count FROM (SELECT ${hour} AS h, (tags->>'k') COLLATE "C" AS k, count(*)::int AS n
      FROM events WHERE ${seen} GROUP BY 1, 2) AS g ORDER BY n DESC, h, k LIMIT 4`
  },
  {
    query: { filter: {}, timeBucket: { interval: '1 hour' }, groupBy: ['type'], aggregates: [{ fn: 'count' }] },
    sql: `SELECT ${text('h')} AS bucket, type, n AS count FROM (SELECT ${hour} AS h, event_type AS type, count(*)::int AS n
      FROM events WHERE ${seen} GROUP BY 1, 2) AS g ORDER BY h, type COLLATE "C"`
  },
  {
    query: {
      filter: {},
      timeBucket: { interval: '1 hour' },
      aggregates: [{ fn: 'median', field: 'data.n', as: 'm' }],
      orderBy: [{ field: 'bucket', direction: 'desc' }]
    },
    sql: `SELECT ${text('h')} AS bucket, m FROM (SELECT ${hour} AS h, percentile_cont(0.5) WITHIN GROUP (ORDER BY (${number})::float8) AS m
      FROM events WHERE ${seen} GROUP BY 1) AS g ORDER BY h DESC`
  },
  {
    query: { filter: { eventTypes: ['C.RARE.X'], tags: { k: '2' } }, aggregates: [{ fn: 'count' }] },
    sql: `SELECT count(*)::int AS count FROM events WHERE event_type = 'C.RARE.X' AND tags->>'k' = '2' AND ${seen}`
  }
]

export function comparable({ only, loose }, rows) {
  const texts = rows.map(row => JSON.stringify(only ? { [only]: row[only] } : row))
  return JSON.stringify(loose ? texts.sort() : texts)
}
