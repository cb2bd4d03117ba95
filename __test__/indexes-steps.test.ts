// A maintainer that is killed at each of its steps by name. The server stops it there: a trigger on the step's command
// waits, before it or behind it, until the process is dead.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { EventsClient } from '../index.js'
import { TestDatabase } from './support/database'
import { until } from './support/wait'

let database: TestDatabase
let client: EventsClient
let parted: EventsClient
beforeAll(async () => {
  database = await TestDatabase.create({ events: 5000 })
  client = await database.connect()
  await database.admin.query(`
    DROP INDEX idx_events_composite_1, idx_events_composite_2, idx_events_composite_3;
    ANALYZE events;
    CREATE TABLE parted (LIKE events INCLUDING DEFAULTS) PARTITION BY HASH (event_id);
    CREATE TABLE parted_0 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    INSERT INTO parted SELECT * FROM events LIMIT 1000`)
  parted = await database.connect({ table: { name: 'parted' } })
}, 60_000)
afterAll(() => database?.drop())

const server = async <T = string>(sql: string) =>
  (await database.admin.query({ text: sql, rowMode: 'array' })).rows.map(row => row[0] as T)
const NAME = 'tamma-events indexes'
const sessions = () => server(`SELECT pid::text FROM pg_stat_activity WHERE application_name = '${NAME}'`)

/** What stands ready before each: an index to be dropped or rebuilt, and a rolling one whose time has come. */
async function prepare() {
  const there = (await client.indexes.listIndexes()).map(one => one.name)
  if (!there.includes('standing'))
    await client.indexes.createIndex({
      name: 'standing',
      table: 'events',
      type: 'btree',
      columns: [{ field: 'data.n' }]
    })
  if (!there.includes('recent'))
    await client.indexes.createIndex({
      name: 'recent',
      table: 'events',
      type: 'btree',
      columns: [{ field: 'timestamp', direction: 'desc' }],
      rolling: { field: 'timestamp', keep: '400 days' }
    })
  const [comment] = await server(`SELECT obj_description('recent'::regclass)`)
  const aged = comment.replace(/"cutoff":"[^"]*"/, '"cutoff":"2001-01-01T00:00:00.000000Z"').replaceAll("'", "''")
  await database.admin.query(`COMMENT ON INDEX recent IS '${aged}'; DROP TABLE IF EXISTS events_index_decisions`)
}

/** Lets a job's command of this kind wait, the nth of them, before it is done or behind it. */
async function waitAt(tag: string, when: 'start' | 'end', nth: number) {
  await database.admin.query(`
    CREATE SEQUENCE public.step_seen;
    CREATE FUNCTION step_waits() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF current_setting('application_name') = '${NAME}' AND nextval('public.step_seen') = ${nth} THEN
        PERFORM pg_sleep(60);
      END IF;
    END $$;
    CREATE EVENT TRIGGER step ON ddl_command_${when} WHEN TAG IN ('${tag}') EXECUTE FUNCTION step_waits()`)
}
const waiting = async () =>
  (await server(`SELECT pid::text FROM pg_stat_activity WHERE application_name = '${NAME}' AND wait_event = 'PgSleep'`))
    .length > 0
    ? true
    : undefined

afterEach(async () => {
  await database.admin.query(
    `DROP EVENT TRIGGER IF EXISTS step; DROP FUNCTION IF EXISTS step_waits; DROP SEQUENCE IF EXISTS step_seen`
  )
})

