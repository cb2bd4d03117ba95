// Joins with other tables and of events with events, and queries over other tables.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventQuery, EventsClient } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'

let database: TestDatabase
let client: EventsClient

beforeAll(async () => {
  database = await TestDatabase.create({ events: 1000 })
  client = await database.connect()
  await database.admin.query(`
    CREATE SCHEMA ops;
    CREATE DOMAIN ops.label AS text;
    CREATE TYPE ops.state AS ENUM ('open', 'closed');
    CREATE TABLE ops.issues (number int PRIMARY KEY, title varchar(40), label ops.label, state ops.state, opened timestamptz NOT NULL,
      ref uuid, payload jsonb, notes json, size bigint, "Weird ""name" text, tags text[]);
    INSERT INTO ops.issues SELECT i, 'issue ' || i, 'l' || i % 2, (ARRAY['open', 'closed'])[1 + i % 2]::ops.state,
      timestamptz '2024-01-01Z' + i * interval '1 hour', gen_random_uuid(), jsonb_build_object('a', jsonb_build_array(i, 'x')),
      '{"n": 1}', 9007199254740993 + i, 'w' || i, ARRAY['t', 'u'] FROM generate_series(0, 49) AS i;
    CREATE TABLE no_key (v int);
    INSERT INTO no_key VALUES (1), (2), (2);
    CREATE VIEW open_issues AS SELECT number, title FROM ops.issues WHERE state = 'open'`)
})
afterAll(() => database?.drop())

const q = () => client.query()
const run = (query: Omit<EventQuery, 'filter'> & { filter?: unknown }) =>
  client.optimizer.executeQuery<Record<string, unknown>>({ filter: {}, ...query } as EventQuery)
const byHand = async (sql: string) => (await database.admin.query(sql)).rows

describe('joins with other tables', () => {
  it('meet tags and numbers as text, and add columns that are selected', async () => {
    const { rows } = await q()
      .join('ops.issues', { alias: 'issue', on: { 'tags.issueId': 'number' } })
      .where('issue.state', 'eq', 'open')
      .where('issue.number', 'gt', 40)
      .select(['id', 'issue.title', 'issue.payload.a[1]'])
      .orderBy('timestamp')
      .limit(3)
      .execute()
    expect(rows).toEqual(
      await byHand(`SELECT event_id AS id, title AS "issue.title", 'x' AS "issue.payload.a[1]" FROM events
        JOIN ops.issues ON events.tags->>'issueId' = number::text WHERE state = 'open' AND number > 40 ORDER BY "timestamp" LIMIT 3`)
    )
    expect(rows.length).toBe(3)
  })

  it('keep events without a partner in a left join', async () => {
    const on = { 'tags.issueId': 'number' }
    const counted = (type: 'inner' | 'left') =>
      q().join('ops.issues', { alias: 'i', type, on }).count().count('i.number', 'partners').execute()
    expect((await counted('inner')).rows).toEqual([{ count: 500, partners: 500 }])
    expect((await counted('left')).rows).toEqual([{ count: 1000, partners: 500 }])
    const without = await q()
      .join('ops.issues', { alias: 'i', type: 'left', on })
      .where('i.number', 'exists', false)
      .count()
      .execute()
    expect(without.rows).toEqual([{ count: 500 }])
  })

  it('group and aggregate by joined columns', async () => {
    const { rows } = await q()
      .join('ops.issues', { alias: 'i', on: { 'tags.issueId': 'number' } })
      .groupBy(['i.label'])
      .count()
      .max('i.opened', 'latest')
      .orderBy('i.label')
      .execute()
    expect(rows).toEqual([
      { 'i.label': 'l0', count: 250, latest: '2024-01-03T00:00:00.000Z' },
      { 'i.label': 'l1', count: 250, latest: '2024-01-03T01:00:00.000Z' }
    ])
  })

  it('take the name of the table where there is no alias', async () => {
    const { rows } = await q()
      .join('open_issues', { on: { 'tags.issueId': 'number' } })
      .groupBy(['open_issues.title'])
      .execute()
    expect(rows.length).toBe(25)
  })
})

