// Conditions joined by and, or and not; event filters, one and several.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventFilter, QueryCondition } from '../index.js'
import { shown } from './reference/check'
import { expectCondition, expectFilter, labelled } from './reference/handmade'
import { Subject } from './reference/subject'
import { failure } from './support/errors'

const EVENTS = labelled({
  a: {
    type: 'CODE.GENERATED.SUCCESS',
    timestamp: '2026-01-01T00:00:00Z',
    tags: { issueId: '1', prId: '7', userId: 'u', provider: 'p', platform: 'x' },
    data: { n: 1, s: 'x' }
  },
  b: {
    type: 'CODE.GENERATED.FAILURE',
    timestamp: '2026-01-01T00:00:00.000001Z',
    tags: { issueId: '2', userId: 'v' },
    data: { n: 2 }
  },
  c: {
    type: 'CODE',
    timestamp: '2026-01-02T00:00:00Z',
    tags: { issueId: '1', prId: '8', 'a:b': 'c:d' },
    data: { s: 'x' }
  },
  d: {
    type: 'CODEX.A',
    timestamp: '2026-01-03T00:00:00Z',
    tags: { userId: 'u', note: '' },
    data: { n: 'text', s: null }
  },
  e: { type: 'PR.MERGED.SUCCESS', timestamp: '2026-01-04T00:00:00Z' }
})
const ALL = ['a', 'b', 'c', 'd', 'e']

let subject: Subject
beforeAll(async () => {
  subject = await Subject.of(EVENTS)
})
afterAll(() => subject?.drop())

/** Of `data.n`: a is 1, b is 2, c and e have none, d has text, which has no order with a number. */
const small: QueryCondition = { field: 'data.n', op: 'lt', value: 2 } // true, false, unknown, unknown, unknown
const anyN: QueryCondition = { field: 'data.n', op: 'exists' } // true, true, false, true, false
const isX: QueryCondition = { field: 'data.s', op: 'eq', value: 'x' } // true, unknown, true, false, unknown
const never: QueryCondition = { not: { field: 'id', op: 'exists' } }
const always: QueryCondition = { field: 'id', op: 'exists' }

describe('three-valued logic', () => {
  it.each<[QueryCondition, string[], string[]]>([
    [small, ['a'], ['b']],
    [isX, ['a', 'c'], ['d']],
    [anyN, ['a', 'b', 'd'], ['c', 'e']],
    [{ not: small }, ['b'], ['a']],
    [{ not: { not: small } }, ['a'], ['b']],
    // false and unknown is false; true and unknown is unknown.
    [{ and: [small, never] }, [], ALL],
    [{ and: [small, always] }, ['a'], ['b']],
    [{ and: [small, isX] }, ['a'], ['b', 'd']],
    [{ and: [small, anyN] }, ['a'], ['b', 'c', 'e']],
    // true or unknown is true; false or unknown is unknown.
    [{ or: [small, always] }, ALL, []],
    [{ or: [small, never] }, ['a'], ['b']],
    [{ or: [small, isX] }, ['a', 'c'], []],
    [{ or: [small, { not: isX }] }, ['a', 'd'], []],
    [{ and: [isX] }, ['a', 'c'], ['d']],
    [{ or: [isX] }, ['a', 'c'], ['d']],
    [{ not: { and: [small, { or: [isX, { not: anyN }] }] } }, ['b', 'd'], ['a']],
    [{ not: { or: [small, { and: [isX, anyN] }] } }, [], ['a']],
    [
      {
        not: {
          or: [
            { field: 'data.n', op: 'between', value: [2, 9] },
            { field: 'data.n', op: 'in', value: ['text'] }
          ]
        }
      },
      ['a'],
      ['b', 'd']
    ]
  ])('%j', async (condition, expected, negated) => {
    await expectCondition(subject, condition, expected, negated)
  })

  it('goes 60 deep', async () => {
    let condition = isX as QueryCondition
    for (let i = 0; i < 60; i++) condition = { not: condition }
    await expectCondition(subject, condition, ['a', 'c'], ['d'])
    for (let i = 0; i < 20; i++) condition = i % 2 ? { or: [condition, never] } : { and: [always, condition] }
    expect(
      (
        await failure(
          subject.client
            .query()
            .where({ not: { not: condition } })
            .execute(),
          'INVALID_QUERY'
        )
      ).message
    ).toContain('nested')
  })

  it('goes wide', async () => {
    const arms = Array.from({ length: 3000 }, (_, i): QueryCondition => ({ field: 'data.n', op: 'eq', value: i + 2 }))
    await expectCondition(subject, { or: arms }, ['b'], ['a', 'd'])
    await expectCondition(subject, { not: { and: arms } }, ['a', 'd', 'b'])
  })

  it('takes lists of many values', async () => {
    const value = Array.from({ length: 50_000 }, (_, i) => i + 2)
    await expectCondition(subject, { field: 'data.n', op: 'in', value }, ['b'], ['a', 'd'])
    await expectCondition(subject, { field: 'tags.issueId', op: 'notIn', value: value.map(String) }, ['a', 'c'], ['b'])
  })
})

