// Cached answers: as fresh as was asked for, and nothing older, whatever is done to the table.
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { CacheHint, EventsClient, QueryResult } from '../index.js'
import { TestDatabase } from './support/database'

let database: TestDatabase
let events: EventsClient
let next = 0

beforeAll(async () => {
  database = await TestDatabase.create({ events: 500 })
  events = await database.connect()
})
afterAll(async () => {
  await database.admin.query(`DROP ROLE IF EXISTS ${database.name}_role`)
  await database.drop()
})

const strict = { consistency: 'strict' } satisfies CacheHint

/** A type that no other test writes. */
const fresh = () => `CACHE.T${next++}.X`

const add = (type: string, count = 1, timestamp?: string) =>
  events.append(Array.from({ length: count }, () => (timestamp ? { type, timestamp } : { type })))

const counted = (type: string, hint: CacheHint | true = strict, client = events) =>
  client
    .query()
    .where({ eventTypes: [type] })
    .count()
    .hint({ cache: hint })
    .execute() as Promise<QueryResult<{ count: number }>>

const outcome = async (asked: Promise<QueryResult<{ count: number }>>) => {
  const { rows, cache } = await asked
  return [cache, rows[0]?.count]
}

describe('strict', () => {
  it('answers from memory until something matching is new', async () => {
    const type = fresh()
    expect(await outcome(counted(type))).toEqual(['miss', 0])
    expect(await outcome(counted(type))).toEqual(['memory', 0])
    await add(fresh())
    expect(await outcome(counted(type))).toEqual(['memory', 0])
    await add(type, 2)
    expect((await counted(type)).rows[0]?.count).toBe(2)
    expect(await outcome(counted(type))).toEqual(['memory', 2])
  })

  it('asks for the snapshot alone while no transaction ends, and for the rest once one has', async () => {
    const type = fresh()
    const client = await database.connect({ pool: { max: 1 } })
    const asked = async () => {
      const { rows } = await counted(type, strict, client)
      const backends = await database.backends()
      return [
        rows[0]?.count,
        backends.some(({ query }) => query.startsWith("SELECT concat_ws('|', pg_current_snapshot()"))
      ]
    }
    // Elsewhere on the server something may end at any time.
    await expect.poll(asked, { timeout: 10_000, interval: 5 }).toEqual([0, true])
    await add(type)
    expect(await asked()).toEqual([1, false])
    await expect.poll(asked, { timeout: 10_000, interval: 5 }).toEqual([1, true])
    await client.close()
  })

  it('sees late commits: a transaction that was open when the answer was read', async () => {
    const type = fresh()
    const writer = new pg.Client({ connectionString: database.url })
    await writer.connect()
    const insert = `INSERT INTO events (event_id, event_type, "timestamp") VALUES (gen_random_uuid(), $1, '2001-01-01Z')`
    try {
      await writer.query('BEGIN')
      await writer.query(insert, [type])
      await writer.query('SAVEPOINT a')
      await writer.query(insert, [type])
      await writer.query('ROLLBACK TO a')
      await counted(type)
      // Others begin and end meanwhile.
      await add(type)
      expect((await counted(type)).rows[0]?.count).toBe(1)
      await writer.query('COMMIT')
      expect((await counted(type)).rows[0]?.count).toBe(2)
      expect(await outcome(counted(type))).toEqual(['memory', 2])
    } finally {
      await writer.end()
    }
  })

  it('gives fresh objects', async () => {
    const list = () => events.query().orderBy('timestamp').limit(3).cache(strict).execute()
    const [first] = (await list()).rows
    Object.assign(first?.tags ?? {}, { text: 'spoilt' })
    const again = await list()
    expect(again.cache).toBe('memory')
    const { rows } = await events.query().orderBy('timestamp').limit(3).execute()
    expect(again.rows).toEqual(rows)
  })
})

