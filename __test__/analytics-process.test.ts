// Process views on a real log, against the answers of PM4Py and of plain Python.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventsClient } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'

const shared = process.env.TAMMA_SHARED_DATA
interface Oracle {
  cases: number
  directlyFollows: { from: string; to: string; count: number; medianSeconds: number }[]
  startActivities: Record<string, number>
  endActivities: Record<string, number>
  activityCounts: Record<string, number>
  activities: string[]
  variants: { distinct: number; list: { count: number; trace: number[] }[] }
}

const by = ['tags.caseId']
const near = (a: number, b: number) => Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(b))

describe.skipIf(!shared)('the receipt log', () => {
  let database: TestDatabase
  let client: EventsClient
  let oracle: Oracle

  beforeAll(async () => {
    oracle = JSON.parse(readFileSync(join(shared as string, 'receipt.oracle.json'), 'utf8'))
    database = await TestDatabase.create()
    client = await database.connect()
    await client.importEvents(join(shared as string, 'receipt.ndjson.gz'))
  })
  afterAll(() => database?.drop())

  it('has the flow that the oracle has', async () => {
    const flow = await client.analytics.flow({ by })
    expect(flow.cases).toBe(oracle.cases)
    expect(flow.starts).toEqual(oracle.startActivities)
    expect(flow.ends).toEqual(oracle.endActivities)
    expect(Object.fromEntries(flow.activities.map(a => [a.type, a.count]))).toEqual(oracle.activityCounts)
    expect(flow.edges.length).toBe(oracle.directlyFollows.length)
    const edges = new Map(flow.edges.map(edge => [`${edge.from} > ${edge.to}`, edge]))
    for (const { from, to, count, medianSeconds } of oracle.directlyFollows) {
      const edge = edges.get(`${from} > ${to}`)
      expect(edge?.count).toBe(count)
      expect(near(edge?.medianMs ?? Number.NaN, medianSeconds * 1000), `${from} > ${to}`).toBe(true)
    }
    const counts = flow.edges.map(edge => edge.count)
    expect(counts).toEqual([...counts].sort((a, b) => b - a))
  })

  it('has the variants that the oracle has, in its order', async () => {
    const { variants, cases } = await client.analytics.variants({ by })
    expect(cases).toBe(oracle.cases)
    expect(variants.length).toBe(oracle.variants.distinct)
    expect(variants.map(({ path, count }) => ({ path, count }))).toEqual(
      oracle.variants.list.map(({ trace, count }) => ({ path: trace.map(i => oracle.activities[i]), count }))
    )
    for (const { count, share } of variants) expect(share).toBe(count / oracle.cases)
    const few = await client.analytics.variants({ by, limit: 3 })
    expect(few).toEqual({ variants: variants.slice(0, 3), cases })
    expect(await client.analytics.variants({ by, limit: 0 })).toEqual({ variants: [], cases })
  })

  it('has the durations of variants and the time in states that plain JavaScript finds', async () => {
    const { rows } = await client
      .query()
      .select(['type', 'timestamp', 'tags.caseId'])
      .orderBy('timestamp')
      .limit(100_000)
      .execute()
    const cases = new Map<string, { type: string; at: number }[]>()
    for (const row of rows) {
      const key = row['tags.caseId'] as string
      if (!cases.has(key)) cases.set(key, [])
      cases.get(key)?.push({ type: row.type, at: Date.parse(row.timestamp) })
    }
    const durations = new Map<string, number[]>()
    const visits = new Map<string, number[]>()
    const push = (map: Map<string, number[]>, key: string, value: number) =>
      map.set(key, [...(map.get(key) ?? []), value])
    for (const events of cases.values()) {
      const last = events[events.length - 1].at
      push(durations, events.map(e => e.type).join(), last - events[0].at)
      const changes = events.filter((event, i) => event.type !== events[i - 1]?.type)
      for (const [i, { type, at }] of changes.entries()) push(visits, type, (changes[i + 1]?.at ?? last) - at)
    }
    const percentile = (values: number[], share: number) => {
      const sorted = [...values].sort((a, b) => a - b)
      const at = share * (sorted.length - 1)
      const low = sorted[Math.floor(at)]
      return low + (at - Math.floor(at)) * ((sorted[Math.ceil(at)] ?? low) - low)
    }
    for (const { path, medianDurationMs } of (await client.analytics.variants({ by })).variants)
      expect(near(medianDurationMs, percentile(durations.get(path.join()) ?? [], 0.5))).toBe(true)
    const { states } = await client.analytics.timeInState({ by, state: 'type' })
    expect(states.length).toBe(visits.size)
    for (const { state, totalMs, meanMs, p95Ms, visits: count } of states) {
      const spent = visits.get(state) ?? []
      const total = spent.reduce((sum, ms) => sum + ms, 0)
      expect(count).toBe(spent.length)
      expect(near(totalMs, total) && near(meanMs, total / count) && near(p95Ms, percentile(spent, 0.95)), state).toBe(
        true
      )
    }
  })
})

