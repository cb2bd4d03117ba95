// Sequences: each construct over a handful of events whose matches were derived by hand.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventFilter, EventSequence, EventsClient, SequenceMatch } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'

let database: TestDatabase
let client: EventsClient

const START = Date.UTC(2026, 0, 1)
const type = (letter: string) => `T.${letter}.X`
const id = (tape: number, i: number) => `01900000-0000-7000-8000-${String(tape * 1000 + i).padStart(12, '0')}`

/** Tapes of events by name: a letter is an event of its type at its minute, keyed by `tags.k`. Spaces are minutes. */
const TAPES: string[] = []
async function tape(letters: string, key: string | null = 'k') {
  const name = TAPES.push(letters) - 1
  const events = [...letters].flatMap((letter, i) =>
    letter === ' ' ? [] : [{ id: id(name, i), type: type(letter), at: new Date(START + i * 60_000).toISOString() }]
  )
  for (const { id, type, at } of events)
    await database.admin.query(
      `INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data) VALUES ($1, $2, $3, $4, '{}', '{}')`,
      [id, type, at, { tape: String(name), ...(key === null ? {} : { k: key }) }]
    )
  return { tags: { tape: String(name) } }
}

const step = (letter: string, more: object = {}) => ({ where: { eventTypes: [type(letter)] }, ...more })

/** Matches as the minutes of their events. */
const minutes = (matches: SequenceMatch[]) =>
  matches.map(m => m.events.map(e => (Date.parse(e.timestamp) - START) / 60_000).join(' '))

async function find(filter: EventFilter, sequence: Omit<EventSequence, 'by'> & { by?: string[] }) {
  const { rows } = await client
    .query()
    .where(filter)
    .sequence({ by: ['tags.k'], ...sequence } as EventSequence)
    .execute()
  return rows
}

beforeAll(async () => {
  database = await TestDatabase.create()
  client = await database.connect()
})
afterAll(() => database?.drop())

describe('steps', () => {
  it('come in the order of time, with other events between them', async () => {
    const filter = await tape('A X B A B')
    const found = await find(filter, { steps: [step('A', { as: 'a' }), step('B')] })
    expect(minutes(found)).toEqual(['0 4', '6 8'])
    const [first] = found
    expect(first).toEqual({
      key: { 'tags.k': 'k' },
      steps: { a: [first!.events[0]] },
      events: [
        {
          id: id(0, 0),
          type: 'T.A.X',
          timestamp: '2026-01-01T00:00:00.000Z',
          tags: { k: 'k', tape: '0' },
          metadata: {},
          data: {}
        },
        {
          id: id(0, 4),
          type: 'T.B.X',
          timestamp: '2026-01-01T00:04:00.000Z',
          tags: { k: 'k', tape: '0' },
          metadata: {},
          data: {}
        }
      ],
      startedAt: '2026-01-01T00:00:00.000Z',
      endedAt: '2026-01-01T00:04:00.000Z',
      durationMs: 240_000
    })
  })

  it('of the latest partial win', async () => {
    const filter = await tape('AABB')
    expect(minutes(await find(filter, { steps: [step('A'), step('B')] }))).toEqual(['1 2'])
    expect(minutes(await find(filter, { steps: [step('A'), step('B')], match: 'first' }))).toEqual(['0 2'])
    expect(minutes(await find(filter, { steps: [step('A'), step('B')], match: 'all' })).sort()).toEqual([
      '0 2',
      '0 3',
      '1 2',
      '1 3'
    ])
  })

  it('are refused with their place', async () => {
    const at = async (sequence: unknown) =>
      (
        await failure(
          client
            .query()
            .sequence(sequence as EventSequence)
            .execute()
        )
      ).path
    expect(await at({ steps: [] })).toBe('sequence.steps')
    expect(await at({ steps: [{ where: {} }, { where: { eventType: [] } }] })).toBe('sequence.steps[1].where.eventType')
    expect(await at({ steps: [{ where: {}, gap: { min: 1 } }] })).toBe('sequence.steps[0].gap')
  })
})

describe('times', () => {
  it('within maxSpan, inclusive', async () => {
    const filter = await tape('A B  A  B')
    const steps = [step('A'), step('B')]
    expect(minutes(await find(filter, { steps, maxSpan: '2 minutes' }))).toEqual(['0 2'])
    expect(minutes(await find(filter, { steps, maxSpan: '3 minutes' }))).toEqual(['0 2', '5 8'])
    expect(minutes(await find(filter, { steps, maxSpan: 119_999.9 }))).toEqual([])
  })

  it('until ends what it follows', async () => {
    const filter = await tape('AUBABU')
    const sequence = { steps: [step('A'), step('B')], until: { where: { eventTypes: [type('U')] } } }
    expect(minutes(await find(filter, sequence))).toEqual(['3 4'])
  })
})
