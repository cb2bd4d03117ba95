// Patterns end to end: rows, measures and errors over events whose matches were derived by hand.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventPattern, EventsClient, PatternMatch } from '../index.js'
import { TestDatabase } from './support/database'
import { drain, failure } from './support/errors'

let database: TestDatabase
let client: EventsClient

const START = Date.UTC(2026, 0, 1)
const id = (i: number) => `01900000-0000-7000-8000-${String(i).padStart(12, '0')}`
/** A stock's prices, a minute apart, by key. */
const PRICES: Record<string, (number | string | null)[]> = {
  acme: [10, 8, 6, 7, 9, 9, 5, 8],
  none: [1, 2, 3],
  odd: ['9', null, 4, 3, 5]
}

beforeAll(async () => {
  database = await TestDatabase.create()
  client = await database.connect()
  let i = 0
  for (const [key, prices] of Object.entries(PRICES))
    for (const [minute, price] of prices.entries())
      await database.admin.query(
        `INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data) VALUES ($1, $2, $3, $4, '{}', $5)`,
        [
          id(i++),
          `PRICE.${minute % 2 === 0 ? 'EVEN' : 'ODD'}`,
          new Date(START + minute * 60_000).toISOString(),
          { key },
          { price, minute }
        ]
      )
  // Without a key: a partition of their own.
  await database.admin.query(
    `INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data) VALUES ($1, 'PRICE.EVEN', $2, '{}', '{}', '{"price": 3, "minute": 0}')`,
    [id(900), new Date(START).toISOString()]
  )
})
afterAll(() => database?.drop())

const find = async (pattern: Partial<EventPattern>, key?: string) =>
  (
    await client
      .query()
      .where(key === undefined ? {} : { tags: { key } })
      .pattern({ by: ['tags.key'], pattern: 'A', define: {}, ...pattern } as EventPattern)
      .execute()
  ).rows as PatternMatch[]
const minutes = (match: PatternMatch) => match.events.map(e => e.data.minute)

const FALL = { left: 'data.price', op: 'lt', right: { prev: 'data.price' } } as const
const RISE = { left: 'data.price', op: 'gt', right: { prev: 'data.price' } } as const
/** The textbook's V: a start, falls, rises. */
const V = { pattern: 'STRT DOWN+ UP+', define: { DOWN: FALL, UP: RISE } }

describe('predicates across events', () => {
  it('judge other events by regular expressions, as PostgreSQL does', async () => {
    const previous = (literal: string) => ({ left: { prev: 'type' }, op: 'regex', right: { literal } }) as const
    const found = async (define: EventPattern['define'], pattern = 'B') =>
      (await find({ pattern, define }, 'acme')).map(minutes)
    expect(await found({ B: previous('^PRICE\\.EVEN$') })).toEqual([[1], [3], [5], [7]])
    // Nothing is before the first: that neither matches nor does not.
    expect(await found({ B: { not: previous('\\mEVEN') } })).toEqual([[2], [4], [6]])
    const ofFirst = { left: { first: 'type', of: 'A' }, op: 'regex', right: { literal: 'odd' } } as const
    expect(await found({ B: ofFirst }, 'A B')).toEqual([])
    expect(await found({ B: { ...ofFirst, right: { literal: '(?i)odd' } } }, 'A B')).toEqual([
      [1, 2],
      [3, 4],
      [5, 6]
    ])
    const twoFields = { left: { prev: 'type' }, op: 'regex', right: 'type' } as const
    await failure(
      client
        .query()
        .pattern({ by: [], pattern: 'B', define: { B: twoFields } })
        .execute(),
      'UNSUPPORTED'
    )
  })

  it('find a V, with measures', async () => {
    const measures = {
      start: { first: 'data.price', of: 'STRT' },
      bottom: { last: 'data.price', of: 'DOWN' },
      top: { last: 'data.price', of: 'UP' },
      end: 'data.price',
      rises: { agg: 'count', of: 'UP' },
      mean: { agg: 'avg', field: 'data.price' },
      low: { agg: 'min', field: 'data.price' },
      kind: { classifier: true },
      nth: { matchNumber: true },
      span: {
        op: 'sub',
        args: [
          { op: 'epochMs', args: ['timestamp'] },
          { op: 'epochMs', args: [{ first: 'timestamp' }] }
        ]
      }
    } as const
    const found = await find({ ...V, measures }, 'acme')
    expect(found.map(minutes)).toEqual([
      [0, 1, 2, 3, 4],
      [5, 6, 7]
    ])
    expect(found[0]).toMatchObject({
      key: { 'tags.key': 'acme' },
      matchNumber: 1,
      matched: true,
      classifiers: ['STRT', 'DOWN', 'DOWN', 'UP', 'UP'],
      durationMs: 240_000,
      measures: { start: 10, bottom: 6, top: 9, end: 9, rises: 2, mean: 8, low: 6, kind: 'UP', nth: 1, span: 240_000 }
    })
    expect(found[0]!.at).toEqual(found[0]!.events[0])
    expect(found[0]).not.toHaveProperty('rowMeasures')
    expect(found[1]!.measures).toMatchObject({ start: 9, bottom: 5, top: 8, nth: 2 })
  })

  it('compare by JSON type, and with what is missing to nothing', async () => {
    // '9' and null do not compare with numbers: only 4 > 3 falls, and 5 rises.
    expect((await find(V, 'odd')).map(minutes)).toEqual([[2, 3, 4]])
  })

  it('look at the events of a variable so far', async () => {
    const found = await find(
      {
        pattern: 'A B+',
        define: {
          A: { field: 'data.price', op: 'gte', value: 8 },
          B: {
            and: [
              { left: 'data.price', op: 'lt', right: { first: 'data.price', of: 'A' } },
              { left: { agg: 'count', of: 'B' }, op: 'lte', right: { literal: 2 } }
            ]
          }
        }
      },
      'acme'
    )
    expect(found.map(minutes)).toEqual([
      [0, 1, 2],
      [5, 6, 7]
    ])
  })

  it('mix with what the server judges, and are negated', async () => {
    const not = { not: { or: [{ field: 'type', op: 'eq', value: 'PRICE.ODD' }, FALL] } } as const
    // Even, and not falling: minutes 4 (9 > 7). Minute 0 has nothing before it: unknown.
    expect((await find({ pattern: 'A', define: { A: not } }, 'acme')).map(minutes)).toEqual([[4]])
  })
})