describe('an event filter', () => {
  const id = (label: string) => EVENTS.find(event => event.metadata.label === label)!.id
  it.each<[EventFilter, string[]]>([
    [{}, ALL],
    [{ eventIds: [id('a'), id('e').toUpperCase()] }, ['a', 'e']],
    [{ eventTypes: ['CODE'] }, ['c']],
    [{ eventTypes: ['CODE.*'] }, ['a', 'b']],
    [{ eventTypes: ['CODE.GENERATED.*'] }, ['a', 'b']],
    [{ eventTypes: ['CODE.GENERATED.SUCCESS.*'] }, []],
    [{ eventTypes: ['CODE', 'CODE.*', 'PR.*'] }, ['a', 'b', 'c', 'e']],
    [{ eventTypes: ['CODE', 'CODEX.A'] }, ['c', 'd']],
    [{ issueIds: ['1'] }, ['a', 'c']],
    [{ issueIds: ['1', '2', '3'] }, ['a', 'b', 'c']],
    [{ prIds: ['8'] }, ['c']],
    [{ userIds: ['u'] }, ['a', 'd']],
    [{ providers: ['p', 'q'] }, ['a']],
    [{ platforms: ['x'] }, ['a']],
    [{ tags: { issueId: '1' } }, ['a', 'c']],
    [{ tags: { issueId: ['1', '2'], userId: 'v' } }, ['b']],
    [{ tags: { note: '' } }, ['d']],
    [{ tags: { 'a:b': 'c:d' } }, ['c']],
    [{ tags: {} }, ALL],
    [{ startTime: '2026-01-02' }, ['c', 'd', 'e']],
    [{ endTime: '2026-01-02' }, ['a', 'b']],
    [{ endTime: new Date('2026-01-02T00:00:00.001Z') }, ['a', 'b', 'c']],
    [{ startTime: '2026-01-01T00:00:00.000001Z', endTime: '2026-01-03' }, ['b', 'c']],
    [{ startTime: '2026-01-02', endTime: '2026-01-02' }, []],
    [{ where: small, issueIds: ['1'], startTime: '2026-01-01' }, ['a']],
    [{ anyOf: [{ types: ['CODE'] }] }, ['c']],
    [{ anyOf: [{ tags: ['issueId:1'] }] }, ['a', 'c']],
    [{ anyOf: [{ types: ['CODE', 'PR.MERGED.SUCCESS'], tags: ['issueId:1', 'prId:8'] }] }, ['c']],
    [{ anyOf: [{ types: ['CODE'], tags: ['issueId:2'] }, { tags: ['userId:v'] }] }, ['b']],
    [{ anyOf: [{ tags: ['a:b:c:d'] }] }, []],
    [{ anyOf: [{ tags: ['note:'] }] }, ['d']],
    [{ anyOf: [{}] }, ALL],
    [{ anyOf: [{ types: ['NONE'] }, {}], issueIds: ['1'] }, ['a', 'c']]
  ])('%j', async (filter, expected) => {
    await expectFilter(subject, filter, expected)
  })
})

