// Sequences: each construct over a handful of events whose matches were derived by hand.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventFilter, EventSequence, EventsClient, SequenceMatch } from '../index.js'
import { TestDatabase } from './support/database'
import { drain, failure } from './support/errors'

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
  return rows as SequenceMatch[]
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

  it('until ends what it follows, and not what it completes', async () => {
    const sequence = { steps: [step('A'), step('B')], until: { where: { eventTypes: [type('U')] } } }
    expect(minutes(await find(await tape('AUBABU'), sequence))).toEqual(['3 4'])
    const own = { steps: [step('A'), step('B')], until: { where: { eventTypes: [type('B')] } } }
    expect(minutes(await find(await tape('AB AB'), own))).toEqual(['0 1', '3 4'])
  })

  it('between steps are at least, and at most', async () => {
    const filter = await tape('AA B   B')
    const gap = (gap: object) => find(filter, { steps: [step('A'), step('B', { gap })] })
    expect(minutes(await gap({ min: '3 minutes' }))).toEqual(['0 3', '1 7'])
    expect(minutes(await gap({ max: '2 minutes' }))).toEqual(['1 3'])
    expect(minutes(await gap({ min: '4 minutes', max: '6 minutes' }))).toEqual(['1 7'])
  })
})

describe('runs and absences', () => {
  it('repeat a step', async () => {
    const found = await find(await tape('FFXFR FR'), { steps: [step('F', { as: 'failed', runs: 3 }), step('R')] })
    // As if the step were written three times: what began at the second failure goes on, too.
    expect(minutes(found)).toEqual(['0 1 3 4', '1 3 6 7'])
    expect(found[0]?.steps).toMatchObject({ failed: { length: 3 } })
  })

  it('in the middle', async () => {
    const filter = await tape('AXB A B')
    expect(minutes(await find(filter, { steps: [step('A'), step('X', { absent: true }), step('B')] }))).toEqual(['4 6'])
  })

  it('before a match, as far back as maxSpan from its end', async () => {
    const steps = [step('X', { absent: true }), step('A'), step('B')]
    expect(minutes(await find(await tape('AB X AB'), { steps }))).toEqual(['0 1'])
    // The second B is at minute 7: minute 4 is 3 minutes before it.
    const filter = await tape('AB XX AB')
    expect(minutes(await find(filter, { steps, maxSpan: '2 minutes' }))).toEqual(['0 1', '6 7'])
    expect(minutes(await find(filter, { steps, maxSpan: '3 minutes' }))).toEqual(['0 1'])
  })

  it('after a match, which stays open while it can come', async () => {
    const steps = [step('A'), step('X', { absent: true })]
    const filter = await tape('A X  A   A')
    const open = (found: SequenceMatch[]) => found.map(m => [minutes([m])[0], m.open])
    expect(open(await find(filter, { steps }))).toEqual([
      ['5', true],
      ['9', true]
    ])
    // The last event is at minute 9: what could come until then has come.
    expect(open(await find(filter, { steps, maxSpan: '1 minute' }))).toEqual([
      ['0', false],
      ['5', false],
      ['9', true]
    ])
    const gap = [step('A'), step('X', { absent: true, gap: { max: '4 minutes' } })]
    expect(open(await find(filter, { steps: gap }))).toEqual([
      ['5', true],
      ['9', true]
    ])
    const short = [step('A'), step('X', { absent: true, gap: { max: '3 minutes' } })]
    expect(open(await find(filter, { steps: short }))).toEqual([
      ['5', false],
      ['9', true]
    ])
  })
})

describe('keys', () => {
  it('that are null join nothing, and no key at all is one partition', async () => {
    const a = await tape('A B', null)
    expect(minutes(await find(a, { steps: [step('A'), step('B')] }))).toEqual([])
    const whole = await find(a, { by: [], steps: [step('A'), step('B')] })
    expect(whole.map(m => m.key)).toEqual([{}])
  })

  it('come from other fields in other steps', async () => {
    const insert = (i: number, type: string, data: string) =>
      database.admin.query(
        `INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data) VALUES ($1, $2, $3, '{"case":"keys","n":"7"}', '{}', $4)`,
        [id(900, i), type, new Date(START + i * 60_000).toISOString(), data]
      )
    await insert(0, 'K.OPENED', '{"number":7,"ref":1}')
    await insert(1, 'K.LINKED', '{"target":7.0,"ref":1.0}')
    await insert(2, 'K.LINKED', '{"target":8}')
    const by = (field: string, type: string) => ({ by: [field], where: { eventTypes: [type] } })
    const filter = { tags: { case: 'keys' } }
    const steps = [by('data.number', 'K.OPENED'), by('data.target', 'K.LINKED')]
    const found = await client.analytics.findSequences({ steps }, filter)
    expect(found.map(m => [m.key, minutes([m])[0]])).toEqual([[{ 'data.number': 7 }, '0 1']])
    // A tag and a number meet as text.
    const mixed = { steps: [by('data.number', 'K.OPENED'), by('tags.n', 'K.LINKED')] }
    const met = await client.analytics.findSequences(mixed, filter)
    expect(met.map(m => [m.key, minutes([m])[0]])).toEqual([[{ 'data.number': '7' }, '0 1']])
    // Only one step has fields of its own: they stand instead of the sequence's.
    const replaced = [{ where: { eventTypes: ['K.OPENED'] } }, by('data.target', 'K.LINKED')]
    const instead = await find(filter, { by: ['data.number'], steps: replaced })
    expect(instead.map(m => [m.key, minutes([m])[0]])).toEqual([[{ 'data.number': 7 }, '0 1']])
    const numbers = await find(filter, {
      by: ['data.ref'],
      steps: [{ where: { eventTypes: ['K.OPENED'] } }, { where: { eventTypes: ['K.LINKED'] } }]
    })
    expect(numbers.map(m => m.key)).toEqual([{ 'data.ref': 1 }])
    const error = await failure(
      find(filter, { by: [], steps: [by('tags.n', 'K.OPENED'), { by: ['type', 'id'], where: {} }] })
    )
    expect(error.path).toBe('sequence.steps[1].by')
  })
})

