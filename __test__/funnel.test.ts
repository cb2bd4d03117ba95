// Funnels and retention over cases that are small enough to count.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventsClient } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'

let database: TestDatabase
let client: EventsClient

const START = Date.UTC(2026, 0, 5)
const HOUR = 3_600_000
/** Events by case: a letter and the hour at which it happened. */
const CASES: Record<string, [string, number][]> = {
  full: [
    ['V', 0],
    ['C', 1],
    ['P', 3]
  ],
  slow: [
    ['V', 0],
    ['C', 1],
    ['P', 30]
  ],
  half: [
    ['V', 0],
    ['C', 2]
  ],
  detour: [
    ['V', 0],
    ['X', 1],
    ['C', 2],
    ['P', 3]
  ],
  again: [
    ['V', 0],
    ['C', 1],
    ['C', 2],
    ['P', 3]
  ],
  tie: [
    ['V', 5],
    ['C', 5]
  ],
  never: [
    ['C', 0],
    ['P', 1]
  ]
}

beforeAll(async () => {
  database = await TestDatabase.create()
  client = await database.connect()
  await client.append(
    Object.entries(CASES).flatMap(([user, events]) =>
      events.map(([letter, hour], i) => ({
        id: `01900000-0000-7000-8000-${String(Object.keys(CASES).indexOf(user) * 100 + i).padStart(12, '0')}`,
        type: `STEP.${letter}`,
        timestamp: new Date(START + hour * HOUR),
        tags: { user }
      }))
    )
  )
  await client.append([{ type: 'STEP.V', timestamp: new Date(START) }])
})
afterAll(() => database?.drop())

const steps = ['V', 'C', 'P'].map(letter => ({ as: letter, where: { eventTypes: [`STEP.${letter}`] } }))
const counts = async (mode?: 'default' | 'strictOrder' | 'strictIncrease' | 'strictDeduplication') => {
  const report = await client.analytics.funnel(steps, { by: ['tags.user'], window: '1 day', ...(mode && { mode }) })
  return report.steps.map(step => step.count)
}

describe('funnel', () => {
  it('counts how far keys get within the window', async () => {
    const report = await client.analytics.funnel(steps, { by: ['tags.user'], window: '1 day' })
    // From view to cart: full 1, slow 1, half 2, detour 2, again 2 (the latest cart), tie 0. On to payment: 2, 1, 1.
    expect(report).toEqual({
      started: 6,
      completed: 3,
      steps: [
        { as: 'V', count: 6, conversion: 1, medianTimeFromPrevious: null },
        { as: 'C', count: 6, conversion: 1, medianTimeFromPrevious: 1.5 * HOUR },
        { as: 'P', count: 3, conversion: 0.5, medianTimeFromPrevious: HOUR }
      ]
    })
  })

  it('has the modes of windowFunnel', async () => {
    expect(await counts('default')).toEqual([6, 6, 3])
    expect(await counts('strictOrder')).toEqual([6, 5, 1])
    expect(await counts('strictIncrease')).toEqual([6, 5, 3])
    expect(await counts('strictDeduplication')).toEqual([6, 6, 2])
  })

  it('is filtered, and refuses what is no funnel', async () => {
    const options = { by: ['tags.user'], window: '1 day' } as const
    const some = await client.analytics.funnel(steps, { ...options, filter: { tags: { user: 'half' } } })
    expect([some.started, some.completed]).toEqual([1, 0])
    const none = await client.analytics.funnel(steps, { ...options, filter: { tags: { user: 'nobody' } } })
    expect(none.steps.map(s => [s.count, s.conversion])).toEqual([
      [0, 0],
      [0, 0],
      [0, 0]
    ])
    const absent = await failure(client.analytics.funnel([{ where: {}, absent: true }], options), 'INVALID_QUERY')
    expect(absent.path).toBe('steps[0].absent')
    expect((await failure(client.analytics.funnel([], options))).path).toBe('steps')
  })
})

describe('retention', () => {
  it('counts who comes back, by the period of the first start', async () => {
    const report = await client.analytics.retention({
      by: ['tags.user'],
      start: { eventTypes: ['STEP.V'] },
      returning: { eventTypes: ['STEP.P'] },
      period: '2 hours',
      periods: 3
    })
    // Monday 0:00: full (hour 3, period 1), slow (30), half, detour (3), again (3). 4:00: tie.
    expect(report).toEqual({
      period: '2 hours',
      cohorts: [
        { cohort: '2026-01-05T00:00:00.000Z', size: 5, retained: [0, 3, 0] },
        { cohort: '2026-01-05T04:00:00.000Z', size: 1, retained: [0, 0, 0] }
      ]
    })
  })

  it('refuses periods that are none', async () => {
    const options = { by: [], start: {}, returning: {}, period: '1 day', periods: 0 } as const
    expect((await failure(client.analytics.retention(options), 'INVALID_QUERY')).path).toBe('periods')
  })
})
