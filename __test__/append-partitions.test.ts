// Conditional appends beside writers that name a partition, not the table it is part of.
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { EventFilter, EventsClient } from '../index.js'
import { TestDatabase } from './support/database'

let database: TestDatabase
/** Undefined where this server's tables with partitions can't be adopted. */
let client: EventsClient | undefined

beforeAll(async () => {
  database = await TestDatabase.create()
  await database.admin.query(`
    CREATE TABLE parted (event_id uuid, event_type text COLLATE "C" NOT NULL, "timestamp" timestamptz NOT NULL,
      tags jsonb NOT NULL DEFAULT '{}', metadata jsonb NOT NULL DEFAULT '{}', data jsonb NOT NULL DEFAULT '{}',
      created_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (event_id, "timestamp")) PARTITION BY RANGE ("timestamp");
    CREATE TABLE past PARTITION OF parted FOR VALUES FROM ('2024-01-01Z') TO ('2025-01-01Z');
    CREATE TABLE present PARTITION OF parted FOR VALUES FROM ('2025-01-01Z') TO (MAXVALUE) PARTITION BY HASH (event_id);
    CREATE TABLE present_0 PARTITION OF present FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE present_1 PARTITION OF present FOR VALUES WITH (MODULUS 2, REMAINDER 1)`)
  const { rows } = await database.admin.query<{ version: number }>(
    `SELECT current_setting('server_version_num')::int AS version`
  )
  const connecting = database.connect({ table: { name: 'parted' }, migrate: true })
  if (rows[0].version >= 170_000) client = await connecting
  else await expect(connecting).rejects.toMatchObject({ message: expect.stringContaining('PostgreSQL 17') })
})
afterAll(() => database?.drop())

let last = 0
const fresh = () => `PARTED.T${++last}`
const of = (type: string): EventFilter => ({ eventTypes: [type] })

async function session() {
  const opened = new pg.Client({ connectionString: database.url })
  await opened.connect()
  return Object.assign(opened, { [Symbol.asyncDispose]: () => opened.end() })
}
const insert = (writer: pg.Client, table: string, type: string, at = '2024-06-01Z') =>
  writer.query(
    `INSERT INTO ${table} (event_id, event_type, "timestamp", position)
     OVERRIDING SYSTEM VALUE VALUES (gen_random_uuid(), $1, $2, 1)`,
    [type, at]
  )

/** What a conditional append comes to, and whether it has come to anything yet. */
function appending(type: string) {
  const state = { isDone: false, outcome: Promise.resolve('') }
  state.outcome = (client as EventsClient)
    .append([{ type, timestamp: '2025-06-01T00:00:00Z' }], { failIf: of(type) })
    .then(
      () => 'appended',
      (error: { code: string }) => error.code
    )
    .finally(() => {
      state.isDone = true
    })
  return state
}

async function waits(state: { isDone: boolean }) {
  await database.running('_close_gate')
  await sleep(50)
  expect(state.isDone).toBe(false)
}

it.each([
  ['COMMIT', 'APPEND_CONFLICT'],
  ['ROLLBACK', 'appended']
])('waits for a writer of a partition: %s', async (end, outcome) => {
  if (client === undefined) return
  const type = fresh()
  await using writer = await session()
  await writer.query('BEGIN')
  await insert(writer, 'past', type)
  const appended = appending(type)
  await waits(appended)
  await writer.query(end)
  expect(await appended.outcome).toBe(outcome)
})

it('and for one whose first insert was rolled back to a savepoint', async () => {
  if (client === undefined) return
  const type = fresh()
  await using writer = await session()
  await writer.query('BEGIN; SAVEPOINT a')
  await insert(writer, 'past', type)
  await writer.query('ROLLBACK TO a')
  await insert(writer, 'past', type)
  const appended = appending(type)
  await waits(appended)
  await writer.query('COMMIT')
  expect(await appended.outcome).toBe('APPEND_CONFLICT')
})

it('and keeps them out until it is over, those of partitions that were attached later too', async () => {
  if (client === undefined) return
  const type = fresh()
  await database.admin.query(`
    CREATE TABLE older (LIKE parted INCLUDING ALL EXCLUDING IDENTITY);
    ALTER TABLE parted ATTACH PARTITION older FOR VALUES FROM ('2023-01-01Z') TO ('2024-01-01Z')`)
  await using gate = await session()
  await using one = await session()
  await using other = await session()
  await gate.query('BEGIN; SELECT parted_close_gate()')
  // It alone goes on, by either name.
  await insert(gate, 'parted', type)
  await insert(gate, 'past', type)
  let done = 0
  const count = () => {
    done += 1
  }
  const inserted = [insert(one, 'past', type), insert(other, 'older', type, '2023-06-01Z')].map(it => it.then(count))
  await database.running('INSERT INTO', 2)
  await sleep(50)
  expect(done).toBe(0)
  await gate.query('COMMIT')
  await Promise.all(inserted)
  expect((await client.query().where(of(type)).execute()).rowCount).toBe(4)
})
