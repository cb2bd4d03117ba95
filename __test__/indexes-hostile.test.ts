// Definitions that must never reach the server: a trigger of the database refuses every change of the schema by a
// message of its own, so an error that says anything else came before the first of them.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventsClient, IndexDefinition } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'

let database: TestDatabase
let client: EventsClient
beforeAll(async () => {
  database = await TestDatabase.create()
  client = await database.connect()
  await database.admin.query(`
    CREATE FUNCTION public.harmless(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT t';
    CREATE FUNCTION public.lower(n int) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $$x$$';
    CREATE FUNCTION no_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'DDL was reached'; END$$;
    CREATE EVENT TRIGGER no_ddl ON ddl_command_start EXECUTE FUNCTION no_ddl()`)
})
afterAll(() => database?.drop())

/** Expressions and predicates alike: each is given as both. */
const SQL = [
  // several statements, and ends of the one around
  'event_type; DROP TABLE events',
  'event_type); DROP TABLE events; --',
  'event_type)) WHERE (true',
  'event_type) WITH (fillfactor = 10',
  'event_type, data',
  'event_type; SELECT pg_sleep(10)',
  'event_type;',
  '; DROP TABLE events',
  'event_type) TABLESPACE pg_default; CREATE TABLE x (a int',
  // comments
  'event_type -- x',
  'event_type /* x */',
  '/* x */ event_type',
  'event_type /* a /* b */ c */',
  'event_type --\n; DROP TABLE events',
  'event/**/_type',
  // subqueries
  '(SELECT 1)',
  'event_type = (SELECT event_type FROM events LIMIT 1)',
  "event_type IN (SELECT 'a')",
  'EXISTS (SELECT 1 FROM events)',
  'event_type = ANY(SELECT event_type FROM events)',
  'event_type = ALL(ARRAY(SELECT event_type FROM events))',
  "tags->>'issueId' IN (SELECT DISTINCT tags->>'issueId' FROM events)",
  'WITH x AS (SELECT 1) SELECT event_type',
  'SELECT event_type',
  'VALUES (event_type)',
  'TABLE events',
  // volatile and stable functions, and those with side effects
  "timestamp >= now() - interval '7 days'",
  'timestamp > clock_timestamp()',
  'timestamp > statement_timestamp()',
  'timestamp > current_timestamp',
  'timestamp > localtimestamp',
  'event_type = current_user',
  'event_type = session_user',
  'event_type = current_setting(event_type)',
  "event_type = set_config('a.b', event_type, false)",
  'data->random()::int',
  "event_type = pg_read_file('/etc/passwd')",
  "event_type = pg_ls_dir('.')",
  'pg_sleep(10) IS NULL AND event_type IS NULL',
  'event_type = pg_terminate_backend(1)::text',
  "nextval('s') = position",
  'lo_import(event_type) = 1',
  'txid_current() = position',
  "pg_notify('a', event_type) IS NULL",
  'gen_random_uuid() = event_id',
  'pg_advisory_lock(position) IS NULL',
  "query_to_xml(event_type, true, true, '') IS NULL",
  'to_char(timestamp, event_type)',
  "date_trunc('day', timestamp)",
  'age(timestamp)',
  "to_timestamp(event_type, 'YYYY')",
  "dblink('dbname=x', event_type)",
  'timeofday() = event_type',
  'pg_reload_conf() AND event_type IS NULL',
  'version() = event_type',
  'inet_client_addr() IS NULL AND event_type IS NULL',
  // aggregates, windows, sets
  'count(*)',
  'count(event_type)',
  'max(event_type)',
  'count(DISTINCT event_type)',
  'row_number() OVER ()',
  'first_value(event_type) OVER (ORDER BY timestamp)',
  'sum(position) FILTER (WHERE true)',
  'jsonb_array_elements(data)',
  'generate_series(1, position)',
  'unnest(ARRAY[event_type])',
  'jsonb_object_keys(data)',
  "string_agg(event_type, ',')",
  'percentile_cont(0.5) WITHIN GROUP (ORDER BY position)',
  // functions of others, and operators of theirs
  'public.harmless(event_type)',
  'harmless(event_type)',
  'evil.lower(event_type)',
  'pg_catalog.lower(event_type)',
  'event_type OPERATOR(public.=) event_type',
  'event_type OPERATOR(pg_catalog.=) event_type',
  'event_type === event_type',
  // quoting tricks
  "event_type = E'\\' OR true --'",
  "event_type = U&'\\0061'",
  'event_type = $$x$$',
  'event_type = $x$ $$ ; DROP TABLE events $x$',
  "event_type = N'x'",
  "event_type = B'1'",
  "event_type = X'1f'",
  "event_type = 'x' 'y",
  'event_type = "x"',
  '"event_type" = "',
  'U&"\\0061" = 1',
  '"event_type""; DROP TABLE events"',
  'event_type = $1',
  'event_type = :x',
  'event_type = ?',
  "event_type = '\u0000'",
  // what is no column of one row
  'events.event_type',
  'public.events.event_type',
  'events',
  'events.*',
  '*',
  '(events).event_type',
  'xmin',
  'ctid',
  'tableoid',
  'other_column',
  'excluded.event_type',
  // casts and collations that depend on settings or run code
  'timestamp::date',
  'data::regclass',
  "(tags->>'at')::timestamptz",
  "(tags->>'x')::regproc",
  "(tags->>'x')::public.evil",
  'event_type COLLATE "und-x-icu"',
  'CAST(event_type AS varchar(3)[])',
  // nothing, or nothing of the row
  '',
  ' ',
  '1',
  'true',
  "'event_type'",
  'NULL',
  '1 = 1',
  '()',
  '(((((((',
  'event_type =',
  'NOT',
  `${'('.repeat(200)}event_type${')'.repeat(200)}`,
  `event_type = '${'x'.repeat(5000)}'`,
  'event_type IS DOCUMENT',
  'event_type[1]',
  'ROW(event_type, data)',
  '(event_type, data)',
  'CASE WHEN event_type THEN (SELECT 1) END',
  'coalesce(event_type, (SELECT 1))',
  'lower((SELECT event_type))',
  'event_type ORDER BY 1',
  'event_type LIMIT 1',
  'event_type UNION SELECT 1',
  'event_type AS x',
  'event_type INTO x',
  'lower(event_type) DESC',
  'lower(DISTINCT event_type)',
  'lower(VARIADIC ARRAY[event_type])',
  'lower(x => event_type)',
  'lower(event_type, event_type)',
  'lower()',
  "interval '1 day' > interval '1 hour' AND event_type IS NULL",
  'timestamp AT TIME ZONE event_type',
  'extract(epoch FROM timestamp)'
]