describe('events joined with events', () => {
  it('looks forward in time, and no further than asked', async () => {
    const { rows } = await q()
      .join('events', { alias: 'next', on: { 'tags.issueId': 'tags.issueId' }, within: '150 seconds' })
      .where('timestamp', 'lt', '2024-01-01T00:01:00Z')
      .where('next.type', 'eq', 'PR.MERGED.SUCCESS')
      .select(['id', 'next.id', 'next.data.n'])
      .orderBy('next.data.n')
      .execute()
    const expected = await byHand(`
      SELECT e.event_id AS id, n.event_id AS "next.id", n.data->'n' AS "next.data.n" FROM events e JOIN events n
      ON n.tags->>'issueId' = e.tags->>'issueId' AND n."timestamp" - e."timestamp" BETWEEN '0' AND '150 seconds'
      WHERE e."timestamp" < '2024-01-01T00:01:00Z' AND n.event_type = 'PR.MERGED.SUCCESS' ORDER BY (n.data->>'n')::int, e."timestamp"`)
    const sorted = (list: readonly object[]) => list.map(row => JSON.stringify(row)).sort()
    expect(rows.length).toBeGreaterThan(10)
    expect(sorted(rows)).toEqual(sorted(expected))
  })

  it('pages over pairs, of which an event can be in many', async () => {
    const query = q()
      .join('events', { alias: 'same', on: { 'tags.issueId': 'tags.issueId' } })
      .where('tags.issueId', 'in', ['1', '2'])
      .select(['id', 'same.id'])
    const all = (await query.orderBy('timestamp', 'desc').limit(1000).execute()).rows
    const paged = []
    let cursor: string | undefined
    do {
      const page = await query.orderBy('timestamp', 'desc').limit(37).after(cursor).execute()
      paged.push(...page.rows)
      cursor = page.nextCursor
    } while (cursor !== undefined)
    expect(paged).toEqual(all)
    expect(paged.length).toBe(200)
  })
})

describe('other tables', () => {
  it('are read with columns of every type', async () => {
    const { rows } = await (await database.connect({ bigint: 'string' }))
      .query()
      .from('ops.issues')
      .where('number', 'eq', 3)
      .execute()
    expect(rows).toEqual([
      {
        number: 3,
        title: 'issue 3',
        label: 'l1',
        state: 'closed',
        opened: '2024-01-01T03:00:00.000Z',
        ref: expect.stringMatching(/^[0-9a-f-]{36}$/),
        payload: { a: [3, 'x'] },
        notes: { n: 1 },
        size: '9007199254740996',
        'Weird "name': 'w3',
        tags: ['t', 'u']
      }
    ])
  })

  it('page by their primary key', async () => {
    const query = q().from('ops.issues').select(['number']).orderBy('state').limit(20)
    const paged = []
    let cursor: string | undefined
    do {
      const page = await query.after(cursor).execute()
      paged.push(...page.rows.map(row => row.number))
      cursor = page.nextCursor
    } while (cursor !== undefined)
    expect(new Set(paged).size).toBe(50)
    expect(paged.length).toBe(50)
  })

  it('without a primary key are read, and not continued', async () => {
    const { rows, nextCursor } = await q().from('no_key').orderBy('v').limit(2).execute()
    expect([rows, nextCursor]).toEqual([[{ v: 1 }, { v: 2 }], undefined])
  })

  it('can be the event table by its name', async () => {
    expect(
      (await run({ from: 'public.events', filter: { eventTypes: ['ISSUE.*'] }, aggregates: [{ fn: 'count' }] })).rows
    ).toEqual([{ count: 200 }])
  })

  it('stream, explain and show their SQL', async () => {
    const rows = []
    for await (const row of q().from('ops.issues').select(['title']).executeStream()) rows.push(row)
    expect(rows.length).toBe(50)
    expect((await q().from('ops.issues').count().explain()).sql).toContain('"ops"."issues"')
    expect(q().from('ops.nope').select(['x']).toSQL().sql).toBe('SELECT to_jsonb(e."x") AS "x" FROM "ops"."nope" AS e')
  })

  it('are found when they are made or changed later', async () => {
    const late = () => q().from('late').execute()
    await failure(late(), 'UNKNOWN_TABLE')
    await database.admin.query('CREATE TABLE late (a int); INSERT INTO late VALUES (1)')
    expect((await late()).rows).toEqual([{ a: 1 }])
    await database.admin.query('ALTER TABLE late RENAME a TO b')
    expect((await late()).rows).toEqual([{ b: 1 }])
  })
})

