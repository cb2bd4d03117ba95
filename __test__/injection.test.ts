// Hostile text through every string of the API: it is a value, a name or an error, and never SQL.

import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  connect,
  type EventFilter,
  type EventQuery,
  EventsError,
  type QueryCondition,
  type QueryHints
} from '../index.js'
import { checkPartition, checkQuery } from './reference/check'
import { micros, type StoredEvent } from './reference/field'
import { Random } from './reference/random'
import { ODD_SETTINGS, Subject } from './reference/subject'
import { failure } from './support/errors'

const HOSTILE = [
  "'; DROP TABLE canary; --",
  '"; DROP TABLE canary; --',
  "\\'; DROP TABLE canary; --",
  "' OR '1'='1",
  "') OR true --",
  "' UNION SELECT * FROM canary --",
  '$1',
  '$$; DROP TABLE canary; $$',
  "E'\\\\'' ; DROP TABLE canary",
  "a'||(SELECT secret FROM canary)||'",
  '(SELECT pg_sleep(60))',
  '1; SELECT pg_sleep(60)',
  '/* */',
  '--',
  '\\',
  '\\\\',
  '%',
  '_',
  "'",
  "''",
  '"',
  '""',
  '`',
  ';',
  ']',
  '"]',
  "']->>'",
  "x'::jsonb",
  '{"a": "b"}',
  '{}',
  '{x,y}',
  '$.a ? (@ > 1)',
  'line\nbreak\r\n; DROP TABLE canary;',
  '\u2019; DROP TABLE canary; --',
  '\uff07; DROP TABLE canary; --',
  '\u0001\u007f',
  '😀',
  '__proto__',
  'constructor',
  'true',
  'null',
  'x'.repeat(70)
]

const KEY = (h: string) => `data[${JSON.stringify(h)}]`
const EVENTS: StoredEvent[] = [...HOSTILE, 'plain'].map((h, i) => ({
  id: `019b0000-0000-7000-8000-${i.toString(16).padStart(12, '0')}`,
  type: h,
  timestamp: micros('2026-01-01') + BigInt(i),
  createdAt: micros('2026-01-01'),
  tags: own({ k: h, [`t ${h}`]: '1' }),
  metadata: {},
  data: own({ v: h, list: [h], [h]: i })
}))

/** With `__proto__` as a member like others. */
function own<T>(members: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(members))
}

