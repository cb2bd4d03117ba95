// The caller's own SQL changes nothing, and leaves nothing behind for the next query of its connection.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { EventsClient } from '../index.js'
import { TestDatabase } from './support/database'
import { drain, failure } from './support/errors'

let database: TestDatabase
/** One connection: what a statement leaves behind, the next one meets. */
let client: EventsClient

beforeAll(async () => {
  database = await TestDatabase.create({ events: 50 })
  await database.admin.query(`
    CREATE TABLE other (a int); INSERT INTO other VALUES (1); CREATE SEQUENCE counter;
    CREATE FUNCTION writes() RETURNS int LANGUAGE sql AS 'INSERT INTO other VALUES (2) RETURNING a';
    CREATE PROCEDURE commits() LANGUAGE plpgsql AS 'BEGIN COMMIT; INSERT INTO other VALUES (3); END';
    CREATE TABLE changing (a int); INSERT INTO changing VALUES (1)`)
  client = await database.connect({ pool: { max: 1 } })
})
afterAll(() => database?.drop())

/** SQL that is itself the test's input. */
const raw = (text: string) => client.sql(Object.assign([text], { raw: [text] }) as unknown as TemplateStringsArray)

const contents = async () =>
  (
    await database.admin.query(`
      SELECT (SELECT count(*) FROM events) AS events, (SELECT json_agg(a ORDER BY a) FROM other) AS other,
             (SELECT last_value::text || is_called FROM counter) AS counter,
             (SELECT json_agg(relname ORDER BY relname) FROM pg_class WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace) AS tables,
             (SELECT json_agg(setting ORDER BY 1) FROM (SELECT unnest(setconfig) AS setting FROM pg_db_role_setting) AS x) AS settings`)
  ).rows[0]

let before: unknown
let pid: unknown
beforeEach(async () => {
  before = await contents()
  pid = (await client.sql`SELECT pg_backend_pid() AS pid`.execute()).rows[0].pid
})

/** The connection that the caller's statement ran on is the one that is asked now, and is as it was. */
async function expectUntouched(same = true) {
  expect(await contents()).toEqual(before)
  const { rows } = await client.sql`
    SELECT pg_backend_pid() AS pid, current_setting('work_mem') AS work_mem, current_setting('search_path') AS search_path,
           current_setting('role') AS role, current_setting('transaction_isolation') AS isolation,
           current_setting('default_transaction_read_only') AS read_only, current_setting('statement_timeout') AS statement_timeout,
           current_setting('my.own', true) AS own, (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks,
           (SELECT count(*) FROM pg_prepared_statements WHERE name NOT LIKE 'sqlx%') AS prepared, (SELECT count(*) FROM pg_cursors WHERE is_holdable) AS cursors,
           (SELECT count(*) FROM pg_listening_channels()) AS channels, to_regclass('pg_temp.leaked') AS temporary`.execute()
  const { pid: now, ...settings } = rows[0]
  if (same) expect(now).toBe(pid)
  expect({ ...settings, own: settings.own || null }).toEqual({
    work_mem: '4MB',
    search_path: '"$user", public',
    role: 'none',
    isolation: 'read committed',
    read_only: 'off',
    statement_timeout: '0',
    own: null,
    locks: 0,
    prepared: 0,
    cursors: 0,
    channels: 0,
    temporary: null
  })
  // Not in a transaction: the next append is one of its own.
  expect(await database.busy()).toEqual([])
}