describe('lists', () => {
  it.each(['asc', 'desc'] as const)('merge new rows, ordered %s and cut', async direction => {
    const type = fresh()
    const list = (cached: boolean) => {
      const query = events
        .query()
        .where({ eventTypes: [type] })
        .orderBy('timestamp', direction)
        .limit(3)
      return (cached ? query.cache(strict) : query).execute()
    }
    for (const [i, day] of ['03', '01', '05', '02', '09', '04'].entries()) {
      await add(type, 1, `2020-01-${day}T00:00:00Z`)
      const [kept, direct] = [await list(true), await list(false)]
      expect(kept.cache).toBe(i === 0 ? 'miss' : 'delta')
      expect(kept.rows).toEqual(direct.rows)
      expect(kept.nextCursor).toBe(direct.nextCursor)
    }
    const first = await list(true)
    const rest = events
      .query()
      .where({ eventTypes: [type] })
      .orderBy('timestamp', direction)
      .after(first.nextCursor)
    const [page, cached] = [await rest.execute(), await rest.cache(strict).execute()]
    expect(cached.rows).toEqual(page.rows)
    expect(page.rows).toHaveLength(3)
  })

  it('miss nothing that stands behind more new events than are read', async () => {
    const type = fresh()
    const list = () =>
      events
        .query()
        .where({ eventTypes: [type] })
        .limit(5)
        .cache(strict)
        .execute()
    await list()
    await database.admin.query(
      `INSERT INTO events (event_id, event_type, "timestamp")
       SELECT gen_random_uuid(), 'MANY.A.X', '2024-01-01Z' FROM generate_series(1, 5100)`
    )
    await add(type)
    expect(await list()).toMatchObject({ cache: 'miss', rowCount: 1 })
  })

  it('without a limit take the new rows in', async () => {
    const type = fresh()
    const list = () =>
      events
        .query()
        .where({ eventTypes: [type] })
        .cache(strict)
        .execute()
    expect((await list()).rows).toEqual([])
    await add(type, 2)
    expect(await list()).toMatchObject({ cache: 'delta', rowCount: 2 })
  })
})

describe('bounded', () => {
  it('answers from memory while the answer is young enough', async () => {
    const type = fresh()
    const hint = { maxStaleness: '10 minutes' } as const
    expect(await outcome(counted(type, hint))).toEqual(['miss', 0])
    await add(type)
    expect(await outcome(counted(type, hint))).toEqual(['memory', 0])
    expect((await counted(type)).rows[0]?.count).toBe(1)
    // The strict read brought it up to date for all.
    expect(await outcome(counted(type, hint))).toEqual(['memory', 1])
  })

  it('is never older than promised', async () => {
    const type = fresh()
    const committed: number[] = []
    await counted(type, { maxStaleness: 50 })
    for (let i = 0; i < 40; i++) {
      await add(type)
      committed.push(performance.now())
      // Now and then longer than it may be old, with nobody else to bring it up to date.
      if (i % 8 === 0) await sleep(60)
      const asked = performance.now()
      const { rows } = await counted(type, { maxStaleness: 50 })
      const atLeast = committed.filter(at => at < asked - 50).length
      expect(rows[0]?.count).toBeGreaterThanOrEqual(atLeast)
    }
  })
})

describe('session', () => {
  it('includes the write and the answer behind a token', async () => {
    const type = fresh()
    await counted(type)
    const other = await database.connect()
    const { token } = await other.append([{ type }])
    expect((await counted(type, { consistency: 'session', token })).rows[0]?.count).toBe(1)
    const seen = await counted(type, strict, other)
    expect(await outcome(counted(type, { token: seen.token }))).toEqual([expect.any(String), 1])
  })

  it('refuses what is no token', async () => {
    const refused = { code: 'INVALID_QUERY', path: 'hints.cache.token' }
    await expect(counted(fresh(), { token: 'nonsense' })).rejects.toMatchObject(refused)
  })
})