describe('where() called several times', () => {
  const labels = async (...filters: (EventFilter | QueryCondition)[]) => {
    const builder = filters.reduce((built, filter) => built.where(filter), subject.client.query())
    const { rows } = await builder.orderBy('id').select({ label: 'metadata.label' }).execute()
    return rows.map(row => row.label)
  }
  const inEveryOrder = (filters: (EventFilter | QueryCondition)[]): (EventFilter | QueryCondition)[][] =>
    filters.length < 2
      ? [filters]
      : filters.flatMap((first, i) => inEveryOrder(filters.filter((_, at) => at !== i)).map(rest => [first, ...rest]))

  it.each<[(EventFilter | QueryCondition)[], string[]]>([
    [[{}, {}], ALL],
    [[{ issueIds: ['1', '2'] }, { issueIds: ['2', '3'] }], ['b']],
    [[{ issueIds: ['1'] }, { issueIds: ['2'] }], []],
    [
      [
        { eventTypes: ['CODE.*'] },
        { eventTypes: ['CODE', 'CODE.GENERATED.*'] },
        { eventTypes: ['CODE.GENERATED.SUCCESS'] }
      ],
      ['a']
    ],
    [[{ tags: { issueId: '1' } }, { tags: { prId: ['8', '9'] } }], ['c']],
    [[{ tags: { issueId: '1' } }, { tags: { issueId: '2' } }], []],
    [
      [{ startTime: '2026-01-01' }, { startTime: '2026-01-02' }],
      ['c', 'd', 'e']
    ],
    [[{ endTime: '2026-01-04' }, { endTime: '2026-01-02' }, { startTime: '2026-01-01T00:00:00.000001Z' }], ['b']],
    [[{ startTime: '2026-01-03' }, { endTime: '2026-01-02' }], []],
    [
      [
        { startTime: '2026-01-01', endTime: '2026-01-03' },
        { startTime: '2026-01-02', endTime: '2026-01-05' }
      ],
      ['c']
    ],
    [
      [
        { anyOf: [{ tags: ['issueId:1'] }, { types: ['CODEX.A'] }] },
        { anyOf: [{}] },
        { anyOf: [{ types: ['CODE', 'CODEX.A'] }] }
      ],
      ['c', 'd']
    ],
    [[{ eventIds: [EVENTS[0].id, EVENTS[1].id] }, { eventIds: [EVENTS[1].id.toUpperCase()] }], ['b']],
    [[{ where: small }, small, { where: isX }], ['a']],
    [[{ where: isX, issueIds: ['1'] }, { where: { not: small } }, { issueIds: ['1', '2'] }], []]
  ])('%j', async (filters, expected) => {
    for (const order of inEveryOrder(filters)) expect(await labels(...order), shown(order)).toEqual(expected)
  })

  it.each<[string, object[], RegExp]>([
    ['a bad prefix', [{ eventTypes: ['CODE.*'] }, { eventTypes: ['CODE*'] }], /^filter\.eventTypes\[0\]$/],
    ['a type that is no text', [{ eventTypes: ['CODE.*'] }, { eventTypes: [5] }], /^filter\.eventTypes\[0\]$/],
    ['an empty list of types', [{ eventTypes: ['CODE.*'] }, { eventTypes: [] }], /^filter\.eventTypes$/],
    ['an empty list of ids', [{ issueIds: ['1'] }, { issueIds: [] }], /^filter\.(issueIds|where\.value)$/],
    ['text for a list', [{ issueIds: ['1'] }, { issueIds: '1' }], /^filter\.(issueIds|where\.value)$/],
    ['null for a list', [{ issueIds: ['1'] }, { issueIds: null }], /^filter\.(issueIds|where\.value)$/],
    ['undefined for a list', [{ issueIds: ['1'] }, { issueIds: undefined }], /^filter\.(issueIds|where\.value)$/],
    [
      'undefined for a time',
      [{ startTime: '2026-01-01' }, { startTime: undefined }],
      /^filter\.(startTime|where\.value)$/
    ],
    ['undefined for a condition', [{ where: isX }, { where: undefined }], /^filter\.where\.and\[[01]\]$/],
    [
      'a DCB tag without a colon',
      [{ anyOf: [{}] }, { anyOf: [{ tags: ['issueId'] }] }],
      /^filter\.anyOf\[0\]\.tags\[0\]$/
    ],
    ['a prefix in a DCB item', [{ anyOf: [{}] }, { anyOf: [{ types: ['A.*'] }] }], /^filter\.anyOf\[0\]\.types\[0\]$/],
    ['an unknown member of a DCB item', [{ anyOf: [{}] }, { anyOf: [{ type: 'A' }] }], /^filter\.anyOf\[0\]\.type$/],
    ['a DCB item that is none', [{ anyOf: [{}] }, { anyOf: [null] }], /^filter\.anyOf\[0\]$/],
    ['tags that are a list', [{ tags: { a: 'b' } }, { tags: ['a'] }], /^filter\.tags$/],
    ['tags that are null', [{ tags: { a: 'b' } }, { tags: null }], /^filter\.tags$/],
    ['a tag without a name', [{ tags: { a: 'b' } }, { tags: { '': 'b' } }], /^filter\.tags\./],
    [
      'a reversed range',
      [
        { startTime: '2026-01-01', endTime: '2026-01-02' },
        { startTime: '2026-01-02', endTime: '2026-01-01' }
      ],
      /^filter\.startTime$/
    ],
    ['an unknown member', [{ constructor: 1 }, { constructor: 1 }], /^filter\.constructor$/],
    ['a member called __proto__', [{}, JSON.parse('{"__proto__":1}')], /^filter\.__proto__$/],
    ['a time member', [{ time: 1 }, { startTime: '2026-01-01' }], /^filter\.time$/]
  ])('%s is refused, first or last', async (_, filters, path) => {
    for (const order of [filters, [...filters].reverse()]) {
      const error = await failure(labels(...(order as EventFilter[])), 'INVALID_QUERY')
      expect(error.path, shown(order)).toMatch(path)
    }
  })

  it('leaves the shared prefix alone', async () => {
    const base = subject.client.query().where({ issueIds: ['1'] })
    const [some, others] = [base.where({ prIds: ['7'] }), base.where({ prIds: ['8'] })]
    const only = async (builder: typeof base) =>
      (await builder.select({ label: 'metadata.label' }).execute()).rows.map(row => row.label)
    expect([await only(some), await only(others), (await only(base)).sort()]).toEqual([['a'], ['c'], ['a', 'c']])
  })

  it('takes what it was given, not what becomes of it', async () => {
    const value = [1]
    const builder = subject.client.query().where('data.n', 'in', value)
    value.push(2)
    expect(builder.toQuery().filter.where).toEqual({ field: 'data.n', op: 'in', value: [1] })
    const query = builder.toQuery()
    ;(query.filter.where as { value: number[] }).value.push(3)
    expect(builder.toQuery().filter.where).toEqual({ field: 'data.n', op: 'in', value: [1] })
  })

  it('takes frozen filters', async () => {
    const frozen = Object.freeze({
      issueIds: Object.freeze(['1']),
      where: Object.freeze({ field: 'data.n', op: 'in', value: Object.freeze([1, 1n]) })
    })
    expect(await labels(frozen as EventFilter, frozen as EventFilter)).toEqual(['a'])
    const { rowCount } = await subject.client.optimizer.executeQuery({ filter: frozen as EventFilter })
    expect(rowCount).toBe(1)
  })

  it('refuses what contains itself', async () => {
    const circle: Record<string, unknown> = {}
    circle.children = [{ parent: circle }, { parent: circle }]
    const error = await failure(subject.client.query().where('data', 'contains', circle).execute(), 'INVALID_QUERY')
    expect(error.message).toContain('contains itself')
  })
})

