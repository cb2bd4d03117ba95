// since(token): what an answer could not see, and nothing else; who refuses it, and what it costs.
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { connect, type DomainEvent, type EventsClient, type QueryResult } from '../index.js'
import { TestDatabase } from './support/database'
import { drain, failure } from './support/errors'

let database: TestDatabase
let client: EventsClient
beforeAll(async () => {
  database = await TestDatabase.create()
  client = await database.connect()
})
afterAll(() => database?.drop())
beforeEach(async () => {
  await database.admin.query(`BEGIN;
    SELECT set_config('tamma_events.change_in_transaction', pg_current_xact_id()::text, true);
    TRUNCATE events; COMMIT`)
})

const TYPE = 'CODE.GENERATED.SUCCESS'
const write = (...names: string[]) => client.append(names.map(name => ({ type: TYPE, data: { name } })))
const names = (rows: DomainEvent[]) => rows.map(row => row.data.name).sort()
/** A builder, whatever its rows are. */
interface Asking<Row> {
  since(token: string | undefined): { execute(): Promise<QueryResult<Row>> }
}
function since(token?: string): Promise<QueryResult>
function since<Row>(token: string | undefined, query: Asking<Row>): Promise<QueryResult<Row>>
function since(token?: string, query: Asking<unknown> = client.query()) {
  return query.since(token).execute()
}
/** Inserts by a driver that knows nothing of this package. */
const insert = (writer: pg.Client, name: string) =>
  writer.query(
    `INSERT INTO events (event_id, event_type, "timestamp", data)
     VALUES (gen_random_uuid(), '${TYPE}', now(), jsonb_build_object('name', $1::text))`,
    [name]
  )

async function otherWriter() {
  const writer = new pg.Client({ connectionString: database.url })
  await writer.connect()
  return Object.assign(writer, { [Symbol.asyncDispose]: () => writer.end() })
}

describe('what is new', () => {
  it('is what was written after the answer', async () => {
    await write('a', 'b')
    const first = await client.query().execute()
    expect((await since(first.token)).rows).toEqual([])
    await write('c')
    const news = await since(first.token)
    expect(names(news.rows)).toEqual(['c'])
    expect((await since(news.token)).rows).toEqual([])
    // The token of an answer stays good.
    await write('d')
    expect(names((await since(first.token)).rows)).toEqual(['c', 'd'])
    expect(names((await since(news.token)).rows)).toEqual(['d'])
  })

  it('begins with everything', async () => {
    await write('a', 'b')
    const all = await since(undefined)
    expect(names(all.rows)).toEqual(['a', 'b'])
    await write('c')
    expect(names((await since(all.token)).rows)).toEqual(['c'])
    expect(client.query().since(undefined).toQuery()).toEqual({ filter: {}, since: null })
  })

  it('is what began before the answer and was committed after it', async () => {
    await using late = await otherWriter()
    await using undone = await otherWriter()
    await late.query('BEGIN')
    await insert(late, 'late')
    await undone.query('BEGIN')
    await insert(undone, 'undone')
    await write('early')
    const first = await client.query().execute()
    expect(names(first.rows)).toEqual(['early'])
    await write('after')
    const second = await since(first.token)
    expect(names(second.rows)).toEqual(['after'])
    await late.query('COMMIT')
    await undone.query('ROLLBACK')
    const third = await since(second.token)
    expect(names(third.rows)).toEqual(['late'])
    expect(names((await since(first.token)).rows)).toEqual(['after', 'late'])
    expect((await since(third.token)).rows).toEqual([])
  })

  it('leaves out savepoints that were rolled back, and nothing else of their transaction', async () => {
    await using writer = await otherWriter()
    const { token } = await since(undefined)
    await writer.query('BEGIN')
    await insert(writer, 'one')
    await writer.query('SAVEPOINT s')
    await insert(writer, 'undone')
    await writer.query('ROLLBACK TO s')
    await insert(writer, 'two')
    await writer.query('SAVEPOINT t')
    await insert(writer, 'three')
    await writer.query('RELEASE t')
    const before = await since(token)
    await writer.query('COMMIT')
    expect(before.rows).toEqual([])
    expect(names((await since(before.token)).rows)).toEqual(['one', 'three', 'two'])
  })

  it('behind a receipt is what others wrote', async () => {
    await using late = await otherWriter()
    await late.query('BEGIN')
    await insert(late, 'late')
    const { token } = await write('mine')
    expect((await since(token)).rows).toEqual([])
    await late.query('COMMIT')
    await write('after')
    expect(names((await since(token)).rows)).toEqual(['after', 'late'])
  })

  it('is told to other clients and processes', async () => {
    const { token } = await write('a')
    const other = await database.connect()
    await write('b')
    expect(names((await other.query().since(token).execute()).rows)).toEqual(['b'])
  })

  it('is as filtered, selected, ordered and grouped as any other answer', async () => {
    await write('a', 'b')
    const { token } = await client.query().execute()
    await client.append([
      { type: TYPE, tags: { issueId: '1' }, data: { name: 'c', n: 2 } },
      { type: TYPE, tags: { issueId: '2' }, data: { name: 'd', n: 5 } },
      { type: 'PR.OPENED.SUCCESS', tags: { issueId: '1' }, data: { name: 'e', n: 1 } }
    ])
    const query = client.query().since(token)
    expect(names((await query.where('tags.issueId', 'eq', '1').execute()).rows)).toEqual(['c', 'e'])
    const ordered = await query.select({ name: 'data.name' }).orderBy('data.n', 'desc').execute()
    expect(ordered.rows).toEqual([{ name: 'd' }, { name: 'c' }, { name: 'e' }])
    const grouped = await query.groupBy(['type']).count().orderBy('type').execute()
    expect(grouped.rows).toEqual([
      { type: TYPE, count: 2 },
      { type: 'PR.OPENED.SUCCESS', count: 1 }
    ])
    expect((await since(grouped.token, client.query().count())).rows).toEqual([{ count: 0 }])
    expect(await drain(query.select(['type']).orderBy('type').executeStream())).toHaveLength(3)
    // An impossible filter asks nothing of the events, and still moves on.
    const none = await query.where('type', 'eq', 'A.B').where('type', 'eq', 'C.D').execute()
    expect(none.rows).toEqual([])
    await write('f')
    expect(names((await since(none.token)).rows)).toEqual(['f'])
  })
})

