// What people ask of the story's log: its six composite and partial cases, and the rest of thirty questions. The values
// come from the log itself, so that each question has an answer whatever log it is.

const LOOK = `
  WITH last AS (SELECT max("timestamp") AS at, min("timestamp") AS from FROM events),
    types AS (SELECT array_agg(event_type ORDER BY n DESC, event_type) AS names FROM
      (SELECT event_type, count(*) AS n FROM events GROUP BY 1) AS t)
  SELECT to_char(last.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS at,
    extract(epoch FROM last.at - last.from) AS span, types.names AS types,
    (SELECT count(*) FROM events)::int AS rows
  FROM last, types`

/** The value of an expression that so large a share of those that have it come before, by how often they occur. */
async function commonValue(admin, expression, place) {
  const { rows } = await admin.query(
    `SELECT value FROM (SELECT ${expression} AS value, count(*) AS n FROM events WHERE ${expression} IS NOT NULL GROUP BY 1) AS t
     ORDER BY n DESC, value OFFSET (SELECT floor(count(DISTINCT ${expression}) * $1::float8)::int FROM events) LIMIT 1`,
    [place]
  )
  return rows[0].value
}

/**
 * @param {import('pg').Client} admin @param {import('../../index').EventsClient} client
 * @returns {Promise<{ name: string, make: () => import('../../index').QueryBuilder }[]>}
 */
export async function questions(admin, client) {
  const { rows } = await admin.query(LOOK)
  const { at, span, types } = rows[0]
  const tag = (name, place) => commonValue(admin, `tags->>'${name}'`, place)
  const [busyIssue, issue, issue2, issue3] = [
    await tag('issueId', 0.01),
    await tag('issueId', 0.3),
    await tag('issueId', 0.5),
    await tag('issueId', 0.6)
  ]
  const [pr, pr2] = [await tag('prId', 0.05), await tag('prId', 0.4)]
  const [user, user2] = [await tag('userId', 0.02), await tag('userId', 0.3)]
  const [provider, provider2] = [await tag('provider', 0), await tag('provider', 0.7)]
  const repo = await tag('repo', 0.5)
  const area = await tag('area', 0.1)
  const correlation = await commonValue(admin, `metadata->>'correlationId'`, 0.1)
  const { rows: some } = await admin.query(
    `SELECT event_id::text AS id, data->>'sha' AS sha FROM events WHERE data ? 'sha' ORDER BY "timestamp", event_id OFFSET 5000 LIMIT 3`
  )
  const rare = types.at(-2)
  // A share of the span before the log's last moment, as a moment.
  const before = share => new Date(Date.parse(at) - span * 1000 * share).toISOString()
  const q = () => client.query()
  const newest = query => query.orderBy('timestamp', 'desc')
  const all = []
  const add = (name, make) => all.push({ name, make })

  // The story's own.
  add("an issue's newest", () => newest(q().where({ issueIds: [issue] })).limit(20))
  add("an issue's newest of a type", () =>
    newest(q().where({ issueIds: [busyIssue], eventTypes: [types[0]] })).limit(20)
  )
  add("a provider's newest", () => newest(q().where({ providers: [provider] })).limit(50))
  add('the newest of a type', () => newest(q().where({ eventTypes: [types[3]] })).limit(50))
  add('the recent', () => newest(q().where({ startTime: before(0.0005) })).limit(100))
  add("an active issue's recent", () => newest(q().where({ issueIds: [busyIssue], startTime: before(0.3) })).limit(50))

  // Other lists of a dashboard.
  add('the newest of all', () => newest(q()).limit(50))
  add('the newest of two types', () => newest(q().where({ eventTypes: [types[2], types[4]] })).limit(50))
  add('the newest of a rare type', () => newest(q().where({ eventTypes: [rare] })).limit(20))
  add('a type in a window', () =>
    newest(q().where({ eventTypes: [types[1]], startTime: before(0.1), endTime: before(0.098) }))
  )
  add('a window', () =>
    q()
      .where({ startTime: before(0.5), endTime: before(0.4998) })
      .orderBy('timestamp')
  )
  add("a provider's in a window", () =>
    newest(q().where({ providers: [provider2], startTime: before(0.2), endTime: before(0.19) })).limit(50)
  )

  // Histories.
  add("a pull request's history", () =>
    q()
      .where({ prIds: [pr] })
      .orderBy('timestamp')
  )
  add("another pull request's history", () =>
    q()
      .where({ prIds: [pr2] })
      .orderBy('timestamp')
  )
  add("a pull request's merge", () => newest(q().where({ prIds: [pr], eventTypes: ['PR.MERGED.SUCCESS'] })).limit(1))
  add("an issue's history", () =>
    q()
      .where({ issueIds: [issue2] })
      .orderBy('timestamp')
  )
  add('histories of four issues', () => newest(q().where({ issueIds: [busyIssue, issue, issue2, issue3] })).limit(100))
  add('an issue or a pull request', () =>
    newest(
      q().where({
        where: {
          or: [
            { field: 'tags.issueId', op: 'eq', value: issue3 },
            { field: 'tags.prId', op: 'eq', value: pr2 }
          ]
        }
      })
    ).limit(50)
  )
  add('what belongs together', () =>
    q()
      .where({ where: { field: 'metadata.correlationId', op: 'eq', value: correlation } })
      .orderBy('timestamp')
  )
  add("a user's newest", () => newest(q().where({ userIds: [user] })).limit(20))
  add("another user's newest", () => newest(q().where({ userIds: [user2] })).limit(20))
  add("a user's of a type", () => newest(q().where({ userIds: [user], eventTypes: [types[0]] })).limit(20))

  // Single events.
  add('an event', () => q().where({ eventIds: [some[0].id] }))
  add('some events', () => q().where({ eventIds: some.map(one => one.id) }))
  add('a commit', () => q().where({ where: { field: 'data.sha', op: 'eq', value: some[1].sha } }))

  // Lists of what is common, which end before much of the log is read.
  add("a repository's newest", () =>
    newest(q().where({ where: { field: 'tags.repo', op: 'eq', value: repo } })).limit(50)
  )
  add("an area's newest", () => newest(q().where({ where: { field: 'tags.area', op: 'eq', value: area } })).limit(50))

  // Figures.
  add('types in a window', () =>
    q()
      .where({ startTime: before(0.005) })
      .groupBy(['type'])
      .count()
  )
  add('a rare type by month', () =>
    q()
      .where({ eventTypes: [rare] })
      .timeBucket('1 month')
      .count()
  )
  add("a user's types", () =>
    q()
      .where({ userIds: [user2] })
      .groupBy(['type'])
      .count()
  )
  return all
}
