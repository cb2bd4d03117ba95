// Index hints: what is followed and how, what is refused and why. That an index was scanned is checked by the server's
// own counters, read by another connection.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EventQuery, EventsClient } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'

let database: TestDatabase
/** One connection only: what it has counted can be sent on. */
let client: EventsClient

const INDEXES = `
  CREATE INDEX by_issue ON events ((tags->>'issueId'));
  CREATE INDEX by_issue_time ON events ((tags->>'issueId'), "timestamp");
  CREATE INDEX by_tags ON events USING gin (tags jsonb_path_ops);
  CREATE INDEX by_time_brin ON events USING brin ("timestamp") WITH (pages_per_range = 4);
  CREATE INDEX by_type_hash ON events USING hash (event_type);
  CREATE INDEX merged_only ON events ("timestamp") WHERE event_type = 'PR.MERGED.SUCCESS';
  CREATE TABLE elsewhere (id int PRIMARY KEY, issue text);
  CREATE INDEX elsewhere_issue ON elsewhere (issue);
  INSERT INTO elsewhere SELECT i, i::text FROM generate_series(1, 2000) AS i;
  ANALYZE elsewhere`

beforeAll(async () => {
  database = await TestDatabase.create({ events: 20_000 })
  await database.admin.query(INDEXES)
  // An index that a failed build left behind.
  await database.admin.query('CREATE INDEX unfinished ON events (created_at)')
  await database.admin.query("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'unfinished'::regclass")
  await database.admin.query('ANALYZE events')
  client = await database.connect({ pool: { max: 1 }, monitor: { persist: false } })
})
afterAll(() => database.drop())

/** How often an index was scanned so far, by all backends. */
async function scans(index: string) {
  await client.sql`SELECT pg_stat_force_next_flush()`.execute()
  const { rows } = await database.admin.query('SELECT pg_stat_get_numscans($1::regclass)::int AS n', [index])
  return rows[0].n as number
}

const ofIssue = (issue: string): EventQuery => ({ filter: { issueIds: [issue] } })
const forced = (query: EventQuery, ...forceIndex: string[]) =>
  client.optimizer.executeQuery({ ...query, hints: { forceIndex } })
const preferred = (query: EventQuery, ...useIndex: string[]) =>
  client.optimizer.executeQuery({ ...query, hints: { useIndex } })

describe('an index that can be used is used', () => {
  test.each([
    ['by_issue', ofIssue('7')],
    ['by_issue_time', ofIssue('7')],
    ['by_tags', { filter: { where: { field: 'tags', op: 'contains', value: { issueId: '7' } } } }],
    ['by_time_brin', { filter: { startTime: '2024-01-01', endTime: '2024-01-01T01:00:00Z' } }],
    ['by_type_hash', { filter: { where: { field: 'type', op: 'eq', value: 'PR.MERGED.SUCCESS' } } }],
    ['merged_only', { filter: { where: { field: 'type', op: 'eq', value: 'PR.MERGED.SUCCESS' } } }],
    ['events_pkey', { filter: {}, orderBy: [{ field: 'id' }], limit: 20 }]
  ] as [string, EventQuery][])('%s', async (index, query) => {
    const plain = await client.optimizer.executeQuery(query)
    const before = await scans(index)
    const { rows, hints, indexesUsed } = await forced(query, index)
    expect((await scans(index)) - before).toBeGreaterThan(0)
    expect(hints).toEqual([
      { hint: 'forceIndex', value: index, honoured: true, how: expect.stringMatching(/; scanned (once|\d+ times)$/) }
    ])
    expect(indexesUsed).toContain(index)
    const byId = (list: typeof rows) => list.map(row => JSON.stringify(row)).sort()
    expect(byId(rows)).toEqual(byId(plain.rows))
  })
})

describe('an index that cannot be used is refused before anything runs, with the reason', () => {
  test.each([
    ['by_issue', { filter: { where: { field: 'data.n', op: 'eq', value: 5 } } }, /none of the query's conditions/],
    ['by_tags', ofIssue('7'), /none of the query's conditions .*jsonb_path_ops/],
    ['by_type_hash', { filter: { eventTypes: ['PR.*'] } }, /none of the query's conditions .*hash/],
    ['merged_only', ofIssue('7'), /predicate .*PR\.MERGED\.SUCCESS.* does not follow/],
    ['merged_only', { filter: { startTime: '2024-01-01' } }, /^hints\.forceIndex\[0\]: .*partial/],
    ['unfinished', { filter: {}, orderBy: [{ field: 'createdAt' }] }, /invalid/],
    ['elsewhere_issue', ofIssue('7'), /belongs to "public"\."elsewhere"/]
  ] as [string, EventQuery, RegExp][])('%s: %j', async (index, query, reason) => {
    const before = await scans(index)
    const error = await failure(forced(query, index))
    expect(error).toMatchObject({ code: 'INDEX_HINT_NOT_HONOURED', path: 'hints.forceIndex[0]' })
    expect(error.message).toMatch(reason)
    // Preferred only, it says the same and runs.
    const { hints } = await preferred(query, index)
    expect(hints).toEqual([
      {
        hint: 'useIndex',
        value: index,
        honoured: false,
        reason: expect.stringMatching(reason.source.replace(/^\^hints.*\*/, ''))
      }
    ])
    expect(await scans(index)).toBe(before)
  })
})
