// Indexes built, dropped and rebuilt, against the server's own catalogs.
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { EventsClient, IndexDefinition, Progress } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'
import { until } from './support/wait'

let database: TestDatabase
let client: EventsClient
beforeAll(async () => {
  database = await TestDatabase.create({ events: 20_000 })
  client = await database.connect()
})
afterAll(() => database?.drop())

const MIGRATED = /^(events_pkey|idx_events_(timestamp|transaction_id|composite_[123]))$/
const server = async <T = string>(sql: string, values: unknown[] = []) =>
  (await database.admin.query({ text: sql, values, rowMode: 'array' })).rows.map(row => row[0] as T)
const names = () =>
  server(`SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'events'::regclass ORDER BY 1`)
const invalid = () => server(`SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid`)
const definitionOf = async (name: string) => (await server(`SELECT pg_get_indexdef($1::regclass)`, [name]))[0]
const own = async () => (await names()).filter(name => !MIGRATED.test(name))
afterEach(async () => {
  for (const name of await own()) await database.admin.query(`DROP INDEX ${name}`)
  // A backend that was told goodbye takes a moment to go.
  await until('no lock to be held', async () =>
    (await server(`SELECT pid::text FROM pg_locks WHERE locktype = 'advisory'`)).length === 0 ? true : undefined
  )
})

const index = (definition: Partial<IndexDefinition>): IndexDefinition => ({
  name: 'built',
  table: 'events',
  type: 'btree',
  columns: [{ field: 'tags.issueId' }],
  ...definition
})
/** The plan of a query that is run with sequential scans made dear. */
async function planOf(sql: string) {
  await database.admin.query('SET enable_seqscan = off; SET enable_bitmapscan = on')
  const plan = await server<unknown>(`EXPLAIN (FORMAT JSON) ${sql}`)
  await database.admin.query('RESET ALL')
  return JSON.stringify(plan)
}

describe('createIndex', () => {
  it.each<[string, Partial<IndexDefinition>, string]>([
    ['a tag', {}, "btree (((tags ->> 'issueId'::text)))"],
    [
      'a tag, then time, newest first',
      { columns: [{ field: 'tags.issueId' }, { field: 'timestamp', direction: 'desc', nulls: 'last' }] },
      `btree (((tags ->> 'issueId'::text)), "timestamp" DESC NULLS LAST)`
    ],
    ['a path', { columns: [{ field: 'data.n' }] }, "btree (((data -> 'n'::text)))"],
    [
      'a path with a key of any text',
      { columns: [{ field: `data["it's"].b` }] },
      `btree ((((data -> 'it''s'::text) -> 'b'::text)))`
    ],
    ['hash', { type: 'hash' }, "hash (((tags ->> 'issueId'::text)))"],
    [
      'gin',
      {
        type: 'gin',
        columns: [{ field: 'tags', operatorClass: 'jsonb_path_ops' }],
        storageParams: { fastupdate: false }
      },
      'gin (tags jsonb_path_ops) WITH (fastupdate=off)'
    ],
    [
      'brin',
      { type: 'brin', columns: [{ field: 'timestamp' }], storageParams: { pages_per_range: 32 } },
      `brin ("timestamp") WITH (pages_per_range='32')`
    ],
    [
      'columns beside the keys',
      { include: ['id', 'type'] },
      "btree (((tags ->> 'issueId'::text))) INCLUDE (event_id, event_type)"
    ],
    [
      'a fill factor',
      { storageParams: { fillfactor: 70, deduplicate_items: false } },
      "btree (((tags ->> 'issueId'::text))) WITH (fillfactor='70', deduplicate_items=off)"
    ],
    [
      'a predicate of SQL',
      { where: "event_type = 'PR.MERGED.SUCCESS' AND tags ? 'issueId'" },
      "btree (((tags ->> 'issueId'::text))) WHERE ((event_type = 'PR.MERGED.SUCCESS'::text) AND (tags ? 'issueId'::text))"
    ],
    [
      'a condition as predicate',
      {
        where: {
          and: [
            { field: 'type', op: 'in', value: ['A', "B'"] },
            { field: 'data.n', op: 'gt', value: 5 }
          ]
        }
      },
      "btree (((tags ->> 'issueId'::text))) WHERE ((event_type = ANY (ARRAY['A'::text, 'B'''::text])) AND (((data -> 'n'::text) > '5'::jsonb) AND (jsonb_typeof((data -> 'n'::text)) = 'number'::text)))"
    ],
    [
      'partial, the older name',
      { partial: "tags->>'issueId' IS NOT NULL" },
      "btree (((tags ->> 'issueId'::text))) WHERE ((tags ->> 'issueId'::text) IS NOT NULL)"
    ],
    [
      'an expression of SQL',
      { columns: [{ expression: 'lower(tags->>\'issueId\') COLLATE "C"' }] },
      `btree (lower((tags ->> 'issueId'::text)) COLLATE "C")`
    ],
    ['unique', { unique: true, columns: [{ field: 'timestamp' }, { field: 'id' }] }, 'btree ("timestamp", event_id)']
  ])('builds %s', async (_, definition, built) => {
    await client.indexes.createIndex(index(definition))
    expect(await own()).toEqual(['built'])
    const text = await definitionOf('built')
    expect(text.replace('CREATE UNIQUE', 'CREATE').split(' USING ')[1]).toBe(built)
    expect(text.includes('UNIQUE')).toBe(definition.unique === true)
    expect(await invalid()).toEqual([])
  })

  it('makes an index that the statement of a query on the field uses', async () => {
    for (const [field, op, value] of [
      ['tags.issueId', 'eq', '7'],
      ['data.n', 'gt', 19_990],
      ['data["ключ 😀"]', 'eq', 'plain'],
      ['metadata.actor.name', 'eq', 'user 3']
    ] as const) {
      await client.indexes.createIndex(index({ columns: [{ field }] }))
      const query = client.query().where({ where: { field, op, value } }).select(['id'])
      await client.sql`SELECT 1`.execute()
      const plan = await query.explain()
      const { sql } = query.toSQL()
      expect(
        await planOf(
          sql.replaceAll(
            /\$(\d)/g,
            (_, n) =>
              `'${String(plan.parameters[n - 1] === 'plain' ? '"plain"' : typeof plan.parameters[n - 1] === 'string' && field !== 'tags.issueId' && n === '1' && field.includes('actor') ? '"user 3"' : plan.parameters[n - 1])}'`
          )
        ),
        field
      ).toContain('"built"')
      await client.indexes.dropIndex('built')
    }
  })

  it('says what is there already, and takes a name with quotes', async () => {
    await client.indexes.createIndex(index({ name: 'say "hi"; DROP' }))
    expect(await own()).toEqual(['"say ""hi""; DROP"'])
    for (const name of ['say "hi"; DROP', 'events', 'query_cache', 'idx_events_timestamp']) {
      const error = await failure(client.indexes.createIndex(index({ name })))
      expect([error.code, error.path]).toEqual(['INDEX_EXISTS', 'name'])
    }
    await client.indexes.dropIndex('say "hi"; DROP')
    expect(await own()).toEqual([])
  })

  it('leaves nothing where the server refuses', async () => {
    for (const [definition, path] of [
      [{ unique: true }, 'unique'],
      [{ columns: [{ expression: 'event_type || "timestamp"::text' }] }, 'columns'],
      [{ type: 'gist', columns: [{ field: 'tags' }] }, 'columns'],
      [{ columns: [{ expression: "(data->>'half')::integer" }] }, 'columns']
    ] as const) {
      const error = await failure(client.indexes.createIndex(index(definition as never)))
      expect([error.code, error.path]).toEqual(['INDEX_INVALID', path])
      expect(await own()).toEqual([])
    }
  })
})