describe('what the owner does to the table', () => {
  const change = (statement: string) =>
    database.admin.query(`BEGIN;
      SELECT set_config('tamma_events.change_in_transaction', pg_current_xact_id()::text, true);
      ${statement}; COMMIT`)

  it.each([
    ['DELETE', (type: string) => change(`DELETE FROM events WHERE event_type = '${type}'`)],
    ['UPDATE', (type: string) => change(`UPDATE events SET event_type = 'CACHE.GONE' WHERE event_type = '${type}'`)]
  ] as const)('%s is seen, by answers that merge and by those that do not', async (_, act) => {
    const type = fresh()
    await add(type, 3)
    const of = () => events.query().where({ eventTypes: [type] })
    const list = () => of().orderBy('timestamp').limit(5).cache(strict).execute()
    const ids = () => of().aggregate({ fn: 'countDistinct', field: 'id', as: 'n' }).cache(strict).execute()
    expect((await counted(type)).rows[0]?.count).toBe(3)
    expect((await list()).rows).toHaveLength(3)
    expect((await ids()).rows).toEqual([{ n: 3 }])
    await act(type)
    expect((await counted(type)).rows[0]?.count).toBe(0)
    expect((await list()).rows).toEqual([])
    expect((await ids()).rows).toEqual([{ n: 0 }])
    expect(await outcome(counted(type))).toEqual(['memory', 0])
  })

  it('an event is of the transaction that wrote it, whatever the statement says', async () => {
    const type = fresh()
    expect((await counted(type)).rows[0]?.count).toBe(0)
    await database.admin.query(
      `INSERT INTO events (event_id, event_type, "timestamp", transaction_id) VALUES (gen_random_uuid(), $1, now(), '3')`,
      [type]
    )
    expect((await counted(type)).rows[0]?.count).toBe(1)
  })

  it('a disabled trigger voids what was kept, and nothing is kept until it is back', async () => {
    const type = fresh()
    await add(type)
    await counted(type)
    await database.admin.query('ALTER TABLE events DISABLE TRIGGER zzz_tamma_guard_insert')
    try {
      // Past the default: the delta can't find it.
      await database.admin.query(
        `INSERT INTO events (event_id, event_type, "timestamp", transaction_id) VALUES (gen_random_uuid(), $1, now(), '3')`,
        [type]
      )
      const seen = await counted(type)
      expect(seen.rows[0]?.count).toBe(2)
      expect(seen.cache).toBe('off')
      expect(seen.hints).toEqual([
        { hint: 'cache', value: 'strict', honoured: false, reason: expect.stringContaining('trigger') }
      ])
    } finally {
      await database.admin.query('ALTER TABLE events ENABLE ALWAYS TRIGGER zzz_tamma_guard_insert')
    }
  })

  it('transaction ids of the future are not kept', async () => {
    const type = fresh()
    const admin = database.admin
    await admin.query('ALTER TABLE events DISABLE TRIGGER zzz_tamma_guard_insert')
    await admin.query(
      `INSERT INTO events (event_id, event_type, "timestamp", transaction_id)
       SELECT gen_random_uuid(), $1, now(), (pg_current_xact_id()::text::bigint + 20)::text::xid8`,
      [type]
    )
    await admin.query('ALTER TABLE events ENABLE ALWAYS TRIGGER zzz_tamma_guard_insert')
    for (let i = 0; i < 30; i++) {
      expect((await counted(type)).rows[0]?.count).toBe(1)
      await admin.query('SELECT pg_current_xact_id()')
    }
    await exactAgain(type)
  })

  it('without a nonce nothing is kept, and whoever finds it gone makes a new one', async () => {
    const type = fresh()
    await add(type)
    await counted(type)
    const { rows } = await database.admin.query('DELETE FROM events_incarnation RETURNING nonce')
    const seen = await counted(type)
    expect(seen.cache).toBe('off')
    expect(seen.hints?.[0]?.reason).toContain('nonce')
    await add(type)
    expect(await outcome(counted(type))).toEqual(['miss', 2])
    expect(await outcome(counted(type))).toEqual(['memory', 2])
    const { rows: renewed } = await database.admin.query('SELECT nonce FROM events_incarnation')
    expect(renewed).toHaveLength(1)
    expect(renewed[0].nonce).not.toBe(rows[0].nonce)
  })

  it('TRUNCATE is seen', async () => {
    const other = await TestDatabase.create({ events: 50 })
    const client = await other.connect()
    const count = async () => (await client.query().count().cache(strict).execute()).rows[0]
    expect(await count()).toEqual({ count: 50 })
    await other.admin.query('ALTER TABLE events DISABLE TRIGGER tamma_1_refuse_truncate; TRUNCATE events')
    expect(await count()).toEqual({ count: 0 })
    await other.drop()
  })

  it('a table without transaction_id is answered, and the hint says why not from the cache', async () => {
    const other = await TestDatabase.create({ events: 20 })
    await other.admin.query('ALTER TABLE events DROP COLUMN transaction_id CASCADE')
    const client = await other.connect()
    const count = (hint: CacheHint) => client.query().count().cache(hint).execute()
    const seen = await count(strict)
    expect(seen).toMatchObject({ cache: 'off', rows: [{ count: 20 }], hints: [{ hint: 'cache', honoured: false }] })
    // By age alone, which is what bounded promises.
    expect(await count({ maxStaleness: '1 minute' })).toMatchObject({ cache: 'miss', rows: [{ count: 20 }] })
    expect(await count({ maxStaleness: '1 minute' })).toMatchObject({ cache: 'memory', rows: [{ count: 20 }] })
    await other.drop()
  })
})

/** What can't be exact is not tried again for two seconds. */
async function exactAgain(type: string) {
  await expect.poll(async () => (await counted(type)).cache, { timeout: 10_000, interval: 100 }).not.toBe('off')
}

