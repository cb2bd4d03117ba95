// Plans, rewrites and costs of queries, through the public API.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EventQuery, EventsClient } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'

let database: TestDatabase
let events: EventsClient
beforeAll(async () => {
  database = await TestDatabase.create({ events: 5000 })
  events = await database.connect()
})
afterAll(() => database?.drop())

const rulesOf = async (query: EventQuery) => (await events.optimizer.optimizeQuery(query)).rules

describe('optimizeQuery', () => {
  test('gives back what callers wrote, whatever their data is called', async () => {
    const query = {
      filter: { where: { field: 'data', op: 'contains', value: { selectAs: ['x'] } } }
    } satisfies EventQuery
    expect((await events.optimizer.optimizeQuery(query)).query).toEqual(query)
  })

  test('a joined table without an alias goes by its bare name', async () => {
    const { admin } = database
    await admin.query('CREATE TABLE IF NOT EXISTS public.issues (id text PRIMARY KEY, state text)')
    const query = {
      filter: {
        where: {
          and: [
            { field: 'issues.state', op: 'eq', value: 'open' },
            {
              or: [
                { field: 'tags.issueId', op: 'eq', value: '7' },
                { field: 'tags.issueId', op: 'eq', value: '8' }
              ]
            }
          ]
        }
      },
      joins: [{ table: 'public.issues', on: { 'tags.issueId': 'id' } }],
      limit: 5
    } satisfies EventQuery
    const optimized = await events.optimizer.optimizeQuery(query)
    expect(optimized.rules.length).toBeGreaterThan(0)
    expect((await events.optimizer.executeQuery(optimized.query)).rows).toEqual([])
  })

  test('gives the rewritten query, which answers as the query that was asked', async () => {
    const query = {
      filter: {
        startTime: new Date('2024-01-01T00:00:00Z'),
        where: {
          and: [
            {
              or: [
                { field: 'tags.issueId', op: 'eq', value: '7' },
                { field: 'tags.issueId', op: 'eq', value: '8' }
              ]
            },
            { field: 'timestamp', op: 'gt', value: '2024-01-01T00:10:00Z' },
            { field: 'data.n', op: 'between', value: [100, 4000] }
          ]
        }
      }
    } satisfies EventQuery
    const optimized = await events.optimizer.optimizeQuery(query)
    expect(optimized.rules.map(({ rule }) => rule).sort()).toEqual(['one-list', 'tighten-ranges'])
    for (const rule of optimized.rules) {
      expect(rule.before).not.toBe(rule.after)
      expect(rule.reason.length).toBeGreaterThan(10)
    }
    const ids = (rows: readonly { id: string }[]) => rows.map(row => row.id).sort()
    const asked = await events.optimizer.executeQuery(query)
    const rewritten = await events.optimizer.executeQuery(optimized.query)
    // From 607 to 3908: the first event after ten minutes is the 600th.
    expect(asked.rowCount).toBe(68)
    expect(ids(rewritten.rows as { id: string }[])).toEqual(ids(asked.rows))
    // What it gives is at its fixed point.
    expect(await rulesOf(optimized.query)).toEqual([])
  })

  test('recommends the index that the query needs, and none once it is there', async () => {
    const query = {
      filter: { where: { field: 'metadata.actor.name', op: 'eq', value: 'user 3' } },
      orderBy: [{ field: 'timestamp', direction: 'desc' }],
      limit: 5
    } satisfies EventQuery
    const rare = { filter: { where: { field: 'data.n', op: 'gte', value: 4990 } } } satisfies EventQuery
    const { recommendations } = await events.optimizer.optimizeQuery(rare)
    expect(recommendations).toEqual(await events.indexes.recommendIndexes([{ query: rare, frequency: 1 }]))
    expect(recommendations).toHaveLength(1)
    const [best] = recommendations
    if (best.action !== 'create') throw new Error(best.action)
    expect(best.definition.columns).toEqual([{ field: 'data.n' }])
    expect((await events.optimizer.optimizeQuery(rare, { recommendations: false })).recommendations).toEqual([])
    await events.indexes.createIndex(best.definition)
    try {
      expect((await events.optimizer.optimizeQuery(rare)).recommendations).toEqual([])
      // It is what to do for this query: nothing is said of other indexes.
      const other = await events.optimizer.optimizeQuery(query)
      expect(other.recommendations.map(({ action }) => action)).not.toContain('drop')
    } finally {
      await events.indexes.dropIndex(best.indexName)
    }
    const wrong = await failure(events.optimizer.optimizeQuery(rare, { recommendations: 1 as never }), 'INVALID_QUERY')
    expect(wrong.path).toBe('recommendations')
  })

  test('keeps what the rules left alone as it was written', async () => {
    const query = {
      filter: { eventTypes: ['PR.*'], where: { field: 'data.n', op: 'gt', value: 9007199254740993n } },
      selectAs: { n: 'data.n', when: 'timestamp' },
      orderBy: [{ field: 'timestamp', direction: 'desc' }],
      timeWindow: { from: new Date(0), to: new Date('2030-01-01Z') },
      limit: 3
    } satisfies EventQuery
    const optimized = await events.optimizer.optimizeQuery(query)
    expect(optimized.query).toEqual(query)
    expect(optimized.rules).toEqual([])
  })

  test('an impossible filter is false in the rewritten query too', async () => {
    const optimized = await events.optimizer.optimizeQuery({
      filter: { eventTypes: ['A'], where: { field: 'type', op: 'eq', value: 'B' } }
    })
    expect(optimized.rules).toEqual([
      {
        rule: 'contradiction',
        before: 'filter type = "A" and type = "B"',
        after: 'filter false',
        reason: 'no event can satisfy the filter: the database is not asked for events'
      }
    ])
    expect(optimized.cost).toMatchObject({ estimatedCost: 0, estimatedRows: 0, estimatedBytes: 0 })
    expect((await events.optimizer.executeQuery(optimized.query)).rows).toEqual([])
  })

  test('refuses what execute refuses', async () => {
    const error = await failure(events.optimizer.optimizeQuery({ filter: { issueIds: [] } }), 'INVALID_QUERY')
    expect(error.path).toBe('filter.issueIds')
  })
})

