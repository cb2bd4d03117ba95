// The plan of a parallel query: what would be cut, how, and why not.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { EventsClient, QueryStep } from '../index.js'
import { TestDatabase } from './support/database'

let database: TestDatabase
let client: EventsClient
beforeAll(async () => {
  database = await TestDatabase.create({ events: 20_000 })
  client = await database.connect({ pool: { max: 4 } })
}, 60_000)
afterAll(async () => {
  await database?.quiet()
  await database?.drop()
})

const flat = (steps: readonly QueryStep[]): QueryStep[] => steps.flatMap(step => [step, ...flat(step.children ?? [])])

it('shows each slice with the plan of its statement, and what merges them', async () => {
  const since = client.query().where({ startTime: '2024-01-01' })
  const plan = await since.groupBy(['type']).count().parallel(3).explain()
  expect(plan.strategy).toBe('parallel')
  expect(plan.hints).toEqual([{ hint: 'parallel', value: '3', honoured: true, how: '3 slices by timestamp' }])
  expect(plan.steps.map(step => step.operation)).toEqual(['Parallel merge'])
  const slices = flat(plan.steps).filter(step => step.operation === 'Parallel slice')
  expect(slices.map(slice => slice.condition)).toEqual([
    expect.stringMatching(/^timestamp < 2024-01-01T/u),
    expect.stringMatching(/^timestamp >= 2024-01-01T.* AND timestamp < 2024-01-01T/u),
    expect.stringMatching(/^timestamp >= 2024-01-01T/u)
  ])
  for (const slice of slices) {
    expect(flat([slice]).some(step => step.relation === 'events')).toBe(true)
    expect(slice.actualRows).toBeUndefined()
  }
  expect(String(plan)).toMatch(/-> Parallel slice/u)
})

it('shows the pages of each slice where all events are read, and reads no others', async () => {
  const plan = await client.query().groupBy(['type']).count().parallel(2).explain({ analyze: true })
  expect(plan.hints).toMatchObject([{ how: '2 slices by the pages of the table' }])
  const slices = flat(plan.steps).filter(step => step.operation === 'Parallel slice')
  expect(slices.map(slice => slice.condition)).toEqual([
    expect.stringMatching(/^page >= 0 AND page < \d+$/u),
    expect.stringMatching(/^page >= \d+$/u)
  ])
  const reads = flat(plan.steps).filter(step => step.relation === 'events')
  expect(reads.map(step => step.operation)).toEqual(['Tid Range Scan', 'Tid Range Scan'])
  expect(reads.reduce((sum, step) => sum + (step.actualRows ?? 0), 0)).toBe(20_000)
})

it('measures each slice where it is analyzed', async () => {
  const plan = await client.query().where('data.n', 'lt', 15_000).count().parallel(2).explain({ analyze: true })
  const reads = flat(plan.steps).filter(step => step.relation === 'events')
  expect(reads.reduce((sum, step) => sum + (step.actualRows ?? 0), 0)).toBe(15_000)
})

it('is cut by hash where groups must stay whole, and by bucket', async () => {
  const median = client.query().aggregate({ fn: 'median', field: 'data.n' })
  const conditions = async (query: typeof median) =>
    flat((await query.parallel(2).explain()).steps)
      .filter(step => step.operation === 'Parallel slice')
      .map(step => step.condition)
  expect(await conditions(median.groupBy(['type']) as unknown as typeof median)).toEqual([
    'hash of the group % 2 = 0',
    'hash of the group % 2 = 1'
  ])
  const [first] = await conditions(median.timeBucket('1 hour') as unknown as typeof median)
  // A slice ends where a bucket begins.
  expect(first).toMatch(/^timestamp < 2024-01-01T\d\d:00:00/u)
})

it('says why not', async () => {
  const plan = await client.query().aggregate({ fn: 'median', field: 'data.n' }).parallel(2).explain()
  expect(plan.strategy).toBe('single')
  expect(plan.hints).toMatchObject([{ honoured: false, reason: expect.stringMatching(/does not come from parts/u) }])
  const single = await client.query().count().explain()
  expect([single.strategy, single.hints]).toEqual(['single', []])
})

it('of rows shows the slices that are merged in order', async () => {
  const plan = await client.query().orderBy('timestamp').limit(5).parallel(2).explain()
  expect(plan.strategy).toBe('parallel')
  expect(flat(plan.steps).filter(step => step.operation === 'Parallel slice')).toHaveLength(2)
})

it('a query that nobody hinted at is cut once it has taken long', async () => {
  const own = await database.connect()
  const query = own.query().groupBy(['tags.text']).count().orderBy('tags.text')
  const quick = await query.execute()
  expect((await query.execute()).hints).toBeUndefined()
  // Long by waiting for its table.
  await database.admin.query('BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE')
  const slow = query.execute()
  await sleep(1200)
  await database.admin.query('ROLLBACK')
  expect(await slow).toMatchObject({ rows: quick.rows })
  expect((await query.explain()).strategy).toBe('parallel')
  const { rows, hints } = await query.execute()
  expect(rows).toEqual(quick.rows)
  expect(hints).toMatchObject([{ hint: 'parallel', value: 'auto', honoured: true }])
  expect((await query.hint({ parallel: false }).execute()).hints).toBeUndefined()
  await own.close()
})