describe('rows', () => {
  it('running measures at each event', async () => {
    const [first] = await find(
      { ...V, rows: 'all', measures: { low: { agg: 'min', field: 'data.price' }, kind: { classifier: true } } },
      'acme'
    )
    expect(first!.rowMeasures).toEqual([
      { low: 10, kind: 'STRT' },
      { low: 8, kind: 'DOWN' },
      { low: 6, kind: 'DOWN' },
      { low: 6, kind: 'UP' },
      { low: 6, kind: 'UP' }
    ])
    expect(first!.measures).toEqual({ low: 6, kind: 'UP' })
  })

  it('leave excluded ones out, of measures not', async () => {
    const [first] = await find(
      {
        pattern: 'STRT {- DOWN+ -} UP+',
        define: V.define,
        rows: 'all',
        measures: { n: { agg: 'count' } }
      },
      'acme'
    )
    expect(minutes(first!)).toEqual([0, 3, 4])
    expect(first!.classifiers).toEqual(['STRT', 'UP', 'UP'])
    expect(first!.rowMeasures).toEqual([{ n: 1 }, { n: 4 }, { n: 5 }])
  })

  it('that are in no match', async () => {
    const found = await find({ ...V, rows: 'allWithUnmatched' }, 'none')
    expect(found.map(m => [m.matched, m.matchNumber, m.at.data.minute, m.events.length])).toEqual([
      [false, null, 0, 0],
      [false, null, 1, 0],
      [false, null, 2, 0]
    ])
  })

  it('of empty matches stand at an event', async () => {
    const define = { A: { field: 'data.price', op: 'eq', value: 2 } } as const
    const shown = await find({ pattern: 'A*', define, measures: { n: { agg: 'count' }, p: 'data.price' } }, 'none')
    expect(shown.map(m => [m.matchNumber, m.at.data.minute, m.events.length, m.measures.n, m.measures.p])).toEqual([
      [1, 0, 0, 0, null],
      [2, 1, 1, 1, 2],
      [3, 2, 0, 0, null]
    ])
    const omitted = await find({ pattern: 'A*', define, emptyMatches: 'omit' }, 'none')
    expect(omitted.map(m => m.matchNumber)).toEqual([2])
  })

  it('of every partition, in the order of keys, that without a key last', async () => {
    const found = await find({ pattern: '^A', define: {} })
    expect(found.map(m => m.key['tags.key'])).toEqual(['acme', 'none', 'odd', null])
    const whole = (await client.query().pattern({ by: [], pattern: '^A+$', define: {} }).execute()).rows
    expect(whole.map(m => [m.key, m.events.length])).toEqual([[{}, 17]])
    const paged = client
      .query()
      .pattern({ by: ['tags.key'], pattern: '^A', define: {} })
      .limit(2)
      .offset(1)
    expect((await paged.execute()).rows.map(m => m.key['tags.key'])).toEqual(['none', 'odd'])
  })
})