describe('with a limit', () => {
  const numbers = Array.from({ length: 23 }, (_, i) => String(i).padStart(2, '0'))

  it('goes on by tokens: each event once, whatever is written meanwhile', async () => {
    const { token } = await write('old')
    await write(...numbers)
    const seen: unknown[] = []
    let next: string | undefined = token
    for (let page = 0; page < 12; page++) {
      const result: QueryResult = await since(next, client.query().limit(5))
      seen.push(...result.rows.map(row => row.data.name))
      // An earlier timestamp than all that is left: it must not get lost behind the page's end.
      await client.append([{ type: TYPE, timestamp: '2020-01-01T00:00:00Z', data: { name: `new ${page}` } }])
      next = result.token
    }
    const late = await since(next)
    const all = [...seen, ...late.rows.map(row => row.data.name)].sort()
    expect(all).toEqual([...numbers, ...Array.from({ length: 12 }, (_, i) => `new ${i}`)].sort())
  })

  it('goes on by cursors over one state', async () => {
    await write(...numbers)
    const query = client.query().since(undefined).orderBy('data.name', 'desc').limit(10)
    const pages: QueryResult[] = []
    let cursor: string | undefined
    do {
      const page: QueryResult = await query.after(cursor).execute()
      pages.push(page)
      await write('zz')
      cursor = page.nextCursor
    } while (cursor !== undefined)
    expect(pages.map(page => page.rows.map(row => row.data.name))).toEqual([
      numbers.slice(13).reverse(),
      numbers.slice(3, 13).reverse(),
      numbers.slice(0, 3).reverse()
    ])
    // The last page's token has seen that state; tokens of the others go on behind them.
    expect(names((await since(pages[2].token)).rows)).toEqual(['zz', 'zz', 'zz'])
    const again = await client.query().since(pages[0].token).orderBy('data.name', 'desc').limit(10).execute()
    expect(again.rows).toEqual(pages[1].rows)
    const mixed = await client
      .query()
      .since(pages[0].token)
      .orderBy('data.name', 'desc')
      .limit(10)
      .after(pages[1].nextCursor)
      .execute()
    expect(mixed.rows).toEqual(pages[2].rows)
  })

  it('of groups goes on too', async () => {
    await client.append(['A', 'B', 'C', 'D', 'E'].map(letter => ({ type: `${letter}.X`, data: {} })))
    const query = (token?: string) => client.query().groupBy(['type']).count().orderBy('type').limit(2).since(token)
    const first = await query().execute()
    await client.append([{ type: 'A.X' }, { type: 'E.X' }])
    const second = await query(first.token).execute()
    const third = await query(second.token).execute()
    const news = await query(third.token).execute()
    const types = [first, second, third, news].map(page => page.rows.map(row => `${row.type[0]}${row.count}`).join())
    expect(types).toEqual(['A1,B1', 'C1,D1', 'E1', 'A1,E1'])
  })

  it('of nothing has returned nothing', async () => {
    await write('a')
    for (const begin of [undefined, (await since(undefined)).token]) {
      await write('b')
      const whole = await since(begin)
      const none = await since(begin, client.query().limit(0))
      expect(none.rows).toEqual([])
      expect((await since(none.token)).rows).toHaveLength(whole.rows.length)
    }
  })

  it('a page is continued by its own query alone', async () => {
    await write(...numbers)
    const { token } = await since(undefined, client.query().limit(5))
    // The limit may change, or go: the rows are what is left.
    expect((await since(token, client.query().limit(7))).rows).toHaveLength(7)
    expect((await since(token)).rows).toHaveLength(18)
    const others: Asking<unknown>[] = [
      client.query().where('type', 'eq', TYPE).limit(5),
      client.query().orderBy('type').limit(5),
      client.query().count()
    ]
    for (const query of others) {
      const error = await failure(since(token, query), 'INVALID_QUERY')
      expect(error).toMatchObject({ path: 'since', message: expect.stringContaining('the same query') })
    }
  })
})