const index = (definition: object) =>
  ({ name: 'hostile', table: 'events', type: 'btree', ...definition }) as IndexDefinition

describe('SQL in a definition', () => {
  it(`that is not one immutable expression is refused before anything is built (${SQL.length} texts, as key and predicate)`, async () => {
    expect(SQL.length).toBeGreaterThanOrEqual(100)
    const passed: string[] = []
    for (const sql of SQL) {
      for (const [path, definition] of [
        ['columns[0].expression', { columns: [{ expression: sql }] }],
        ['where', { columns: [{ field: 'type' }], where: sql }],
        ['partial', { columns: [{ field: 'type' }], partial: sql }]
      ] as const) {
        const error = await failure(client.indexes.createIndex(index(definition)))
        const refused = ['INDEX_INVALID', 'INVALID_QUERY'].includes(error.code) && error.path === path
        if (!refused) passed.push(`${path}: ${sql}: ${error.code} ${error.message}`)
      }
    }
    expect(passed).toEqual([])
    // What is fine does come to a change of the schema.
    const fine = await failure(client.indexes.createIndex(index({ columns: [{ expression: 'lower(event_type)' }] })))
    expect(fine.message).toContain('DDL was reached')
  }, 60_000)
})

describe('the shape of a definition', () => {
  it.each([
    ['name', { name: '', columns: [{ field: 'type' }] }],
    ['name', { name: 'x'.repeat(64), columns: [{ field: 'type' }] }],
    ['name', { name: 'a\0b', columns: [{ field: 'type' }] }],
    ['name', { name: 'tamma~new~1', columns: [{ field: 'type' }] }],
    ['table', { table: 'pg_class', columns: [{ field: 'type' }] }],
    ['table', { table: 'events; DROP TABLE events', columns: [{ field: 'type' }] }],
    ['columns', { columns: [] }],
    ['columns', {}],
    ['columns', { type: 'hash', columns: [{ field: 'type' }, { field: 'id' }] }],
    ['columns', { columns: Array(33).fill({ field: 'type' }) }],
    ['columns[0]', { columns: [{}] }],
    ['columns[0].field', { columns: [{ field: 'nope' }] }],
    ['columns[0].field', { type: 'gin', columns: [{ field: 'type' }] }],
    ['columns[0].expression', { columns: [{ field: 'type', expression: 'lower(event_type)' }] }],
    ['columns[0].direction', { columns: [{ field: 'type', direction: 'ASC; DROP TABLE events' }] }],
    ['columns[0].direction', { type: 'gin', columns: [{ field: 'data', direction: 'asc' }] }],
    ['columns[0].nulls', { columns: [{ field: 'type', nulls: 'middle' }] }],
    ['columns[0].operatorClass', { columns: [{ field: 'type', operatorClass: 'text_ops) WHERE (true' }] }],
    ['columns[0].operatorClass', { columns: [{ field: 'type', operatorClass: '' }] }],
    ['columns[0].colour', { columns: [{ field: 'type', colour: 1 }] }],
    ['include', { type: 'gin', columns: [{ field: 'data' }], include: ['type'] }],
    ['include[0]', { columns: [{ field: 'type' }], include: ['tags.issueId'] }],
    ['type', { type: 'btree USING gin', columns: [{ field: 'type' }] }],
    ['unique', { type: 'gin', columns: [{ field: 'data' }], unique: true }],
    ['partial', { columns: [{ field: 'type' }], where: 'true', partial: 'true' }],
    ['where.op', { columns: [{ field: 'type' }], where: { field: 'type', op: 'is', value: 'x' } }],
    ['rolling.field', { columns: [{ field: 'type' }], rolling: { field: 'data', keep: '7 days' } }],
    ['rolling.keep', { columns: [{ field: 'type' }], rolling: { field: 'timestamp', keep: 'a while' } }],
    ['rolling', { columns: [{ field: 'type' }], unique: true, rolling: { field: 'timestamp', keep: '7 days' } }],
    [
      'storageParams.fillfactor',
      { columns: [{ field: 'type' }], storageParams: { fillfactor: '10); DROP TABLE events; --' } }
    ],
    ['storageParams.fillfactor', { columns: [{ field: 'type' }], storageParams: { fillfactor: 5 } }],
    ['storageParams.fastupdate', { columns: [{ field: 'type' }], storageParams: { fastupdate: true } }],
    ['storageParams.x = 1) --', { columns: [{ field: 'type' }], storageParams: { 'x = 1) --': 1 } }]
  ])('is checked at %s: %j', async (path, definition) => {
    const error = await failure(client.indexes.createIndex(index(definition)))
    expect([error.code, error.path]).toEqual([
      expect.stringMatching(/^(INVALID_QUERY|INDEX_INVALID|UNKNOWN_FIELD|UNKNOWN_TABLE)$/),
      path
    ])
  })

  it.each([null, 1, 'x', [], { columns: 1 }])('refuses %j', async definition => {
    const error = await failure(client.indexes.createIndex(definition as never))
    expect(error.code).toBe('INVALID_QUERY')
  })
})