describe('processes that are small enough to foresee', () => {
  let database: TestDatabase
  let client: EventsClient
  const at = (seconds: number) => new Date(Date.UTC(2026, 0, 1) + seconds * 1000).toISOString()
  const id = (n: number) => `01900000-0000-7000-8000-${String(n).padStart(12, '0')}`

  beforeAll(async () => {
    database = await TestDatabase.create()
    client = await database.connect()
    const event = (n: number, type: string, seconds: number, tags: Record<string, string>, data: object = {}) => ({
      id: id(n),
      type,
      timestamp: at(seconds),
      tags,
      data
    })
    const events = [
      // The same instant: the id decides, not the order of insertion.
      event(3, 'C', 0, { c: '1' }, { state: 'open' }),
      event(2, 'B', 0, { c: '1' }),
      event(1, 'A', 0, { c: '1' }, { state: 'new' }),
      event(4, 'A', 10, { c: '2' }, { state: 'new' }),
      event(5, 'A', 20, { c: '2' }, { state: 'new' }),
      event(6, 'A', 50, { c: '2' }, { state: 'closed' }),
      event(7, 'A', 60, { c: '2' }, { state: null }),
      event(8, 'Z', 60, {}, { state: 'lost' })
    ]
    for (const e of events)
      await database.admin.query(
        `INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data) VALUES ($1, $2, $3, $4, '{}', $5)`,
        [e.id, e.type, e.timestamp, e.tags, e.data]
      )
  })
  afterAll(() => database?.drop())

  it('break ties in time by id, and leave out what is in no case', async () => {
    const flow = await client.analytics.flow({ by: ['tags.c'] })
    expect(flow).toEqual({
      activities: [
        { type: 'A', count: 5 },
        { type: 'B', count: 1 },
        { type: 'C', count: 1 }
      ],
      edges: [
        { from: 'A', to: 'A', count: 3, medianMs: 10_000 },
        { from: 'A', to: 'B', count: 1, medianMs: 0 },
        { from: 'B', to: 'C', count: 1, medianMs: 0 }
      ],
      starts: { A: 2 },
      ends: { C: 1, A: 1 },
      cases: 2
    })
    expect((await client.analytics.variants({ by: ['tags.c'] })).variants).toEqual([
      { path: ['A', 'A', 'A', 'A'], count: 1, share: 0.5, medianDurationMs: 50_000 },
      { path: ['A', 'B', 'C'], count: 1, share: 0.5, medianDurationMs: 0 }
    ])
  })

  it('count a state that is said twice as one visit, until the case or the time ends', async () => {
    const ask = (until?: string) => client.analytics.timeInState({ by: ['tags.c'], state: 'data.state', until })
    expect((await ask()).states).toEqual([
      { state: 'new', totalMs: 40_000, meanMs: 20_000, p95Ms: 38_000, visits: 2 },
      { state: 'closed', totalMs: 10_000, meanMs: 10_000, p95Ms: 10_000, visits: 1 },
      { state: 'open', totalMs: 0, meanMs: 0, p95Ms: 0, visits: 1 }
    ])
    expect((await ask(at(55))).states).toEqual([
      { state: 'open', totalMs: 55_000, meanMs: 55_000, p95Ms: 55_000, visits: 1 },
      { state: 'new', totalMs: 40_000, meanMs: 20_000, p95Ms: 38_000, visits: 2 },
      { state: 'closed', totalMs: 5000, meanMs: 5000, p95Ms: 5000, visits: 1 }
    ])
  })

  it('answer for no case', async () => {
    const nothing = { by: ['tags.c'], filter: { eventTypes: ['NONE'] } }
    expect(await client.analytics.flow(nothing)).toEqual({ activities: [], edges: [], starts: {}, ends: {}, cases: 0 })
    expect(await client.analytics.variants(nothing)).toEqual({ variants: [], cases: 0 })
    expect(await client.analytics.timeInState({ ...nothing, state: 'type' })).toEqual({ states: [] })
  })

  it('say where a call is wrong', async () => {
    const wrong = async (call: Promise<unknown>) => {
      const { code, path } = await failure(call)
      return `${code} ${path}`
    }
    const any = (value: unknown) => value as never
    const { analytics } = client
    expect(await wrong(analytics.flow({ by: [] }))).toBe('INVALID_QUERY by')
    expect(await wrong(analytics.flow(any({})))).toBe('INVALID_QUERY by')
    expect(await wrong(analytics.flow({ by: ['tags.c', 'nope'] }))).toBe('UNKNOWN_FIELD by[1]')
    expect(await wrong(analytics.flow(any({ by: ['type'], depth: 2 })))).toBe('INVALID_QUERY depth')
    expect(await wrong(analytics.variants({ by: ['type'], limit: -1 }))).toBe('INVALID_QUERY limit')
    expect(await wrong(analytics.timeInState(any({ by: ['type'] })))).toBe('INVALID_QUERY state')
    expect(await wrong(analytics.timeInState({ by: ['type'], state: 'type', until: 'soon' }))).toBe(
      'INVALID_QUERY until'
    )
    expect(
      await wrong(analytics.flow({ by: ['type'], filter: { where: any({ field: 'data.n', op: 'is', value: 1 }) } }))
    ).toBe('INVALID_QUERY filter.where.op')
  })

  it('run as queries do: with an id, and an end', async () => {
    await client.analytics.flow({ by: ['type'], queryId: 'flow-1' })
    expect(await client.optimizer.getQueryStats('flow-1')).toMatchObject({ status: 'done', rowsReturned: 5 })
    const { code } = await failure(client.analytics.flow({ by: ['type'], signal: AbortSignal.abort() }))
    expect(code).toBe('QUERY_CANCELLED')
  })
})