describe('what is refused', () => {
  it('is anything but a token, at its place', async () => {
    const { token } = await write('a')
    for (const wrong of ['', 'x', token.slice(1), `${token}A`, `${token.slice(0, -2)}AA`, 7 as never, {} as never]) {
      expect(await failure(since(wrong), 'INVALID_QUERY')).toMatchObject({ path: 'since' })
    }
  })

  it('is the token of another database', async () => {
    const other = await TestDatabase.create()
    try {
      const { token } = await (await other.connect()).append([{ type: TYPE }])
      const error = await failure(since(token), 'INVALID_QUERY')
      expect(error.path).toBe('since')
      expect(error.message).toContain('another database')
    } finally {
      await other.drop()
    }
  })

  it('is an offset, and another table', async () => {
    expect(await failure(since(undefined, client.query().offset(1)), 'INVALID_QUERY')).toMatchObject({ path: 'offset' })
    const query = client.query().from('query_cache').since(undefined)
    expect(await failure(query.execute(), 'INVALID_QUERY')).toMatchObject({ path: 'since' })
  })

  it('is a table that does not say which transaction wrote an event', async () => {
    await database.admin.query(`CREATE TABLE plain (event_id uuid PRIMARY KEY, event_type text NOT NULL,
      "timestamp" timestamptz NOT NULL, tags jsonb NOT NULL, metadata jsonb NOT NULL, data jsonb NOT NULL)`)
    const plain = await connect({ url: database.url, table: { name: 'plain' } })
    try {
      expect((await plain.query().execute()).rows).toEqual([])
      const error = await failure(plain.query().since(undefined).execute(), 'UNSUPPORTED')
      expect(error).toMatchObject({ path: 'since', message: expect.stringContaining('migrate()') })
    } finally {
      await plain.close()
    }
    const missing = await connect({ url: database.url, table: { name: 'missing' } })
    try {
      await failure(missing.query().since(undefined).execute(), 'UNKNOWN_TABLE')
    } finally {
      await missing.close()
    }
  })
})

describe('what it reads', () => {
  it.each([
    ['created', 'events'],
    ['adopted', 'older']
  ])('is by the index, whatever else runs: a table that was %s', async (_, table) => {
    const { admin } = database
    if (table === 'older') {
      await admin.query(`CREATE TABLE older (event_id uuid PRIMARY KEY, event_type text NOT NULL,
        "timestamp" timestamptz NOT NULL, tags jsonb NOT NULL, metadata jsonb NOT NULL, data jsonb NOT NULL,
        created_at timestamptz DEFAULT now())`)
    }
    await admin.query(`INSERT INTO ${table} (event_id, event_type, "timestamp", tags, metadata, data)
      SELECT gen_random_uuid(), '${TYPE}', now() - i * interval '1 s', '{}', '{}', jsonb_build_object('i', i)
      FROM generate_series(1, 60000) i`)
    const reader = await connect({ url: database.url, table: { name: table }, migrate: true })
    await using long = await otherWriter()
    await using bulk = await otherWriter()
    try {
      await admin.query(`ANALYZE ${table}`)
      await long.query('BEGIN; SELECT pg_current_xact_id()')
      const { token } = await reader.query().count().execute()
      await bulk.query('BEGIN')
      await bulk.query(`INSERT INTO ${table} (event_id, event_type, "timestamp", tags, metadata, data)
        SELECT gen_random_uuid(), '${TYPE}', now(), '{}', '{}', '{}' FROM generate_series(1, 30000) i`)
      await reader.append(Array.from({ length: 50 }, (_, i) => ({ type: TYPE, data: { i } })))
      const news = reader.query().since(token)
      for (const query of [
        news,
        news.orderBy('timestamp').limit(10),
        news.where('type', 'eq', TYPE).limit(10),
        news.groupBy(['type']).count()
      ]) {
        const plan = await query.explain({ analyze: true })
        expect(plan.indexesUsed.join(), plan.toString()).toContain('transaction_id')
        const { hit, read } = plan.steps[0].buffers as { hit: number; read: number }
        // A scan of the table, or of what is not committed, would be a thousand and more.
        expect(hit + read, plan.toString()).toBeLessThan(100)
      }
      expect((await news.execute()).rows).toHaveLength(50)
      // Every run of one shape, also once the server could settle on a generic plan.
      for (let i = 0; i < 12; i++) expect((await news.limit(20).execute()).rows).toHaveLength(20)
      await bulk.query('ROLLBACK')
      await long.query('ROLLBACK')
    } finally {
      await reader.close()
    }
  })

  it('is shown as what it means', async () => {
    const { token } = await write('a')
    const { sql } = client.query().since(token).toSQL()
    expect(sql).toContain('NOT pg_visible_in_snapshot(e."transaction_id"')
    expect(client.query().since(undefined).toSQL().sql).toBe(client.query().toSQL().sql)
  })
})