/** Where a setting of the database could matter. */
const QUOTING = HOSTILE.filter(h => /['"\\$]/u.test(h))

describe.each([
  ['usual', {}, HOSTILE],
  ['odd', ODD_SETTINGS, QUOTING]
])('with the %s settings of a database', (_, database, hostile) => {
  let subject: Subject
  let admin: pg.Client
  beforeAll(async () => {
    subject = await Subject.of(EVENTS, database)
    admin = new pg.Client({ connectionString: subject.url })
    await admin.connect()
    await admin.query("CREATE TABLE canary (secret text); INSERT INTO canary VALUES ('s3cret'), ('s3cret'), ('s3cret')")
  })
  afterAll(async () => {
    await admin?.end()
    await subject?.drop()
  })
  afterEach(async () => {
    const { rows } = await admin.query(
      'SELECT (SELECT count(*)::int FROM canary) AS canary, (SELECT count(*)::int FROM events) AS events'
    )
    expect(rows).toEqual([{ canary: 3, events: EVENTS.length }])
  })

  /** Answers, as the reference does. */
  async function expectEqual(query: EventQuery) {
    expect(await checkQuery(subject, query, new Random(1))).toBeUndefined()
  }

  describe.each(hostile)('%j', h => {
    it('is a value', async () => {
      const fields = ['type', 'tags.k', 'data.v', 'data.list[0]']
      const tests = fields.flatMap((field): QueryCondition[] => [
        { field, op: 'eq', value: h },
        { field, op: 'ne', value: h },
        { field, op: 'lte', value: h },
        { field, op: 'between', value: [h, h] },
        { field, op: 'in', value: [h, 'plain'] },
        { field, op: 'notIn', value: [h] },
        { field, op: 'startsWith', value: h }
      ])
      tests.push(
        { field: 'data.list', op: 'contains', value: [h] },
        { field: 'data', op: 'contains', value: own({ [h]: EVENTS.findIndex(e => e.type === h) }) }
      )
      tests.push({ field: 'data', op: 'eq', value: own({ v: h }) })
      for (const condition of tests) expect(await checkPartition(subject, condition)).toBeUndefined()
    })

    it('is a pattern', async () => {
      for (const op of ['like', 'ilike'] as const) {
        for (const field of ['type', 'data.v']) {
          const condition = { field, op, value: h }
          if (/(?<!\\)(\\\\)*\\$/u.test(h))
            expect(
              (await failure(subject.client.optimizer.executeQuery({ filter: { where: condition } }), 'INVALID_QUERY'))
                .path
            ).toBe('filter.where.value')
          else expect(await checkPartition(subject, condition)).toBeUndefined()
        }
      }
      // Not every one is a regular expression, and few mean the same in JavaScript: it finds itself where it is literal.
      const found = subject.client.query().where('data.v', 'regex', h).execute()
      await found.catch(error => expect(error).toMatchObject({ code: 'INVALID_QUERY', path: 'filter.where.value' }))
      const literal = await subject.client.query().where('data.v', 'regex', `***=${h}`).select(['data.v']).execute()
      expect(literal.rows.map(row => row['data.v'])).toEqual(HOSTILE.filter(other => other.includes(h)))
    })

    it('is a key and a tag', async () => {
      for (const field of [KEY(h), `${KEY(h)}[0]`, `data.list${KEY(h).slice(4)}`, `tags.t ${h}`]) {
        await expectEqual({ filter: { where: { field, op: 'exists' } }, select: [field], orderBy: [{ field }] })
        await expectEqual({ filter: {}, orderBy: [{ field, direction: 'desc', nulls: 'last' }], limit: 5 })
      }
      expect(await checkPartition(subject, { field: KEY(h), op: 'gte', value: 0 })).toBeUndefined()
      expect(await checkPartition(subject, { field: `tags.t ${h}`, op: 'eq', value: '1' })).toBeUndefined()
      // Without quotes it is a key where nothing in it means something to a path.
      const bare = await subject.client
        .query()
        .where(`data.${h}` as 'data.x', 'exists')
        .execute()
        .catch((error: unknown) => error)
      if (/[."[\]]/u.test(h))
        expect(bare).toSatisfy(
          answer => answer instanceof EventsError || (answer as { rows: unknown[] }).rows.length === 0
        )
      else expect(bare).toMatchObject({ rowCount: 1 })
    })

    it('is a filter', async () => {
      const filters: EventFilter[] = [
        { tags: { k: h } },
        { tags: { [`t ${h}`]: ['1', h] } },
        { issueIds: [h] },
        { userIds: [h, 'x'] },
        { anyOf: [{ types: [`${h}x`], tags: [`k:${h}`] }, { tags: [`k:${h}`] }] }
      ]
      if (!h.includes('*')) filters.push({ eventTypes: [h] }, { eventTypes: [`${h}.*`] })
      for (const filter of filters) await expectEqual({ filter })
    })

    it('is a name', async () => {
      await expectEqual({ filter: {}, selectAs: own({ [h]: 'data.v' }), orderBy: [{ field: h }], limit: 7 })
      const built = subject.client.query().select(own({ [h]: 'data.v' }) as Record<string, 'data.v'>)
      const { rows } = await built.orderBy('id').execute()
      expect(rows.map(row => Object.entries(row))).toEqual(EVENTS.map(event => [[h, event.data.v]]))
    })

    it('is a name of an aggregate and of a joined table', async () => {
      if (h === '') return
      const sum = { fn: 'sum', field: 'data.n', as: h } as const
      const grouped = await subject.client.optimizer.executeQuery({
        filter: {},
        aggregates: [sum],
        having: { field: h, op: 'exists', value: false },
        orderBy: [{ field: h }],
        limit: 1
      })
      expect(grouped.rows.map(row => Object.entries(row as object))).toEqual([[[h, null]]])
      const joined = await subject.client.optimizer.executeQuery({
        filter: {},
        joins: [{ table: 'events', alias: h, on: { id: 'id' } }],
        select: [`${h}.id` as 'id'],
        orderBy: [{ field: `${h}.id` as 'id' }]
      })
      expect(joined.rowCount).toBe(EVENTS.length)
    })

    it('is no field, no operator, no direction, no cursor, no member', async () => {
      const queries: unknown[] = [
        { filter: { where: { field: h, op: 'exists' } } },
        { filter: { where: { field: `type${h}`, op: 'eq', value: 'x' } } },
        { filter: { where: { field: 'type', op: h, value: 'x' } } },
        { filter: { where: { field: 'id', op: 'eq', value: h } } },
        { filter: { where: { field: 'timestamp', op: 'lt', value: h } } },
        { filter: { [h]: 'x' } },
        { filter: { eventIds: [h] } },
        { filter: { startTime: h } },
        { filter: {}, select: [h] },
        { filter: {}, orderBy: [{ field: h }] },
        { filter: {}, orderBy: [{ field: 'id', direction: h }] },
        { filter: {}, orderBy: [{ field: 'id', nulls: h }] },
        { filter: {}, limit: h },
        { filter: {}, offset: h },
        { filter: {}, after: h, limit: 1 },
        { filter: {}, [h === '' ? 'x' : h]: 1 },
        { filter: {}, hints: { [h]: 1 } },
        { filter: {}, hints: { forceIndex: [h] } },
        { filter: {}, from: h },
        { filter: {}, from: 'pg_catalog.pg_class', select: [h] },
        { filter: {}, joins: [{ table: h, alias: 'j', on: { id: 'id' } }] },
        { filter: {}, joins: [{ table: 'events', alias: 'j', on: own({ [h]: 'id' }) }] },
        { filter: {}, joins: [{ table: 'events', alias: 'j', on: { id: h } }] },
        { filter: {}, joins: [{ table: 'events', alias: 'j', on: { id: 'id' }, within: h }] },
        { filter: {}, groupBy: [h] },
        { filter: {}, aggregates: [{ fn: h, field: 'data.v' }] },
        { filter: {}, aggregates: [{ fn: 'sum', field: h }] },
        { filter: {}, groupBy: ['type'], having: { field: h, op: 'exists' } },
        { filter: {}, timeWindow: { last: h } },
        { filter: {}, timeBucket: { interval: h } },
        { filter: {}, timeBucket: { interval: '1 day', timeZone: h } },
        { filter: {}, timeBucket: { interval: '1 day', origin: h } }
      ]
      for (const query of queries) {
        const error = await failure(subject.client.optimizer.executeQuery(query as EventQuery))
        expect(['INVALID_QUERY', 'UNKNOWN_FIELD', 'UNKNOWN_TABLE', 'UNKNOWN_INDEX', 'UNSUPPORTED']).toContain(
          error.code
        )
        expect(error.path).toBeDefined()
      }
    })

    it('is an id of a query, and a hint', async () => {
      const { queryId, rowCount } = await subject.client.optimizer.executeQuery({ filter: {}, id: h })
      expect({ queryId, rowCount }).toEqual({ queryId: h, rowCount: EVENTS.length })
      expect((await subject.client.query().execute({ queryId: h })).queryId).toBe(h)
      await subject.client.optimizer.cancelQuery(h)
      await failure(subject.client.optimizer.cancelQuery(`${h} of another`), 'UNKNOWN_QUERY')
      const hints: QueryHints = { useIndex: [h], cache: { tags: [h] } }
      expect((await subject.client.query().hint(hints).execute()).rowCount).toBe(EVENTS.length)
    })

    it('is a value of SQL that the caller wrote', async () => {
      const { rows } = await subject.client
        .sql`SELECT ${h}::text AS "a", ${[h]}::text[] AS "b", ${own({ [h]: h })}::jsonb AS "c", ${h} = ANY(SELECT event_type FROM events) AS "d"`.execute()
      expect(rows).toEqual([{ a: h, b: [h], c: own({ [h]: h }), d: true }])
    })

    it('stays out of the statement that is shown', async () => {
      const shown = subject.client
        .query()
        .where('data.v', 'eq', `${h}{mark}`)
        .where(`tags.t ${h}{mark}` as 'tags.x', 'startsWith', `${h}{mark}`)
        .toSQL()
      expect(shown.sql).not.toContain('{mark}')
      expect(shown.parameters).toContain(`${h}{mark}`)
      const plan = await subject.client.query().where('data.v', 'eq', h).explain()
      expect(plan.sql).not.toContain('canary')
    })

    it('is carried by a cursor', async () => {
      const query: EventQuery = {
        filter: { where: { field: 'data.v', op: 'gte', value: h } },
        orderBy: [{ field: 'data.v' }, { field: 'type', direction: 'desc' }],
        limit: 1
      }
      await expectEqual(query)
    })
  })
})

describe('names of schemas, tables and columns', () => {
  let url: string
  let admin: pg.Client
  const name = `injection_${process.pid}_${Date.now()}`
  const onServer = async (statement: string) => {
    const server = new pg.Client({ connectionString: process.env.TAMMA_TEST_DATABASE_URL })
    await server.connect()
    await server.query(statement).finally(() => server.end())
  }
  beforeAll(async () => {
    await onServer(`CREATE DATABASE ${name}`)
    const there = new URL(process.env.TAMMA_TEST_DATABASE_URL!)
    there.pathname = `/${name}`
    url = there.href
    admin = new pg.Client({ connectionString: url })
    await admin.connect()
    await admin.query('CREATE TABLE canary (secret text)')
  })
  afterAll(async () => {
    await admin?.end()
    await onServer(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
  })
  afterEach(async () => {
    await admin.query('SELECT * FROM canary')
  })

  const names = HOSTILE.filter(h => Buffer.byteLength(h) <= 40)
  const event = { type: 'A.B', timestamp: '2026-01-01T00:00:00.000Z', tags: { a: 'b' }, data: { n: 1 } }

  it.each(names)('%j is a name like others', async h => {
    const table = {
      schema: h,
      name: `t${h}`,
      columns: {
        id: `i${h}`,
        type: `y${h}`,
        timestamp: `s${h}`,
        tags: `a${h}`,
        metadata: `m${h}`,
        data: `d${h}`,
        createdAt: `c${h}`
      }
    }
    await admin.query(`CREATE SCHEMA ${pg.escapeIdentifier(h)}`)
    const client = await connect({ url, table, migrate: true })
    try {
      const { ids } = await client.append([event])
      expect(
        await client.importEvents([
          { ...event, id: ids[0], metadata: {} },
          { ...event, id: ids[0].replace(/.$/u, c => (c === '0' ? '1' : '0')), metadata: {} }
        ])
      ).toMatchObject({ imported: 1, duplicates: 1 })
      expect((await failure(client.append([{ ...event, id: ids[0] }]), 'DUPLICATE_EVENT')).path).toBe('events[0].id')
      const first = await client
        .query()
        .where('data.n', 'eq', 1)
        .where({ tags: { a: 'b' } })
        .orderBy('createdAt')
        .orderBy('id')
        .limit(1)
        .execute()
      const second = await client
        .query()
        .where('data.n', 'eq', 1)
        .where({ tags: { a: 'b' } })
        .orderBy('createdAt')
        .orderBy('id')
        .limit(1)
        .after(first.nextCursor)
        .execute()
      expect([...first.rows, ...second.rows]).toHaveLength(2)
      expect((await client.query().where('id', 'in', ids).explain()).sql).toContain(pg.escapeIdentifier(`t${h}`))
    } finally {
      await client.close()
    }
  })

  it.each(names.filter(h => QUOTING.includes(h)))('%j is not there', async h => {
    for (const table of [{ name: h }, { schema: h, name: 'events' }, { name: 'canary', columns: { id: h } }]) {
      const client = await connect({ url, table })
      try {
        await failure(client.query().execute(), 'UNKNOWN_TABLE')
        await failure(client.append([event]), 'UNKNOWN_TABLE')
        await failure(
          client.importEvents([{ ...event, id: '0197b0a2-6f0c-7c3e-9d1f-2b8e5a4c6d70', metadata: {} }]),
          'UNKNOWN_TABLE'
        )
      } finally {
        await client.close()
      }
    }
  })

  it.each<[object, string]>([
    [{ name: '' }, 'table.name'],
    [{ name: 'a\0' }, 'table.name'],
    [{ name: 'x'.repeat(64) }, 'table.name'],
    [{ schema: '' }, 'table.schema'],
    [{ schema: '\0' }, 'table.schema'],
    [{ columns: { id: '' } }, 'table.columns.id'],
    [{ columns: { data: 'x'.repeat(70) } }, 'table.columns.data'],
    [{ columns: { key: 'x' } }, 'table.columns.key'],
    [{ columns: { id: 5 } }, 'table.columns.id'],
    [{ name: 'a\ud800' }, 'table.name'],
    [{ tables: 'x' }, 'table.tables']
  ])('%j is no name', async (table, path) => {
    const error = await failure(connect({ url, table }), 'INVALID_QUERY')
    expect(error.path).toBe(path)
  })
})

it('keeps the password of a url out of errors', async () => {
  const secret = 'hunter2-%22%27'
  const server = new URL(process.env.TAMMA_TEST_DATABASE_URL!)
  const urls = [
    `postgres://postgres:${secret}@${server.host}/postgres`,
    `postgres://u:${secret}@127.0.0.1:1/x`,
    `mysql://u:${secret}@h/x`,
    `postgres://u:${secret}@h:port/x`,
    `postgres://u:${secret}@[::1/x`
  ]
  for (const url of urls) {
    const error = await failure(connect({ url, pool: { acquireTimeout: 2000 } }))
    expect(`${error.message} ${error.stack} ${JSON.stringify(error)} ${String(error.cause)}`).not.toContain('hunter2')
  }
})