describe('an interruption', () => {
  /** A transaction that a concurrent build must wait for. */
  async function held(run: () => Promise<void>) {
    const holder = new pg.Client({ connectionString: database.url })
    await holder.connect()
    await holder.query(
      `BEGIN; INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data) VALUES (gen_random_uuid(), 'X', now(), '{}', '{}', '{}')`
    )
    try {
      await run()
    } finally {
      await holder.end()
    }
  }
  const building = () =>
    until('a build that waits', async () => {
      const [pid] = await server<number>(
        `SELECT pid FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' AND state = 'active' AND wait_event_type = 'Lock'`
      )
      return pid
    })
  const clean = async () => {
    // Dropping waits for whoever uses the table: it goes on when the caller has been told.
    await until('the remains to go', async () => ((await own()).length === 0 ? true : undefined))
    expect(await invalid()).toEqual([])
    await client.indexes.createIndex(index({}))
    expect(await own()).toEqual(['built'])
  }

  it('by abort', async () => {
    const controller = new AbortController()
    const seen: Progress[] = []
    await held(async () => {
      const build = failure(
        client.indexes.createIndex(index({}), { signal: controller.signal, onProgress: p => void seen.push(p) })
      )
      await building()
      await until('progress of the build', async () =>
        seen.some(p => p.phase.startsWith('waiting for')) ? true : undefined
      )
      controller.abort(new Error('enough'))
      const error = await build
      expect([error.code, error.name, (error.cause as Error).message]).toEqual([
        'QUERY_CANCELLED',
        'AbortError',
        'enough'
      ])
    })
    await clean()
    expect((await failure(client.indexes.createIndex(index({}), { signal: AbortSignal.abort() }))).name).toBe(
      'AbortError'
    )
  })

  it('by a backend that is killed', async () => {
    await held(async () => {
      const build = failure(client.indexes.createIndex(index({})))
      const pid = await building()
      await database.admin.query('SELECT pg_terminate_backend($1)', [pid])
      const error = await build
      expect([error.code, error.retryable]).toEqual(['CONNECTION_FAILED', true])
    })
    await clean()
  })

  it('by a lock that does not come in time', async () => {
    const impatient = await database.connect({ url: `${database.url}?options=-c%20lock_timeout=300` })
    await held(async () => {
      const error = await failure(impatient.indexes.createIndex(index({})))
      expect([error.code, error.sqlState, error.retryable]).toEqual(['DATABASE_ERROR', '55P03', true])
      expect(error.message).toContain('waited 300 ms')
    })
    await clean()
  })

  it('by the end of the client', async () => {
    const other = await database.connect()
    await held(async () => {
      const build = failure(other.indexes.createIndex(index({})))
      await building()
      await other.close()
      expect((await build).code).toBe('CLOSED')
    })
    expect((await failure(other.indexes.listIndexes())).code).toBe('CLOSED')
    // Who built is gone: what is left is the next one's to sweep out.
    await client.indexes.createIndex(index({}))
    expect(await own()).toEqual(['built'])
  })

  it('by a callback that throws', async () => {
    const build = client.indexes.createIndex(index({}), {
      onProgress: () => {
        throw new Error('mine')
      }
    })
    await expect(build).rejects.toThrow('mine')
    await clean()
  })

  it('leaves what the next builder sweeps out, and only that', async () => {
    await database.admin.query(`CREATE INDEX "tamma~new~0123456789abcdef" ON events (event_type)`)
    await database.admin.query(
      `UPDATE pg_index SET indisvalid = false WHERE indexrelid = '"tamma~new~0123456789abcdef"'::regclass`
    )
    await database.admin.query(`CREATE INDEX others_invalid ON events (event_type)`)
    await database.admin.query(`UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'others_invalid'::regclass`)
    await client.indexes.createIndex(index({}))
    expect(await own()).toEqual(['built', 'others_invalid'])
  })
})