async function killed(job: string, table = 'events') {
  const child = spawn(process.execPath, [path.join(__dirname, 'indexes-child.cjs'), database.url, job, table], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  try {
    await until('the step', waiting, 30_000)
  } finally {
    child.kill('SIGKILL')
    await once(child, 'close')
  }
  // The server would notice by itself within seconds: see `indexes-killed.test.ts`.
  await server(`SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE application_name = '${NAME}'`)
  await database.admin.query('DROP EVENT TRIGGER step')
  await until('no session of it', async () => ((await sessions()).length === 0 ? true : undefined), 30_000)
}

async function swept(events: EventsClient, table: string) {
  // The next that builds sweeps out what is left.
  await events.indexes.createIndex({ name: `${table}_probe`, table, type: 'hash', columns: [{ field: 'type' }] })
  await events.indexes.dropIndex(`${table}_probe`)
  expect(
    await server(`SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid OR NOT indisready
      OR indexrelid::regclass::text ~ 'tamma~|_cc(new|old)'`)
  ).toEqual([])
  await until('no lock to be held', async () =>
    (await server(`SELECT pid::text FROM pg_locks WHERE locktype = 'advisory'`)).length === 0 ? true : undefined
  )
}

describe('a maintainer that is killed', () => {
  it.for<[string, string, 'start' | 'end', number]>([
    ['create', 'CREATE INDEX', 'start', 1],
    ['create', 'ALTER INDEX', 'start', 1],
    ['create', 'ALTER INDEX', 'end', 1],
    ['create', 'COMMENT', 'start', 1],
    ['create', 'COMMENT', 'end', 1],
    ['drop', 'ALTER INDEX', 'end', 1],
    ['drop', 'DROP INDEX', 'start', 1],
    ['rebuild', 'REINDEX', 'start', 1],
    ['move', 'CREATE INDEX', 'start', 1],
    ['move', 'ALTER INDEX', 'end', 1],
    ['move', 'ALTER INDEX', 'end', 2],
    ['move', 'COMMENT', 'end', 1],
    ['move', 'DROP INDEX', 'start', 1],
    ['maintain', 'CREATE INDEX', 'start', 1],
    ['maintain', 'COMMENT', 'start', 1],
    ['optimize', 'CREATE INDEX', 'start', 1],
    ['optimize', 'COMMENT', 'start', 2],
    ['optimize', 'COMMENT', 'end', 2],
    ['revert', 'ALTER INDEX', 'start', 2],
    ['revert', 'DROP INDEX', 'start', 1]
  ])('in %s, at %s, its %s (%i)', { timeout: 90_000 }, async ([job, tag, when, nth], { skip }) => {
    const [version] = await server<number>(`SELECT current_setting('server_version_num')::int`)
    skip(tag === 'REINDEX' && version < 170_000, 'no trigger on it before PostgreSQL 17')
    await prepare()
    // Temporary tables are not the table's indexes: what-if builds and drops its own before the first real one.
    await waitAt(tag, when, nth)
    await killed(job)
    // Under its name the rolling index serves, whatever was going on.
    expect(await server<boolean>(`SELECT indisvalid FROM pg_index WHERE indexrelid = 'recent'::regclass`)).toEqual([
      true
    ])
    await swept(client, 'events')
    expect(await server<boolean>(`SELECT indisvalid FROM pg_index WHERE indexrelid = 'recent'::regclass`)).toEqual([
      true
    ])
    // And the next maintainer does what this one did not come to.
    await client.indexes.optimizeIndexes()
    const [comment] = await server(`SELECT obj_description('recent'::regclass)`)
    expect(comment).not.toContain('2001-01-01')
    const made = (await client.indexes.listIndexes()).filter(
      one => !/^(events_pkey|idx_events_t[a-z]+(_id)?|recent|standing)$/.test(one.name)
    )
    for (const { name } of made) {
      expect((await server(`SELECT obj_description('"${name}"'::regclass)`))[0]).not.toContain('"by":"trial"')
      await client.indexes.dropIndex(name)
    }
  })

  it.each<[string, 'start' | 'end', number]>([
    ['CREATE INDEX', 'start', 2],
    ['ALTER INDEX', 'start', 1],
    ['ALTER INDEX', 'end', 2],
    ['COMMENT', 'start', 1]
  ])('over a partitioned table, at %s, its %s (%i)', { timeout: 90_000 }, async (tag, when, nth) => {
    await waitAt(tag, when, nth)
    await killed('create', 'parted')
    await swept(parted, 'parted')
    const left = await server(`SELECT relname::text FROM pg_class WHERE relname ~ '^built'`)
    if (left.includes('built')) await parted.indexes.dropIndex('built')
    else expect(left).toEqual([])
  })
})