describe('windows that end at the clock', () => {
  it('let events of the future in when their time has come', async () => {
    const type = fresh()
    const recent = () =>
      events
        .query()
        .where({ eventTypes: [type] })
        .timeWindow({ last: '1 hour' })
        .count()
        .cache(strict)
        .execute()
    await add(type, 1, new Date(Date.now() + 400).toISOString())
    await add(type, 1, new Date(Date.now() - 3_600_000 + 900).toISOString())
    const counts = new Set<number>()
    await expect
      .poll(
        async () => {
          const direct = async () =>
            (
              await events
                .query()
                .where({ eventTypes: [type] })
                .timeWindow({ last: '1 hour' })
                .count()
                .execute()
            ).rows[0]
          const [before, cached, after] = [await direct(), (await recent()).rows[0], await direct()]
          if (before?.count === after?.count) expect(cached).toEqual(before)
          counts.add(cached?.count ?? -1)
          return performance.now() && counts.size > 1 && cached?.count === 1 && counts.has(1)
        },
        { timeout: 10_000, interval: 20 }
      )
      .toBe(true)
  })
})

describe('keys', () => {
  const filtered = (value: unknown) => ({
    filter: { where: { field: 'data.n', op: 'eq', value } } as never,
    hints: { cache: strict }
  })
  const key = (query: Parameters<EventsClient['cache']['keyOf']>[0], client = events) => client.cache.keyOf(query)

  it('differ in all that matters', async () => {
    const role = `${database.name}_role`
    await database.admin.query(`CREATE ROLE ${role} LOGIN PASSWORD 'x' SUPERUSER`)
    const url = new URL(database.url)
    url.username = role
    url.password = 'x'
    const keys = [
      key(filtered(1)),
      key(filtered('1')),
      key(filtered(true)),
      key(filtered(null)),
      key(filtered('é')),
      key(filtered('e\u0301')),
      key(filtered([1, 2])),
      key(filtered([2, 1])),
      key({ ...filtered(1), limit: 1 }),
      key({ ...filtered(1), limit: 2 }),
      key({ ...filtered(1), select: ['id'] }),
      key({ ...filtered(1), selectAs: { a: 'id' } }),
      key({ ...filtered(1), orderBy: [{ field: 'id' }] }),
      key(filtered(1), await database.connect({ bigint: 'string' })),
      key(filtered(1), await database.connect({ url: url.href })),
      key(filtered(1), await database.connect({ url: `${database.url}?options=-c%20search_path%3Dpublic%2Cpg_temp` }))
    ]
    expect(new Set(keys).size).toBe(keys.length)
  })

  it('are the same for what means the same', () => {
    expect(key(filtered(0))).toBe(key(filtered(-0)))
    expect(key(filtered({ a: 1, b: 2 }))).toBe(key(filtered({ b: 2, a: 1 })))
    expect(key({ filter: { eventTypes: ['A', 'B'] } })).toBe(key({ filter: { eventTypes: ['B', 'A', 'B'] } }))
    expect(key({ ...filtered(1), id: 'x', hints: { cache: true, timeout: 5 } })).toBe(key(filtered(1)))
  })

  it('share an entry, and each gets a cursor of its own', async () => {
    const of = (types: string[]) => events.query().where({ eventTypes: types }).limit(1)
    const types = [(await events.query().limit(1).execute()).rows[0]?.type ?? '', 'PR.MERGED.SUCCESS']
    await of(types).cache(strict).execute()
    const turned = await of(types.toReversed()).cache(strict).execute()
    expect(turned.cache).toBe('memory')
    expect((await of(types.toReversed()).after(turned.nextCursor).execute()).rows).toHaveLength(1)
  })
})

describe('one at a time', () => {
  it('many who want one answer run one statement, and join no check that is on its way', async () => {
    const type = fresh()
    const before = await events.cache.getCacheStats()
    const all = await Promise.all(Array.from({ length: 500 }, () => counted(type)))
    expect(new Set(all.map(({ rows }) => rows[0]?.count))).toEqual(new Set([0]))
    const after = await events.cache.getCacheStats()
    expect(after.misses - before.misses).toBe(1)
    expect(after.coalesced - before.coalesced).toBeGreaterThan(400)
  })

  it('a read never misses a write that was acknowledged before it', async () => {
    const type = fresh()
    let acknowledged = 0
    const lanes = Array.from({ length: 8 }, async () => {
      for (let i = 0; i < 40; i++) {
        if (i % 4 === 0) {
          await add(type)
          acknowledged += 1
        }
        const atLeast = acknowledged
        const { rows } = await counted(type)
        expect(rows[0]?.count).toBeGreaterThanOrEqual(atLeast)
      }
    })
    await Promise.all(lanes)
  })
})