describe('one builder at a time', () => {
  it('of all that ask', async () => {
    const other = await database.connect()
    await Promise.all(
      [client, other, client, other].map((one, i) => one.indexes.createIndex(index({ name: `built_${i}` })))
    )
    expect(await own()).toEqual(['built_0', 'built_1', 'built_2', 'built_3'])
    expect(await invalid()).toEqual([])
    const outcomes = await Promise.allSettled(
      [client, other].map(one => one.indexes.createIndex(index({ name: 'same' })))
    )
    expect(outcomes.map(o => (o.status === 'rejected' ? o.reason.code : 'built')).sort()).toEqual([
      'INDEX_EXISTS',
      'built'
    ])
  })
})

describe('dropIndex, rebuildIndex and listIndexes', () => {
  it('drop and rebuild by name, and know what is not theirs', async () => {
    await client.indexes.createIndex(index({}))
    const [before] = await server<string>(`SELECT relfilenode::text FROM pg_class WHERE relname = 'built'`)
    await client.indexes.rebuildIndex('built')
    const [after] = await server<string>(`SELECT relfilenode::text FROM pg_class WHERE relname = 'built'`)
    expect(after).not.toBe(before)
    expect((await client.indexes.listIndexes()).find(one => one.name === 'built')).toMatchObject({ managed: true })
    await client.indexes.dropIndex('built')
    expect(await own()).toEqual([])
    for (const call of ['dropIndex', 'rebuildIndex'] as const) {
      for (const name of ['built', 'query_cache_pkey', 'events', 'pg_class_oid_index'])
        expect([name, (await failure(client.indexes[call](name))).code]).toEqual([name, 'UNKNOWN_INDEX'])
    }
    expect((await failure(client.indexes.dropIndex('events_pkey'))).code).toBe('INDEX_INVALID')
    await client.indexes.rebuildIndex('events_pkey')
  })

  it('mends an invalid index', async () => {
    await client.indexes.createIndex(index({}))
    await database.admin.query(`UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'built'::regclass`)
    expect((await client.indexes.listIndexes()).find(one => one.name === 'built')?.valid).toBe(false)
    await client.indexes.rebuildIndex('built')
    expect((await client.indexes.listIndexes()).find(one => one.name === 'built')?.valid).toBe(true)
  })

  it('lists what the catalog has', async () => {
    await database.admin.query('CREATE INDEX theirs ON events (event_type) WHERE event_type > $$A$$')
    const listed = await client.indexes.listIndexes()
    expect(listed.map(one => one.name).sort()).toEqual((await names()).sort())
    expect(listed.find(one => one.name === 'theirs')).toEqual({
      name: 'theirs',
      table: 'events',
      definition: await definitionOf('theirs'),
      type: 'btree',
      unique: false,
      valid: true,
      partial: "(event_type > 'A'::text)",
      sizeBytes: Number((await server(`SELECT pg_relation_size('theirs')`))[0]),
      scans: 0,
      lastUsed: null,
      managed: false,
      constraint: false
    })
    expect(listed.find(one => one.name === 'events_pkey')).toMatchObject({ unique: true, constraint: true })
    expect(listed.find(one => one.name === 'idx_events_timestamp')).toMatchObject({ managed: true, constraint: false })
  })
})
