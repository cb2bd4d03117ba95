// Malformed input: the code and the very path of what is wrong, before any SQL runs.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, type EventQuery, type EventsClient, EventsError } from '../index.js'
import { failure } from './support/errors'

// A table that is not there: a query that got as far as the database would be told so.
let client: EventsClient
beforeAll(async () => {
  client = await connect({ url: process.env.TAMMA_TEST_DATABASE_URL, table: { name: 'no_such_table' } })
})
afterAll(() => client?.close())

const where = (condition: unknown) => ({ filter: { where: condition } })
const leaf = (field: unknown, op: unknown, ...value: unknown[]) =>
  where(value.length > 0 ? { field, op, value: value[0] } : { field, op })
const nested = (depth: number) => {
  let value: unknown = 1
  for (let i = 0; i < depth; i++) value = [value]
  return value
}

/** Refused with INVALID_QUERY at a path; another code stands third. */
const CASES: Record<string, [query: unknown, path: string | undefined, code?: string][]> = {
  'the query': [
    [undefined, undefined],
    [null, undefined],
    [5, undefined],
    ['SELECT 1', undefined],
    [[], undefined],
    [() => {}, undefined],
    [Symbol('query'), undefined],
    [new Date(0), undefined],
    [5n, undefined],
    [new Map(), undefined],
    [{}, 'filter'],
    [{ filter: {}, filters: {} }, 'filters'],
    [{ filter: {}, Limit: 1 }, 'Limit'],
    [{ filter: {}, limit: undefined }, 'limit'],
    [{ filter: {}, id: 5 }, 'id'],
    [{ filter: {}, id: '' }, 'id'],
    [{ filter: {}, id: 'a\0' }, 'id'],
    [{ filter: {}, constructor: 1 }, 'constructor'],
    [JSON.parse('{"filter":{},"__proto__":{}}'), '__proto__']
  ],
  'the filter': [
    [{ filter: null }, 'filter'],
    [{ filter: undefined }, 'filter'],
    [{ filter: [] }, 'filter'],
    [{ filter: 'type' }, 'filter'],
    [{ filter: new Date(0) }, 'filter'],
    [{ filter: 5n }, 'filter'],
    [{ filter: { type: 'A' } }, 'filter.type'],
    [{ filter: { where: undefined } }, 'filter.where'],
    [{ filter: { field: 'id', op: 'exists' } }, 'filter.field'],
    [{ filter: { eventIds: [] } }, 'filter.eventIds'],
    [{ filter: { eventIds: '0197b0a2-6f0c-7c3e-9d1f-2b8e5a4c6d70' } }, 'filter.eventIds'],
    [{ filter: { eventIds: ['0197b0a2-6f0c-7c3e-9d1f-2b8e5a4c6d70', 'x'] } }, 'filter.eventIds[1]'],
    [{ filter: { eventIds: ['0197b0a26f0c7c3e9d1f2b8e5a4c6d70'] } }, 'filter.eventIds[0]'],
    [{ filter: { eventIds: [5] } }, 'filter.eventIds[0]'],
    [{ filter: { eventTypes: [] } }, 'filter.eventTypes'],
    [{ filter: { eventTypes: {} } }, 'filter.eventTypes'],
    [{ filter: { eventTypes: [null] } }, 'filter.eventTypes[0]'],
    [{ filter: { eventTypes: ['A', '*'] } }, 'filter.eventTypes[1]'],
    [{ filter: { eventTypes: ['.*'] } }, 'filter.eventTypes[0]'],
    [{ filter: { eventTypes: ['A*'] } }, 'filter.eventTypes[0]'],
    [{ filter: { eventTypes: ['A.*.B'] } }, 'filter.eventTypes[0]'],
    [{ filter: { eventTypes: ['A\0'] } }, 'filter.eventTypes[0]'],
    [{ filter: { issueIds: [42] } }, 'filter.issueIds[0]'],
    [{ filter: { prIds: null } }, 'filter.prIds'],
    [{ filter: { userIds: ['a', undefined] } }, 'filter.userIds[1]'],
    [{ filter: { providers: ['\ud800'] } }, 'filter.providers[0]'],
    [{ filter: { platforms: [] } }, 'filter.platforms'],
    [{ filter: { tags: [] } }, 'filter.tags'],
    [{ filter: { tags: { a: 5 } } }, 'filter.tags.a'],
    [{ filter: { tags: { a: null } } }, 'filter.tags.a'],
    [{ filter: { tags: { a: [] } } }, 'filter.tags.a'],
    [{ filter: { tags: { a: ['x', 5] } } }, 'filter.tags.a[1]'],
    [{ filter: { tags: { a: {} } } }, 'filter.tags.a'],
    [{ filter: { startTime: 'yesterday' } }, 'filter.startTime'],
    [{ filter: { startTime: '2026-01-01T00:00:00' } }, 'filter.startTime'],
    [{ filter: { startTime: 1767225600000 } }, 'filter.startTime'],
    [{ filter: { startTime: null } }, 'filter.startTime'],
    [{ filter: { endTime: new Date(Number.NaN) } }, 'filter.endTime'],
    [{ filter: { endTime: '2026-13-01' } }, 'filter.endTime'],
    [{ filter: { endTime: '2026-01-01T25:00:00Z' } }, 'filter.endTime'],
    [{ filter: { startTime: '-009999-01-01T00:00:00Z' } }, 'filter.startTime'],
    [{ filter: { startTime: '2026-01-02', endTime: '2026-01-01' } }, 'filter.startTime'],
    [{ filter: { anyOf: [] } }, 'filter.anyOf'],
    [{ filter: { anyOf: [5] } }, 'filter.anyOf[0]'],
    [{ filter: { anyOf: [{}, { type: [] }] } }, 'filter.anyOf[1].type'],
    [{ filter: { anyOf: [{ types: [] }] } }, 'filter.anyOf[0].types'],
    [{ filter: { anyOf: [{ types: ['A.*'] }] } }, 'filter.anyOf[0].types[0]'],
    [{ filter: { anyOf: [{ tags: ['a:1', 'b'] }] } }, 'filter.anyOf[0].tags[1]'],
    [{ filter: { anyOf: [{ tags: [':1'] }] } }, 'filter.anyOf[0].tags[0]'],
    [{ filter: { anyOf: [{ tags: 'a:1' }] } }, 'filter.anyOf[0].tags']
  ],
  'a condition': [
    [where(null), 'filter.where'],
    [where([]), 'filter.where'],
    [where('true'), 'filter.where'],
    [where({}), 'filter.where'],
    [where({ op: 'eq', value: 1 }), 'filter.where'],
    [where({ field: 'data.x' }), 'filter.where.op'],
    [where({ field: 'data.x', op: 'eq' }), 'filter.where.value'],
    [where({ field: 'data.x', op: 'eq', value: undefined }), 'filter.where.value'],
    [where({ field: 'data.x', op: 'eq', value: 1, not: true }), 'filter.where.field'],
    [where({ field: 'data.x', op: 'eq', value: 1, values: [] }), 'filter.where.values'],
    [where({ and: [] }), 'filter.where.and'],
    [where({ or: {} }), 'filter.where.or'],
    [where({ and: [leaf('id', 'exists').filter.where], or: [] }), 'filter.where.or'],
    [where({ not: [] }), 'filter.where.not'],
    [
      where({ or: [{ field: 'id', op: 'exists' }, { and: [{ not: { field: 'id', op: 'like', value: 5 } }] }] }),
      'filter.where.or[1].and[0].not.value'
    ],
    [where({ and: [{ field: 'id', op: 'exists' }, null] }), 'filter.where.and[1]'],
    [leaf('data.x', 'equals', 1), 'filter.where.op'],
    [leaf('data.x', 'EQ', 1), 'filter.where.op'],
    [leaf('data.x', '=', 1), 'filter.where.op'],
    [leaf('data.x', '', 1), 'filter.where.op'],
    [leaf('data.x', null, 1), 'filter.where.op'],
    [leaf('data.x', 5, 1), 'filter.where.op'],
    [leaf('data.x', 'toString', 1), 'filter.where.op']
  ],
  'a field': [
    [leaf(5, 'exists'), 'filter.where.field'],
    [leaf(null, 'exists'), 'filter.where.field'],
    [leaf('', 'exists'), 'filter.where.field', 'UNKNOWN_FIELD'],
    [leaf('event_id', 'exists'), 'filter.where.field', 'UNKNOWN_FIELD'],
    [leaf('Type', 'exists'), 'filter.where.field', 'UNKNOWN_FIELD'],
    [leaf('type ', 'exists'), 'filter.where.field', 'UNKNOWN_FIELD'],
    [leaf('position', 'exists'), 'filter.where.field', 'UNKNOWN_FIELD'],
    [leaf('transaction_id', 'exists'), 'filter.where.field', 'UNKNOWN_FIELD'],
    [leaf('id.x', 'exists'), 'filter.where.field', 'UNKNOWN_FIELD'],
    [leaf('type[0]', 'exists'), 'filter.where.field', 'UNKNOWN_FIELD'],
    [leaf('timestamp.year', 'exists'), 'filter.where.field', 'UNKNOWN_FIELD'],
    [leaf('datax', 'exists'), 'filter.where.field', 'UNKNOWN_FIELD'],
    [leaf('constructor', 'exists'), 'filter.where.field', 'UNKNOWN_FIELD'],
    [leaf('tags.', 'exists'), 'filter.where.field'],
    [leaf('tags[0]', 'exists'), 'filter.where.field'],
    [leaf('tags["a"]', 'exists'), 'filter.where.field'],
    [leaf('data.', 'exists'), 'filter.where.field'],
    [leaf('data..a', 'exists'), 'filter.where.field'],
    [leaf('data.a.', 'exists'), 'filter.where.field'],
    [leaf('data[', 'exists'), 'filter.where.field'],
    [leaf('data[]', 'exists'), 'filter.where.field'],
    [leaf('data[-1]', 'exists'), 'filter.where.field'],
    [leaf('data[1.5]', 'exists'), 'filter.where.field'],
    [leaf('data[2147483648]', 'exists'), 'filter.where.field'],
    [leaf('data[a]', 'exists'), 'filter.where.field'],
    [leaf("data['a']", 'exists'), 'filter.where.field'],
    [leaf('data["a', 'exists'), 'filter.where.field'],
    [leaf('data["a"', 'exists'), 'filter.where.field'],
    [leaf('data["\\x"]', 'exists'), 'filter.where.field'],
    [leaf('data["\\u0000"]', 'exists'), 'filter.where.field'],
    [leaf('data["\\ud800"]', 'exists'), 'filter.where.field'],
    [leaf('data.a"b', 'exists'), 'filter.where.field'],
    [leaf('data.a\0', 'exists'), 'filter.where.field'],
    [leaf('data[0]a', 'exists'), 'filter.where.field'],
    [leaf(`data${'.a'.repeat(33)}`, 'exists'), 'filter.where.field'],
    [leaf(`data.${'a'.repeat(1100)}`, 'exists'), 'filter.where.field']
  ],
  'an operand': [
    [leaf('type', 'eq', 5), 'filter.where.value'],
    [leaf('type', 'eq', null), 'filter.where.value'],
    [leaf('type', 'ne', true), 'filter.where.value'],
    [leaf('type', 'lt', new Date(0)), 'filter.where.value'],
    [leaf('type', 'in', ['A', 5n]), 'filter.where.value[1]'],
    [leaf('type', 'in', 'A'), 'filter.where.value'],
    [leaf('type', 'notIn', []), 'filter.where.value'],
    [leaf('type', 'contains', 'A'), 'filter.where.op'],
    [leaf('tags.x', 'gt', 5), 'filter.where.value'],
    [leaf('tags.x', 'between', ['a', null]), 'filter.where.value[1]'],
    [leaf('tags.x', 'contains', 'a'), 'filter.where.op'],
    [leaf('id', 'eq', 'x'), 'filter.where.value'],
    [leaf('id', 'gt', 5), 'filter.where.value'],
    [leaf('id', 'in', [null]), 'filter.where.value[0]'],
    [leaf('id', 'contains', {}), 'filter.where.op'],
    [leaf('id', 'like', null), 'filter.where.value'],
    [leaf('timestamp', 'eq', 'now'), 'filter.where.value'],
    [leaf('timestamp', 'gt', '2026-01-01T00:00:00'), 'filter.where.value'],
    [leaf('timestamp', 'lt', 0), 'filter.where.value'],
    [leaf('timestamp', 'in', [new Date(), '']), 'filter.where.value[1]'],
    [leaf('timestamp', 'between', ['2026-01-01', 5]), 'filter.where.value[1]'],
    [leaf('timestamp', 'like', '2026%'), 'filter.where.op'],
    [leaf('createdAt', 'contains', {}), 'filter.where.op'],
    [leaf('createdAt', 'eq', null), 'filter.where.value'],
    [leaf('data.x', 'between', 5), 'filter.where.value'],
    [leaf('data.x', 'between', [1]), 'filter.where.value'],
    [leaf('data.x', 'between', [1, 2, 3]), 'filter.where.value'],
    [leaf('data.x', 'between', { low: 1, high: 2 }), 'filter.where.value'],
    [leaf('data.x', 'in', []), 'filter.where.value'],
    [leaf('data.x', 'in', { a: 1 }), 'filter.where.value'],
    [leaf('data.x', 'in', [1, undefined]), 'filter.where.value[1]'],
    [leaf('data.x', 'exists', 'yes'), 'filter.where.value'],
    [leaf('data.x', 'exists', null), 'filter.where.value'],
    [leaf('data.x', 'exists', undefined), 'filter.where.value'],
    [leaf('data.x', 'like', 5), 'filter.where.value'],
    [leaf('data.x', 'like', 'a\\'), 'filter.where.value'],
    [leaf('data.x', 'ilike', '\\\\\\'), 'filter.where.value'],
    [leaf('data.x', 'startsWith', ['a']), 'filter.where.value'],
    [leaf('data.x', 'regex', /a/), 'filter.where.value'],
    [leaf('data.x', 'eq', Number.NaN), 'filter.where.value'],
    [leaf('data.x', 'eq', Number.POSITIVE_INFINITY), 'filter.where.value'],
    [leaf('data.x', 'eq', { a: [0, { b: undefined }] }), 'filter.where.value.a[1].b'],
    [leaf('data.x', 'eq', () => {}), 'filter.where.value'],
    [leaf('data.x', 'eq', Symbol('x')), 'filter.where.value'],
    [leaf('data.x', 'eq', new Map()), 'filter.where.value'],
    [leaf('data.x', 'eq', new Set([1])), 'filter.where.value'],
    [leaf('data.x', 'eq', Object(5)), 'filter.where.value'],
    [leaf('data.x', 'eq', new Uint8Array(3)), 'filter.where.value'],
    [leaf('data.x', 'eq', Promise.resolve(1)), 'filter.where.value'],
    [leaf('data.x', 'eq', new Date(Number.NaN)), 'filter.where.value'],
    [leaf('data.x', 'eq', 'a\0b'), 'filter.where.value'],
    [leaf('data.x', 'eq', ['a', { 'k\0': 1 }]), 'filter.where.value[1].k\0'],
    [leaf('data.x', 'eq', '\udc00'), 'filter.where.value'],
    [leaf('data.x', 'eq', { '\ud800': 1 }), 'filter.where.value.\ud800'],
    [leaf('data.x', 'eq', nested(70)), `filter.where.value${'[0]'.repeat(65)}`],
    [leaf('data.x', 'eq', 10n ** 1200n), 'filter.where.value'],
    [leaf('data', 'contains', undefined), 'filter.where.value']
  ],
  'the selection': [
    [{ filter: {}, select: [] }, 'select'],
    [{ filter: {}, select: 'id' }, 'select'],
    [{ filter: {}, select: { issue: 'tags.issueId' } }, 'select'],
    [{ filter: {}, select: ['id', 5] }, 'select[1]'],
    [{ filter: {}, select: ['id', null] }, 'select[1]'],
    [{ filter: {}, select: ['id', 'nothing'] }, 'select[1]', 'UNKNOWN_FIELD'],
    [{ filter: {}, select: ['data.'] }, 'select[0]'],
    [{ filter: {}, select: ['*'] }, 'select[0]', 'UNKNOWN_FIELD'],
    [{ filter: {}, select: Array.from({ length: 1001 }, (_, i) => `data.x${i}`) }, 'select[1000]'],
    [{ filter: {}, selectAs: {} }, 'selectAs'],
    [{ filter: {}, selectAs: null }, 'selectAs'],
    [{ filter: {}, selectAs: [['x', 'id']] }, 'selectAs'],
    [{ filter: {}, selectAs: new Date() }, 'selectAs'],
    [{ filter: {}, selectAs: { x: 5 } }, 'selectAs.x'],
    [{ filter: {}, selectAs: { x: 'nothing' } }, 'selectAs.x', 'UNKNOWN_FIELD'],
    [{ filter: {}, selectAs: { '': 'id' } }, 'selectAs.'],
    [{ filter: {}, selectAs: { 'a\0': 'id' } }, 'selectAs.a\0'],
    [{ filter: {}, select: ['id'], selectAs: { id: 'type' } }, 'selectAs.id']
  ],
  'the order': [
    [{ filter: {}, orderBy: [] }, 'orderBy'],
    [{ filter: {}, orderBy: 'timestamp' }, 'orderBy'],
    [{ filter: {}, orderBy: ['timestamp'] }, 'orderBy[0]'],
    [{ filter: {}, orderBy: [{ field: 'id' }, {}] }, 'orderBy[1].field'],
    [{ filter: {}, orderBy: [{ field: 'nothing' }] }, 'orderBy[0].field', 'UNKNOWN_FIELD'],
    [{ filter: {}, orderBy: [{ field: 'id', direction: 'ASC' }] }, 'orderBy[0].direction'],
    [{ filter: {}, orderBy: [{ field: 'id', direction: 'desc; DROP TABLE events' }] }, 'orderBy[0].direction'],
    [{ filter: {}, orderBy: [{ field: 'id', direction: -1 }] }, 'orderBy[0].direction'],
    [{ filter: {}, orderBy: [{ field: 'id', direction: undefined }] }, 'orderBy[0].direction'],
    [{ filter: {}, orderBy: [{ field: 'id', nulls: 'FIRST' }] }, 'orderBy[0].nulls'],
    [{ filter: {}, orderBy: [{ field: 'id', nulls: null }] }, 'orderBy[0].nulls'],
    [{ filter: {}, orderBy: [{ field: 'id', dir: 'asc' }] }, 'orderBy[0].dir'],
    [{ filter: {}, orderBy: Array.from({ length: 101 }, (_, i) => ({ field: `data.x${i}` })) }, 'orderBy[100]']
  ],
  'the page': [
    [{ filter: {}, limit: -1 }, 'limit'],
    [{ filter: {}, limit: 1.5 }, 'limit'],
    [{ filter: {}, limit: '1' }, 'limit'],
    [{ filter: {}, limit: null }, 'limit'],
    [{ filter: {}, limit: 5n }, 'limit'],
    [{ filter: {}, limit: 2 ** 53 + 2 }, 'limit'],
    [{ filter: {}, limit: Number.POSITIVE_INFINITY }, 'limit'],
    [{ filter: {}, offset: -5 }, 'offset'],
    [{ filter: {}, offset: Number.NaN }, 'offset'],
    [{ filter: {}, offset: [] }, 'offset'],
    [{ filter: {}, after: 5 }, 'after'],
    [{ filter: {}, after: 'x', limit: 1 }, 'after'],
    [{ filter: {}, after: 'x', offset: 1 }, 'after']
  ],
  hints: [
    [{ filter: {}, hints: true }, 'hints'],
    [{ filter: {}, hints: { index: 'x' } }, 'hints.index'],
    [{ filter: {}, hints: { timeout: -1 } }, 'hints.timeout'],
    [{ filter: {}, hints: { timeout: '5 s' } }, 'hints.timeout'],
    [{ filter: {}, hints: { batchSize: 0 } }, 'hints.batchSize'],
    [{ filter: {}, hints: { workers: 0 } }, 'hints.workers'],
    [{ filter: {}, hints: { parallel: 'yes' } }, 'hints.parallel'],
    [{ filter: {}, hints: { priority: 'urgent' } }, 'hints.priority'],
    [{ filter: {}, hints: { useIndex: 'x' } }, 'hints.useIndex'],
    [{ filter: {}, hints: { useIndex: [5] } }, 'hints.useIndex[0]']
  ]
}