describe('what does not pay', () => {
  it('is not kept any longer, for a while, and answered all the same', async () => {
    const type = fresh()
    const client = await database.connect()
    // A page from the middle can't be merged: it is void whenever its type has a new event.
    const page = () =>
      client
        .query()
        .where({ eventTypes: [type] })
        .orderBy('timestamp')
        .offset(1)
        .limit(5)
    const asked = () => page().cache({ consistency: 'strict' }).execute()
    const rejected = async () => (await client.cache.getCacheStats()).rejected
    await add(type, 2)
    expect((await asked()).cache).toBe('miss')
    expect((await asked()).cache).toBe('memory')
    for (let i = 0; (await rejected()) === 0; i++) {
      expect(i).toBeLessThan(200)
      await add(type)
      const { cache, rows } = await asked()
      expect(cache).toBe('miss')
      expect(rows).toEqual((await page().execute()).rows)
    }
    // Nothing is new, and still nothing is kept.
    expect((await asked()).cache).toBe('miss')
    expect((await asked()).cache).toBe('miss')
    await client.cache.optimize()
    expect((await asked()).cache).toBe('miss')
    expect((await asked()).cache).toBe('memory')
    await client.close()
  })
})

describe('memory', () => {
  it('stays under its limit and counts what it throws out', async () => {
    const client = await database.connect({ cache: { maxMemoryBytes: 400_000 } })
    for (let n = 0; n < 200; n++) {
      await client.query().where('data.n', 'gte', n).orderBy('timestamp').limit(20).cache(strict).execute()
    }
    const { entries, memoryBytes, evictions, maxMemoryBytes } = await client.cache.getCacheStats()
    expect(memoryBytes).toBeLessThanOrEqual(maxMemoryBytes)
    expect(memoryBytes).toBeGreaterThan(100_000)
    expect(entries).toBeGreaterThan(5)
    expect(evictions).toBeGreaterThan(50)
  })
})

it('streams do not use the cache, and say so', async () => {
  const rows = []
  for await (const row of events.query().limit(2).cache(strict).executeStream()) rows.push(row)
  expect(rows).toHaveLength(2)
})

it('what is new is found by the index, in a large table, beside a transaction that stays open', async () => {
  const other = await TestDatabase.create({ events: 30_000 })
  const client = await other.connect({ pool: { max: 1 } })
  const held = new pg.Client({ connectionString: other.url })
  await held.connect()
  // What it wrote can't be seen, and must not be read at each check either.
  await held.query(
    `BEGIN; INSERT INTO events (event_id, event_type, "timestamp")
     SELECT gen_random_uuid(), 'HELD.A.X', now() FROM generate_series(1, 4000)`
  )
  const asked = [
    client.query().groupBy(['type']).count().cache(strict),
    client.query().orderBy('timestamp', 'desc').limit(5).cache(strict),
    client.query().where('data.n', 'gte', 29_000).aggregate({ fn: 'median', field: 'data.n', as: 'm' }).cache(strict)
  ]
  const all = () => Promise.all(asked.map(query => query.execute()))
  await all()
  const read = async () => {
    // Else a backend tells what it did ten seconds after it became idle.
    await client.sql`SELECT pg_stat_force_next_flush()`.execute()
    const { rows } = await other.admin.query(
      `SELECT t.seq_tup_read::int AS seq, i.idx_scan::int AS idx, i.idx_tup_read::int AS entries
       FROM pg_stat_user_tables AS t, pg_stat_user_indexes AS i
       WHERE t.relname = 'events' AND i.relid = t.relid AND i.indexrelname LIKE '%transaction_id%'`
    )
    return rows[0] as { seq: number; idx: number; entries: number }
  }
  await expect.poll(async () => (await read()).seq, { timeout: 10_000, interval: 200 }).toBeGreaterThan(30_000)
  const before = await read()
  for (let n = 0; n < 20; n++) {
    // Where nothing at all has happened the events are not looked at.
    await client.append([{ type: 'NEW.A.X' }])
    await all()
  }
  await expect.poll(async () => (await read()).idx, { timeout: 10_000, interval: 200 }).toBeGreaterThan(before.idx + 50)
  const after = await read()
  expect(after.seq).toBe(before.seq)
  expect(after.entries - before.entries).toBeLessThan(4000)
  await held.query('ROLLBACK')
  await held.end()
  await other.drop()
})
