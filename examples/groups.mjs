// Groups, time buckets with fills, having, and a join of events with events. Run: node examples/groups.mjs
import { connect } from '@tamma/events'

const events = await connect({ embedded: { persistent: false } })
try {
  await events.append([
    { type: 'CODE.COMMITTED.SUCCESS', timestamp: '2024-03-30T09:00:00Z', tags: { pr: '7' }, data: { lines: 10 } },
    { type: 'CODE.COMMITTED.SUCCESS', timestamp: '2024-03-30T12:00:00Z', tags: { pr: '7' }, data: { lines: 30 } },
    { type: 'CODE.COMMITTED.SUCCESS', timestamp: '2024-04-01T09:00:00Z', tags: { pr: '8' }, data: { lines: 5 } },
    { type: 'PR.MERGED.SUCCESS', timestamp: '2024-03-30T20:00:00Z', tags: { pr: '7' }, data: {} }
  ])
  const commits = events.query().where('type', 'eq', 'CODE.COMMITTED.SUCCESS')

  // Groups: their sizes, sums and percentiles, and only those that are large enough.
  const large = await commits
    .groupBy(['tags.pr'])
    .count()
    .sum('data.lines')
    .aggregate({ fn: 'percentile', field: 'data.lines', percentile: 0.95, as: 'p95' })
    .having('count', 'gt', 1)
    .execute()
  console.log(large.rows)

  // Days of Berlin, one of them 23 hours long, the empty one filled.
  const days = await commits
    .timeWindow({ from: '2024-03-29T23:00:00Z', to: '2024-04-01T22:00:00Z' })
    .timeBucket('1 day', { timeZone: 'Europe/Berlin', fill: 'zero' })
    .sum('data.lines', 'lines')
    .execute()
  for (const { bucket, lines } of days.rows) console.log(bucket, lines)

  // The event table joined with itself: merges within a day after a commit.
  const merged = await commits
    .join('events', { alias: 'merge', on: { 'tags.pr': 'tags.pr' }, within: '1 day' })
    .where('merge.type', 'eq', 'PR.MERGED.SUCCESS')
    .aggregate({ fn: 'countDistinct', field: 'merge.id', as: 'merged' })
    .execute()
  console.log(merged.rows)
} finally {
  await events.close()
}