describe.each(Object.entries(CASES))('%s', (_, cases) => {
  it.each(
    cases.map(([query, path, code = 'INVALID_QUERY'], i) => [`${i}: ${label(query)}`, query, path, code] as const)
  )('%s', async (_, query, path, code) => {
    const error = await failure(client.optimizer.executeQuery(query as EventQuery))
    expect({ code: error.code, path: error.path }).toEqual({ code, path })
    expect(error).toMatchObject({ name: 'EventsError', retryable: false })
    if (path !== undefined) expect(error.message).toContain(`${path}: `)
    expect(error.sqlState).toBeUndefined()
    // A stream says the same, at its first row.
    const streamed = await client.optimizer
      .executeQueryStream(query as EventQuery)
      .next()
      .then(
        () => undefined,
        (e: unknown) => e
      )
    expect(streamed).toMatchObject({ code, message: error.message })
    expect(streamed).toBeInstanceOf(EventsError)
  })
})

function label(query: unknown): string {
  const text =
    JSON.stringify(query, (_, value) =>
      typeof value === 'bigint' || typeof value === 'function' ? String(value) : value
    ) ?? String(query)
  return text.length > 120 ? `${text.slice(0, 120)}…` : text
}

it('says that a bigint is too long', async () => {
  const error = await failure(
    client
      .query()
      .where('data.x', 'in', [1n, 10n ** 1200n])
      .execute(),
    'INVALID_QUERY'
  )
  expect(error.message).toBe('filter.where.value[1]: is a bigint of more than 1,000 digits')
})