describe('what runs', () => {
  test('is the optimised statement, while toSQL() shows the plain one', async () => {
    const query = events.query().where('data.n', 'gte', 10).where('data.n', 'lte', 20).where('data.n', 'gte', 5)
    expect(query.toSQL().sql.match(/jsonb_typeof/g)).toHaveLength(3)
    const plan = await query.explain()
    expect(plan.sql.match(/jsonb_typeof/g)).toHaveLength(2)
    expect(plan.parameters).toEqual([10, 20])
    expect(plan.rules.map(({ rule }) => rule)).toEqual(['tighten-ranges'])
    expect((await query.execute()).rowCount).toBe(11)
  })
})

describe('estimateQueryCost', () => {
  test("is PostgreSQL's own estimate of the statement that would run", async () => {
    const query = { filter: { issueIds: ['7'] }, select: ['id', 'type'] } satisfies EventQuery
    const cost = await events.optimizer.estimateQueryCost(query)
    const { sql, parameters } = await events.query().where('tags.issueId', 'eq', '7').select(['id', 'type']).explain()
    const literal = sql.replace('$1', `'${parameters[0]}'`)
    const { rows } = await database.admin.query(`EXPLAIN (FORMAT JSON) ${literal}`)
    const plan = rows[0]['QUERY PLAN'][0].Plan
    expect(cost.estimatedRows).toBe(plan['Plan Rows'])
    // What runs has a column more: the snapshot that its token is made of.
    expect(Math.abs(cost.estimatedCost - plan['Total Cost'])).toBeLessThan(1)
    expect(cost.estimatedBytes).toBeGreaterThanOrEqual(plan['Plan Rows'] * plan['Plan Width'])
  })
})