describe('runs of a query', () => {
  it('have limits, pages, streams and one snapshot', async () => {
    const filter = await tape('ABABABABAB')
    const sequence = { by: ['tags.k'], steps: [step('A'), step('B')] }
    const query = client.query().where(filter).sequence(sequence)
    const all = (await query.execute()).rows
    expect(all.length).toBe(5)
    expect((await query.limit(2).offset(1).execute()).rows).toEqual(all.slice(1, 3))
    expect((await query.limit(0).execute()).rows).toEqual([])
    expect(await drain(query.executeStream())).toEqual(all)
    expect(await client.analytics.findSequences(sequence, filter)).toEqual(all)
    const few = await failure(find(filter, { steps: sequence.steps, maxMatches: 4 }), 'MATCH_LIMIT')
    expect(few.message).toContain('maxMatches')
    expect((await find(filter, { steps: sequence.steps, maxMatches: 5 })).length).toBe(5)
    const small = await database.connect({ limits: { maxRows: 3 } })
    await failure(small.query().where(filter).sequence(sequence).execute(), 'RESULT_TOO_LARGE')
    expect((await drain(small.query().where(filter).sequence(sequence).executeStream())).length).toBe(5)
    await database.quiet()
  })

  it('are stopped on the server', async () => {
    const slow = client.query().where({ where: { field: 'type', op: 'regex', value: 'T' } })
    const controller = new AbortController()
    controller.abort()
    const error = await failure(
      slow.sequence({ steps: [step('A')] }).execute({ signal: controller.signal }),
      'QUERY_CANCELLED'
    )
    expect(error.name).toBe('AbortError')
    await database.admin.query('BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE')
    try {
      const late = client.query().sequence({ steps: [step('A'), step('B')] })
      await failure(late.execute({ timeout: 300 }), 'QUERY_TIMEOUT')
      const stopped = failure(late.execute({ queryId: 'to-be-stopped' }), 'QUERY_CANCELLED')
      await database.running('SELECT')
      await client.optimizer.cancelQuery('to-be-stopped')
      await stopped
    } finally {
      await database.admin.query('ROLLBACK')
    }
    await database.quiet()
  })

  it('that nothing can satisfy ask nothing', async () => {
    const none = { field: 'type', op: 'in', value: ['a'] } as const
    const never = { and: [none, { field: 'type', op: 'eq', value: 'b' }] } as const
    expect(
      (
        await client
          .query()
          .where(never)
          .sequence({ steps: [step('A')] })
          .execute()
      ).rows
    ).toEqual([])
  })

  it('are explained, with what stays on the server', async () => {
    const filter = await tape('AAB')
    await tape('A A', 'alone')
    const query = client.query().where({ tags: { tape: [filter.tags.tape, String(TAPES.length - 1)] } })
    const asked = query.sequence({ by: ['tags.k'], steps: [step('A'), step('B')] })
    const plan = await asked.explain({ analyze: true })
    expect(plan).toMatchObject({ strategy: 'sequence', steps: [{ operation: 'Sequence Match', actualRows: 1 }] })
    expect(plan.steps[0]!.details).toEqual({ rowsScanned: 5, keys: 2, keysSkipped: 1, matches: 1 })
    expect(plan.rules.map(r => r.rule)).toEqual(['match-mask', 'match-relevant', 'match-required', 'match-unsorted'])
    expect(() => asked.toSQL()).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
    const hinted = await asked.hint({ useIndex: ['some_index'], priority: 'high' }).execute()
    expect(hinted.hints).toEqual([
      { hint: 'useIndex', value: 'some_index', honoured: false, reason: 'there is no index of this name' }
    ])
    await failure(asked.hint({ forceIndex: ['some_index'] }).execute(), 'UNKNOWN_INDEX')
  })
})