describe('refused', () => {
  test.each([
    'INSERT INTO other VALUES (9)',
    'INSERT INTO other VALUES (9) RETURNING a',
    'UPDATE other SET a = 9',
    "UPDATE events SET event_type = 'X' RETURNING event_id",
    'DELETE FROM events',
    'DELETE FROM events RETURNING 1 AS one',
    'MERGE INTO other USING other AS o ON false WHEN NOT MATCHED THEN INSERT VALUES (9)',
    'WITH w AS (INSERT INTO other VALUES (9) RETURNING a) SELECT * FROM w',
    'WITH w AS (DELETE FROM events RETURNING event_id) SELECT count(*) AS n FROM w',
    'TRUNCATE other',
    'CREATE TABLE leaked (a int)',
    'CREATE TEMP TABLE leaked AS SELECT 1 AS a',
    'SELECT 1 AS a INTO leaked',
    'CREATE INDEX ON other (a)',
    'DROP TABLE events',
    'ALTER TABLE events DISABLE TRIGGER ALL',
    'GRANT ALL ON events TO public',
    "COMMENT ON TABLE events IS 'x'",
    "SELECT nextval('counter') AS n",
    "SELECT setval('counter', 99) AS n",
    'SELECT writes() AS n',
    'CALL commits()',
    'DO $$ BEGIN INSERT INTO other VALUES (9); END $$',
    'DO $$ BEGIN COMMIT; INSERT INTO other VALUES (9); END $$',
    'COPY other FROM STDIN',
    'COPY events TO STDOUT',
    'COPY (SELECT 1) TO STDOUT',
    'SELECT * FROM other FOR UPDATE',
    'LOCK TABLE events IN ACCESS EXCLUSIVE MODE',
    'REFRESH MATERIALIZED VIEW nothing',
    "ALTER SYSTEM SET work_mem = '1GB'",
    "ALTER DATABASE postgres SET work_mem = '1GB'",
    'EXPLAIN ANALYZE INSERT INTO other VALUES (9)',
    "SELECT set_config('transaction_read_only', 'off', false) AS s, writes() AS n",
    'VACUUM',
    'NOTIFY events'
  ])('%s', async text => {
    const error = await failure(raw(text).execute())
    expect(['DATABASE_ERROR', 'INVALID_QUERY', 'UNSUPPORTED']).toContain(error.code)
    expect(error.retryable).toBe(false)
    await failure(drain(raw(text).executeStream()), error.code)
    await expectUntouched(false)
  })

  test.each([
    'SELECT 1 AS a; SELECT 2 AS b',
    'SELECT 1 AS a; DELETE FROM events',
    'SELECT 1 AS a; COMMIT; DELETE FROM events',
    ';;',
    '-- only a comment',
    'SELECT 1 AS a; DROP TABLE other; --'
  ])('several statements, or none: %s', async text => {
    const error = await failure(raw(text).execute())
    expect(['DATABASE_ERROR', 'INVALID_QUERY']).toContain(error.code)
    await expectUntouched(false)
  })

  test('an attempt to leave the statement that turns columns into JSON', async () => {
    for (const text of [
      'SELECT int4range(1, 2) AS r) AS t(c1); DELETE FROM events; --',
      'SELECT int4range(1, 2) AS r) AS t(c1) UNION SELECT (to_jsonb(1)',
      'SELECT int4range(1,2) AS r /*'
    ]) {
      await failure(raw(text).execute())
      await expectUntouched(false)
    }
  })
})

describe('undone', () => {
  test.each([
    "SET work_mem = '1GB'",
    'SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE',
    'SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY',
    'SET TRANSACTION ISOLATION LEVEL SERIALIZABLE',
    'SET ROLE pg_monitor',
    'SET search_path = pg_catalog',
    "SET my.own = 'leaked'",
    'SET statement_timeout = 1',
    'RESET ALL',
    'BEGIN',
    'START TRANSACTION READ WRITE',
    'SET TRANSACTION READ WRITE',
    'COMMIT',
    'COMMIT AND CHAIN',
    'ROLLBACK',
    'ROLLBACK AND CHAIN',
    'SAVEPOINT leaked',
    'PREPARE leaked AS SELECT 1',
    'DEALLOCATE ALL',
    'DISCARD ALL',
    'DISCARD PLANS',
    'DISCARD TEMP',
    'LISTEN leaked',
    'UNLISTEN *',
    'DECLARE leaked CURSOR WITH HOLD FOR SELECT 1',
    "LOAD 'plpgsql'",
    "PREPARE TRANSACTION 'leaked'",
    "SELECT set_config('work_mem', '1GB', false) AS s",
    "SELECT set_config('my.own', 'leaked', false) AS s",
    "SELECT set_config('role', 'pg_monitor', false) AS s",
    "SELECT set_config('default_transaction_read_only', 'on', false) AS s",
    "SELECT set_config('statement_timeout', '1', false) AS s",
    'SELECT pg_advisory_lock(42)::text AS l',
    'SELECT pg_advisory_lock_shared(42)::text AS l, pg_advisory_lock(1, 2)::text AS m',
    'SELECT pg_advisory_xact_lock(43)::text AS l',
    'SELECT pg_try_advisory_lock(44) AS l'
  ])('%s', async text => {
    // Whether it may run at all is not the point here.
    await raw(text)
      .execute()
      .catch(() => {})
    await drain(raw(text).executeStream()).catch(() => {})
    await expectUntouched(false)
    expect((await client.query().limit(3).execute()).rowCount).toBe(3)
    expect((await client.query().limit(3).execute()).rowCount).toBe(3)
  })

  test('after an error, a cancel and a stream left early', async () => {
    await failure(
      raw("SELECT set_config('work_mem', '1GB', false) AS s, pg_advisory_lock(1)::text AS l, 1 / 0 AS q").execute(),
      'DATABASE_ERROR'
    )
    await expectUntouched()
    await failure(
      raw(
        "SELECT set_config('work_mem', '1GB', false) AS s, pg_advisory_lock(1)::text AS l, pg_sleep(100)::text AS w"
      ).execute({ timeout: 50 }),
      'QUERY_TIMEOUT'
    )
    await database.quiet()
    await expectUntouched()
    for await (const _ of raw(
      "SELECT set_config('work_mem', '1GB', false) AS s, pg_advisory_lock(1)::text AS l, generate_series(1, 1000000) AS i"
    ).executeStream())
      break
    await database.quiet()
    await expectUntouched()
    await failure(raw('SELECT pg_advisory_lock(1)::text AS a, 2 AS a').execute(), 'INVALID_QUERY')
    await failure(raw('SELECT pg_advisory_lock(1)::text AS a, 9007199254740993::int8 AS b').execute(), 'PRECISION_LOSS')
    await expectUntouched()
  })
})