describe('a client that has not looked a table up yet', () => {
  const fresh = async () => (await database.connect()).query()

  it('continues the pages of another', async () => {
    const page = q().from('ops.issues').select(['number']).orderBy('number').limit(20)
    const { nextCursor } = await page.execute()
    const next = (await fresh()).from('ops.issues').select(['number']).orderBy('number').limit(20).after(nextCursor)
    expect((await next.execute()).rows.map(row => row.number)).toEqual(Array.from({ length: 20 }, (_, i) => 20 + i))
  })

  it('joins to it by an alias', async () => {
    const joined = (await fresh()).from('open_issues').join('ops.issues', { alias: 'i', on: { number: 'number' } })
    expect((await joined.count().execute()).rows).toEqual([{ count: 25 }])
  })

  it('finds a table that was missing when it was explained', async () => {
    const query = (await fresh()).from('explained_late')
    await failure(query.explain(), 'UNKNOWN_TABLE')
    await database.admin.query('CREATE TABLE explained_late (a int); INSERT INTO explained_late VALUES (7)')
    expect((await query.execute()).rows).toEqual([{ a: 7 }])
  })

  it('does so again where the server went away meanwhile, and keeps no dead connection', async () => {
    const client = await database.connect()
    const pid = (await client.sql<{ pid: number }>`SELECT pg_backend_pid() AS pid`.execute()).rows[0]?.pid
    await database.admin.query('SELECT pg_terminate_backend($1, 1000)', [pid])
    expect((await client.query().from('ops.issues').count().execute()).rows).toEqual([{ count: 50 }])
    expect((await client.query().count().execute()).rows).toEqual([{ count: 1000 }])
  })
})

describe('what is refused', () => {
  const join = (members: object) => ({
    joins: [{ table: 'ops.issues', alias: 'i', on: { 'tags.issueId': 'number' }, ...members }]
  })
  it.each([
    ['a table that is not there', { from: 'nope' }, 'UNKNOWN_TABLE', 'from'],
    ['SQL for a table', { from: 'events; DROP TABLE events' }, 'UNKNOWN_TABLE', 'from'],
    ['an empty table', { from: '' }, 'INVALID_QUERY', 'from'],
    ['a joined table that is not there', join({ table: 'ops.nope' }), 'UNKNOWN_TABLE', 'joins[0].table'],
    ['a column that is not there', join({ on: { 'tags.issueId': 'nr' } }), 'UNKNOWN_FIELD', 'joins[0].on.tags.issueId'],
    [
      'a field that is not there',
      join({ on: { 'tag.issueId': 'number' } }),
      'UNKNOWN_FIELD',
      'joins[0].on.tag.issueId'
    ],
    ['no pairs', join({ on: {} }), 'INVALID_QUERY', 'joins[0].on'],
    ['another type', join({ type: 'outer' }), 'INVALID_QUERY', 'joins[0].type'],
    ['within with another table', join({ within: '1 day' }), 'INVALID_QUERY', 'joins[0].within'],
    ['an alias that is a column', join({ alias: 'data' }), 'INVALID_QUERY', 'joins[0].alias'],
    ['a joined column that is not there', { ...join({}), select: ['i.nope'] }, 'UNKNOWN_FIELD', 'select[0]'],
    ['a path into what is no JSON', { ...join({}), select: ['i.title.x'] }, 'UNKNOWN_FIELD', 'select[0]'],
    [
      'text compared with a number',
      { ...join({}), filter: { where: { field: 'i.title', op: 'eq', value: 1 } } },
      'INVALID_QUERY',
      'filter.where.value'
    ],
    [
      'a filter for events',
      { from: 'ops.issues', filter: { eventTypes: ['A'] } },
      'INVALID_QUERY',
      'filter.eventTypes'
    ],
    [
      'a bucket of another table',
      { from: 'ops.issues', timeBucket: { interval: '1 day' } },
      'INVALID_QUERY',
      'timeBucket'
    ],
    ['a window of another table', { from: 'ops.issues', timeWindow: { last: '1 day' } }, 'INVALID_QUERY', 'timeWindow'],
    [
      'the first of another table',
      { from: 'ops.issues', aggregates: [{ fn: 'first', field: 'title' }] },
      'INVALID_QUERY',
      'aggregates[0].fn'
    ]
  ])('%s', async (_, query, code, path) => {
    const error = await failure(run(query as EventQuery))
    expect([error.code, error.path]).toEqual([code, path])
  })

  it('the same alias twice', async () => {
    const twice = q()
      .join('ops.issues', { on: { 'tags.issueId': 'number' } })
      .join('ops.issues', { on: { 'tags.issueId': 'number' } })
    expect((await failure(twice.execute(), 'INVALID_QUERY')).path).toBe('joins[1].alias')
  })
})