it('refuses more values than a statement can have', async () => {
  // Of as many fields: alternatives for one field become one list, which is one value.
  const or = Array.from({ length: 70_000 }, (_, value) => ({
    field: `data.f${value}` as const,
    op: 'eq' as const,
    value
  }))
  const error = await failure(client.query().where({ or }).execute(), 'INVALID_QUERY')
  expect(error).toMatchObject({ path: 'filter', retryable: false })
})

describe('the builder', () => {
  const query = () => client.query()
  type Builder = ReturnType<typeof query>
  /** Called as JavaScript could. */
  const calls = (...steps: [method: keyof Builder, ...args: unknown[]][]) => {
    const call = (built: Builder, [method, ...args]: [keyof Builder, ...unknown[]]) =>
      (built[method] as (...args: unknown[]) => Builder)(...args)
    return steps.reduce(call, query())
  }

  it.each<[string, Parameters<typeof calls>, string, string?]>([
    ['an unknown field', [['where', 'foo', 'eq', 1]], 'filter.where.field', 'UNKNOWN_FIELD'],
    [
      'the second condition',
      [
        ['where', 'type', 'exists'],
        ['where', 'data.x', 'eq', undefined]
      ],
      'filter.where.and[1].value'
    ],
    ['no operand', [['where', 'data.x', 'eq']], 'filter.where.value'],
    ['no operator', [['where', 'data.x', undefined]], 'filter'],
    ['nothing at all', [['where']], 'filter'],
    ['one text', [['where', 'data.x']], 'filter'],
    ['null', [['where', null]], 'filter'],
    ['two operands', [['where', 'data.x', 'between', 1, 2]], 'where'],
    ['a limit', [['limit', -1]], 'limit'],
    ['no limit', [['limit', undefined]], 'limit'],
    ['an offset', [['offset', '1']], 'offset'],
    ['a cursor', [['after', null]], 'after'],
    ['an order', [['orderBy', 'timestamp', 'up']], 'orderBy[0].direction'],
    ['an order of null', [['orderBy', null]], 'orderBy[0].field'],
    ['a direction of null', [['orderBy', 'id', null]], 'orderBy[0].direction'],
    ['an unknown key of an order', [['orderBy', 'id', { desc: true }]], 'orderBy[0].desc'],
    ['no selection', [['select', []]], 'select'],
    ['a selection of text', [['select', 'id']], 'select'],
    ['a selection of a number', [['select', 5]], 'select'],
    [
      'no selection, and then one',
      [
        ['select', 5],
        ['select', ['id']]
      ],
      'select'
    ],
    [
      'a name twice',
      [
        ['select', { a: 'id' }],
        ['select', { a: 'type' }]
      ],
      'selectAs.a'
    ],
    ['a hint', [['hint', { batch: 5 }]], 'hints.batch'],
    ['a hint of text', [['hint', 'fast']], 'hints'],
    [
      'a hint of text, and then one',
      [
        ['hint', 'fast'],
        ['hint', { batchSize: 5 }]
      ],
      'hints'
    ],
    ['a timeout', [['timeout', -5]], 'hints.timeout'],
    ['workers', [['parallel', 0]], 'hints.workers']
  ])('%s', async (_, steps, path, code = 'INVALID_QUERY') => {
    // Nothing is thrown until the query is run or shown.
    const builder = (() => {
      try {
        return calls(...steps)
      } catch (error) {
        return { execute: () => Promise.reject(error) }
      }
    })()
    const error = await failure(builder.execute())
    expect({ code: error.code, path: error.path }).toEqual({ code, path })
  })
})

describe('options of a run', () => {
  it.each<[unknown, string]>([
    [null, 'options'],
    [5, 'options'],
    [{ time: 5 }, 'time'],
    [{ timeout: -1 }, 'timeout'],
    [{ timeout: 1.5 }, 'timeout'],
    [{ timeout: '5' }, 'timeout'],
    [{ signal: {} }, 'signal'],
    [{ signal: null }, 'signal'],
    [{ queryId: '' }, 'queryId'],
    [{ queryId: 5 }, 'queryId'],
    [{ queryId: '\ud800' }, 'queryId'],
    [{ batchSize: 0 }, 'batchSize']
  ])('%j', async (options, path) => {
    const given = options as object
    for (const run of [
      () => client.query().execute(given),
      () => client.query().executeStream(given).next(),
      () => client.query().executeBatches(given).next(),
      () => client.optimizer.executeQuery({ filter: {} }, given),
      () => client.sql`SELECT 1 AS one`.execute(given)
    ]) {
      const error = await failure(run(), 'INVALID_QUERY')
      expect(error.path).toBe(path)
    }
  })
})
