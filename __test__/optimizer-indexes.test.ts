// Rewrites that depend on the indexes there are, and what is said of those that just miss.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EventQuery, EventsClient } from '../index.js'
import { eventAt, TestDatabase } from './support/database'

const COUNT = 5000
let database: TestDatabase
let events: EventsClient
beforeAll(async () => {
  database = await TestDatabase.create({ events: COUNT })
  await database.admin.query(`
    CREATE INDEX idx_type_time ON events (event_type, "timestamp");
    CREATE INDEX idx_all_tags ON events USING gin (tags jsonb_path_ops);
    CREATE INDEX idx_recent ON events ((tags->>'issueId'), "timestamp") WHERE "timestamp" >= '2024-01-01Z';
    INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data)
    SELECT gen_random_uuid(), 'ODD', timestamptz '2020-01-01Z', tags::jsonb, '{}', '{}'
    FROM unnest(ARRAY['{"k": 42}', '{"k": "42"}', '{"k": 42.0}', '{"k": true}', '{"k": {"a": 1}}']) AS tags;
    ANALYZE events`)
  events = await database.connect()
})
afterAll(() => database?.drop())

const applied = async (query: EventQuery) => (await events.optimizer.optimizeQuery(query)).rules.map(({ rule }) => rule)

/** The newest events of some types, by arithmetic. */
const newest = (wanted: readonly string[], count: number) =>
  Array.from({ length: COUNT }, (_, i) => eventAt(COUNT - 1 - i))
    .filter(({ type }) => wanted.includes(type))
    .slice(0, count)

describe('the first rows of several lists', () => {
  const types = ['CODE.GENERATED.FAILURE', 'ISSUE.OPENED', 'ÜBER.ÄNDERUNG']
  const query = {
    filter: { eventTypes: types },
    orderBy: [{ field: 'timestamp', direction: 'desc' }],
    limit: 7
  } satisfies EventQuery

  test('are merged from arms, page by page', async () => {
    expect(await applied(query)).toEqual(['union-arms'])
    const wanted = newest(types, 21)
    let after: string | undefined
    for (let page = 0; page < 3; page++) {
      const result = await events.optimizer.executeQuery({ ...query, ...(after && { after }) })
      expect(result.rows).toEqual(wanted.slice(page * 7, page * 7 + 7))
      after = result.nextCursor
    }
    const behind = await events.optimizer.executeQuery({ ...query, offset: 4 })
    expect(behind.rows).toEqual(newest(types, 11).slice(4))
  })

  test('are merged by the server, and the plan says why', async () => {
    const plan = await events.optimizer.createExecutionPlan(query, { analyze: true })
    expect(String(plan)).toContain('rule union-arms')
    expect(String(plan)).toContain('Merge Append')
    expect(String(plan)).toContain('measured')
  })

  test('an alternative does not give again what those before it gave', async () => {
    const either: EventQuery = {
      filter: {
        where: {
          or: [
            { field: 'type', op: 'eq', value: 'ISSUE.OPENED' },
            { field: 'tags.issueId', op: 'eq', value: '8' }
          ]
        },
        startTime: '2024-01-01'
      },
      limit: 400
    }
    expect(await applied(either)).toContain('union-arms')
    const wanted = Array.from({ length: COUNT }, (_, i) => eventAt(i)).filter(
      ({ type, tags }) => type === 'ISSUE.OPENED' || tags.issueId === '8'
    )
    expect((await events.optimizer.executeQuery(either)).rows).toEqual(wanted.slice(0, 400))
  })
})

test('tags without an index of their own are found by the one on all tags, whatever their JSON type', async () => {
  const count = async (value: string) => (await events.query().where('tags.k', 'eq', value).execute()).rowCount
  expect(await applied({ filter: { tags: { k: '42' } } })).toEqual(['tag-containment'])
  // As `->>` prints them: 42 and "42" alike, and 42.0 otherwise.
  expect([
    await count('42'),
    await count('42.0'),
    await count('true'),
    await count('{"a": 1}'),
    await count('x')
  ]).toEqual([2, 1, 1, 1, 0])
  const { rowCount } = await events.query().where('tags.text', 'eq', 'plain').execute()
  expect(rowCount).toBe(COUNT / 4)
})

describe('a partial index', () => {
  test('is used through the clock, by a literal', async () => {
    const query = { filter: { issueIds: ['7'] }, timeWindow: { last: '7 days' } } satisfies EventQuery
    expect(await applied(query)).toEqual(['partial-index'])
    const plan = await events.optimizer.createExecutionPlan(query)
    expect(plan.sql).toContain('2024-01-01T00:00:00.000Z')
    expect((await events.optimizer.executeQuery(query)).rows).toEqual([])
  })

  test('that just misses is named, with what is missing', async () => {
    const { warnings } = await events.optimizer.createExecutionPlan({ filter: { issueIds: ['7'] }, select: ['data.n'] })
    expect(warnings.join()).toMatch(/partial index idx_recent .*timestamp >= 2024-01-01/)
  })
})

test('time is learned from runs', async () => {
  const query = { filter: { where: { field: 'data.n', op: 'lt', value: 100 } } } satisfies EventQuery
  const before = await events.optimizer.estimateQueryCost(query)
  expect(before).toMatchObject({ estimatedTime: null, confidence: 'none' })
  for (let i = 0; i < 12; i++) await events.optimizer.executeQuery(query)
  const after = await events.optimizer.estimateQueryCost(query)
  expect(after.estimatedTime).toBeGreaterThan(0)
  expect(['low', 'high']).toContain(after.confidence)
})

test('a table that was never analyzed', async () => {
  const fresh = await TestDatabase.create()
  try {
    const client = await fresh.connect()
    const { warnings } = await client.query().where('type', 'eq', 'A').explain()
    expect(warnings.join()).toContain('ANALYZE')
  } finally {
    await fresh.drop()
  }
})