describe('contiguity', () => {
  it('strict sees every event, relevant those that a variable could accept', async () => {
    const define = {
      HIGH: { field: 'data.price', op: 'gte', value: 9 },
      LOW: { field: 'data.price', op: 'lte', value: 5 }
    } as const
    expect((await find({ pattern: 'HIGH+ LOW', define }, 'acme')).map(minutes)).toEqual([[4, 5, 6]])
    expect((await find({ pattern: 'HIGH+ LOW', define, contiguity: 'relevant' }, 'acme')).map(minutes)).toEqual([
      [0, 4, 5, 6]
    ])
  })

  it('within a time', async () => {
    expect((await find({ ...V, within: '3 minutes' }, 'acme')).map(minutes)).toEqual([
      [0, 1, 2, 3],
      [5, 6, 7]
    ])
  })
})

describe('what is wrong', () => {
  it.each<[object, string, number?]>([
    [{ pattern: 'A (B' }, 'pattern.pattern', 2],
    [{ pattern: 'A | | B' }, 'pattern.pattern', 4],
    [{ pattern: 'A', define: { B: {} } }, 'pattern.define.B'],
    [{ pattern: 'A', define: { A: { left: 'data.x', op: 'lt' } } }, 'pattern.define.A.right'],
    [{ pattern: 'A', define: { A: { left: 'nope', op: 'lt', right: 'data.x' } } }, 'pattern.define.A.left'],
    [
      { pattern: 'A', define: { A: { and: [{ left: { last: 'data.x', of: 'Z' }, op: 'lt', right: 'data.x' }] } } },
      'pattern.define.A.and[0].left.of'
    ],
    [{ pattern: 'A', afterMatch: { toLast: 'B' } }, 'pattern.afterMatch.toLast'],
    [{ pattern: 'A {- A -}', rows: 'allWithUnmatched' }, 'pattern.rows'],
    [{ pattern: 'A', rows: 'some' }, 'pattern.rows'],
    [{ pattern: 'A', measures: { m: { sum: 'data.x' } } }, 'pattern.measures.m'],
    [{ pattern: 'A', within: 0 }, 'pattern.within']
  ])('%j is refused at its place', async (pattern, path, position) => {
    const error = await failure(find(pattern), path === 'pattern.define.A.left' ? 'UNKNOWN_FIELD' : 'INVALID_QUERY')
    expect({ path: error.path, position: error.position }).toEqual({ path, position })
  })

  it('does not combine, and has no SQL', async () => {
    const pattern = { by: [], pattern: 'A', define: {} }
    expect((await failure(client.query().orderBy('type').pattern(pattern).execute())).path).toBe('orderBy')
    expect((await failure(client.query().groupBy(['type']).pattern(pattern).execute())).path).toBe('groupBy')
    expect(() => client.query().pattern(pattern).toSQL()).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
  })

  it('after a match cannot go back to its beginning, nor to what is not there', async () => {
    const again = await failure(find({ ...V, afterMatch: { toFirst: 'STRT' } }, 'acme'), 'INVALID_QUERY')
    expect(again.path).toBe('pattern.afterMatch')
    const missing = { pattern: 'A B?', define: { B: { field: 'data.price', op: 'eq', value: 99 } } } as const
    await failure(find({ ...missing, afterMatch: { toLast: 'B' } }, 'acme'), 'INVALID_QUERY')
  })
})

describe('runs', () => {
  it('stream, explain and are monitored as others', async () => {
    const query = client.query().pattern({ by: ['tags.key'], ...V })
    const { rows, queryId } = await query.execute()
    expect(await drain(query.executeStream())).toEqual(rows)
    const plan = await query.explain({ analyze: true })
    expect(plan.strategy).toBe('pattern')
    expect(plan.steps[0]!.details).toEqual({ rowsScanned: 17, keys: 4, keysSkipped: 0, matches: 3 })
    expect(String(plan)).toContain('3 matches')
    expect((await client.optimizer.getQueryStats(queryId)).rowsReturned).toBe(3)
  })
})