describe('a contradiction', () => {
  it.each<[EventFilter]>([
    [
      {
        where: {
          and: [
            { field: 'type', op: 'eq', value: 'A' },
            { field: 'type', op: 'eq', value: 'B' }
          ]
        }
      }
    ],
    [{ where: { and: [small, { field: 'data.n', op: 'gt', value: 2 }] } }],
    [{ where: { field: 'data.n', op: 'between', value: [2, 1] } }],
    [
      {
        where: {
          and: [
            { field: 'data.n', op: 'eq', value: 1 },
            { field: 'data.n', op: 'exists', value: false }
          ]
        }
      }
    ],
    [{ where: { not: { or: [small, { field: 'data.n', op: 'gte', value: 2 }] } } }],
    [{ startTime: '2026-01-01', endTime: '2026-01-01' }],
    [{ issueIds: ['1'], where: { field: 'tags.issueId', op: 'ne', value: '1' } }],
    [{ eventTypes: ['CODE.*'], where: { field: 'type', op: 'eq', value: 'CODE' } }]
  ])('%j is empty without the database', async filter => {
    const { connect } = await import('../index.js')
    const client = await connect({ url: subject.url, table: { name: 'no_such_table' } })
    try {
      expect(await client.query().where(filter).execute()).toMatchObject({ rows: [], rowCount: 0 })
      for await (const row of client.query().where(filter).executeStream()) expect(row).toBeUndefined()
      await failure(client.query().execute(), 'UNKNOWN_TABLE')
    } finally {
      await client.close()
    }
  })
})