describe('allowed', () => {
  test.each([
    'SELECT 1 AS a -- comment',
    'SELECT 1 AS a;',
    'SELECT 1 AS a ;  ',
    'SELECT 1 AS a ; ; ',
    'SELECT 1 AS a; -- comment',
    '/* before */ SELECT 1 AS a /* after */ ; /* at the end */',
    '-- before\nSELECT 1 AS a\n-- after',
    '\n\n  SELECT 1 AS a  \n'
  ])('%j', async text => {
    expect((await raw(text).execute()).rows).toEqual([{ a: 1 }])
    // The same around a column that has to become JSON, where nothing may follow the last semicolon.
    const ranges = raw(text.replace('1 AS a', 'int4range(1, 2) AS a'))
    if (/;\s*\S/.test(text)) expect((await failure(ranges.execute(), 'INVALID_QUERY')).message).toContain('semicolon')
    else expect((await ranges.execute()).rows).toEqual([{ a: '[1,2)' }])
  })

  test('a semicolon inside a string or a name', async () => {
    expect((await client.sql`SELECT ';--' AS a, int4range(1, 2) AS "r;"`.execute()).rows).toEqual([
      { a: ';--', 'r;': '[1,2)' }
    ])
  })
})

describe('the next query', () => {
  test('after a table has changed', async () => {
    const all = () => client.sql`SELECT * FROM changing`.execute()
    expect((await all()).rows).toEqual([{ a: 1 }])
    await database.admin.query('ALTER TABLE changing ADD COLUMN b text DEFAULT $$x$$')
    expect((await all()).rows).toEqual([{ a: 1, b: 'x' }])
    await database.admin.query(
      'ALTER TABLE changing ALTER COLUMN a TYPE text, ADD COLUMN c int4range DEFAULT int4range(1, 2)'
    )
    expect((await all()).rows).toEqual([{ a: '1', b: 'x', c: '[1,2)' }])
    const one = () => client.sql`SELECT count(*) AS n FROM changing WHERE a = ${'1'}`.execute()
    expect((await one()).rows).toEqual([{ n: 1 }])
    await database.admin.query('ALTER TABLE changing ALTER COLUMN a TYPE int USING a::int')
    expect((await one()).rows).toEqual([{ n: 1 }])
    await database.admin.query('DROP TABLE changing; CREATE TABLE changing (z boolean)')
    expect((await all()).rows).toEqual([])
    expect((await drain(client.sql`SELECT * FROM changing`.executeStream())).length).toBe(0)
  })

  test('hundreds of different statements do not pile up', async () => {
    for (let i = 0; i < 600; i++) await raw(`SELECT ${i} AS i`).execute()
    const { rows } = await client.sql<{ n: number }>`SELECT count(*) AS n FROM pg_prepared_statements`.execute()
    expect(rows[0].n).toBeLessThanOrEqual(256)
  })
})
