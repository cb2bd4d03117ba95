// The caller's own SQL: every type a service meets, in both directions.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EventsClient } from '../index.js'
import { TestDatabase } from './support/database'
import { drain, failure } from './support/errors'

let database: TestDatabase
let client: EventsClient

beforeAll(async () => {
  database = await TestDatabase.create({ events: 100 })
  await database.admin.query(`
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
    CREATE TYPE place AS (name text, at point, size int8);
    CREATE DOMAIN percent AS int CHECK (VALUE BETWEEN 0 AND 100);
    CREATE TABLE typed (id int PRIMARY KEY, m mood, p place, d percent, ms mood[], nums int[], txt text, u uuid)`)
  await database.admin.query(
    `INSERT INTO typed VALUES (1, 'ok', ROW('home', point(1, 2), 7), 50, '{sad,happy}', '{1,2,3}', 'é中😀', '018bcfe5-6800-7000-8000-000000000001'),
                              (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL)`
  )
  client = await database.connect()
})
afterAll(() => database?.drop())

/** The text as the only part of a template: for SQL that is itself the test's input. */
const raw = (text: string, of = client) =>
  of.sql(Object.assign([text], { raw: [text] }) as unknown as TemplateStringsArray)
const value = async (expression: string, of = client) => {
  const { rows } = await raw(`SELECT ${expression} AS v`, of).execute()
  return (rows[0] as { v: unknown }).v
}

describe('what comes back', () => {
  test.each<[string, unknown]>([
    ['true', true],
    ['false', false],
    ["'-32768'::int2", -32768],
    ['2147483647::int4', 2147483647],
    ['9007199254740992::int8', 2 ** 53],
    ['-9007199254740992::int8', -(2 ** 53)],
    ['4294967295::oid', 4294967295],
    ['1.5::float4', 1.5],
    ['0.1::float4', 0.1],
    ['0.1::float8', 0.1],
    ['1e300::float8', 1e300],
    ['5e-324::float8', 5e-324],
    ["'-0'::float8", -0],
    ["'NaN'::float8", 'NaN'],
    ["'Infinity'::float8", 'Infinity'],
    ["'-Infinity'::float4", '-Infinity'],
    ['0.1::numeric', 0.1],
    ['123456789.123456789::numeric', Number('123456789.123456789')],
    ['-1234::numeric', -1234],
    ['1000000::numeric', 1000000],
    ["'NaN'::numeric", 'NaN'],
    ["'-Infinity'::numeric", '-Infinity'],
    ["'text'", 'text'],
    ["''", ''],
    ["E'quo\"te \\\\ \\n tab\\t'", 'quo"te \\ \n tab\t'],
    ["'é中😀'", 'é中😀'],
    ["U&'\\2028\\007f\\0001'", '\u2028\u007f\u0001'],
    ["'padded'::char(8)", 'padded  '],
    ['\'x\'::"char"', 'x'],
    ["'name'::name", 'name'],
    ["'\\xdeadbeef'::bytea", '\\xdeadbeef'],
    ["'018BCFE5-6800-7000-8000-000000000001'::uuid", '018bcfe5-6800-7000-8000-000000000001'],
    ["timestamptz '2026-02-03 04:05:06+02'", '2026-02-03T02:05:06.000Z'],
    ["timestamptz '2026-02-03 04:05:06.123456Z'", '2026-02-03T04:05:06.123456Z'],
    ["timestamptz 'infinity'", 'infinity'],
    ["timestamptz '-infinity'", '-infinity'],
    ["timestamp '2026-02-03 04:05:06.7'", '2026-02-03T04:05:06.700'],
    ["timestamp 'infinity'", 'infinity'],
    ["date '2026-02-03'", '2026-02-03'],
    ["date '0001-01-01'", '0001-01-01'],
    ["date '10000-01-01'", '+010000-01-01'],
    ["date '0001-01-01 BC'", '0000-01-01'],
    ["date '300000-02-28'", '+300000-02-28'],
    ["date '5874897-12-31'", '+5874897-12-31'],
    ["date '4713-01-01 BC'", '-004712-01-01'],
    ["date 'infinity'", 'infinity'],
    ["date '-infinity'", '-infinity'],
    ["time '04:05:06.5'", '04:05:06.5'],
    ["interval '1 day 02:03:04'", '1 day 02:03:04'],
    ['\'{"b":[1,null,"é"],"a":true}\'::jsonb', { a: true, b: [1, null, 'é'] }],
    ['\' { "b" : 1, "a" : [ ] } \'::json', { b: 1, a: [] }],
    ["'null'::jsonb", null],
    ['\'"text"\'::jsonb', 'text'],
    ["'5'::json", 5],
    ['NULL', null],
    ['NULL::int', null],
    ['NULL::mood', null],
    ['ARRAY[1, NULL, 3]', [1, null, 3]],
    ['ARRAY[]::int[]', []],
    [
      'ARRAY[[1,2],[3,4]]',
      [
        [1, 2],
        [3, 4]
      ]
    ],
    ["ARRAY['a', 'é\"', NULL]", ['a', 'é"', null]],
    ["ARRAY[date '2026-02-03']", ['2026-02-03']],
    ["ARRAY['NaN'::float8, 1]", ['NaN', 1]],
    ["'ok'::mood", 'ok'],
    ["ARRAY['sad', 'ok']::mood[]", ['sad', 'ok']],
    ["ROW('home', point(1, 2), 7)::place", { name: 'home', at: '(1,2)', size: 7 }],
    ["ROW(1, 'x')", { f1: 1, f2: 'x' }],
    ['50::percent', 50],
    ['int4range(1, 5)', '[1,5)'],
    ["'empty'::tstzrange", 'empty'],
    ['point(1, 2)', '(1,2)'],
    ["inet '10.0.0.1/8'", '10.0.0.1/8'],
    ["'fat & cat'::tsquery", "'fat' & 'cat'"],
    ["'1.5'::money::text", '$1.50'],
    ["'16/B374D848'::pg_lsn", '16/B374D848'],
    ["B'101'::bit(3)", '101'],
    ["'events'::regclass", 'events'],
    ["xmlelement(name a, 'b')", '<a>b</a>']
  ])('%s', async (expression, expected) => {
    const actual = await value(expression)
    expect(actual).toEqual(expected)
    const stream = await drain(raw(`SELECT ${expression} AS v`).executeStream())
    expect(stream).toEqual([{ v: actual }])
  })

  test('a table with all of them, nulls too', async () => {
    const { rows } = await client.sql`SELECT * FROM typed ORDER BY id`.execute()
    expect(rows).toEqual([
      {
        id: 1,
        m: 'ok',
        p: { name: 'home', at: '(1,2)', size: 7 },
        d: 50,
        ms: ['sad', 'happy'],
        nums: [1, 2, 3],
        txt: 'é中😀',
        u: '018bcfe5-6800-7000-8000-000000000001'
      },
      { id: 2, m: null, p: null, d: null, ms: null, nums: null, txt: null, u: null }
    ])
  })

  test('integers beyond 2^53 as the client asked', async () => {
    const big = '9007199254740993::int8'
    const [texts, bigints] = await Promise.all([
      database.connect({ bigint: 'string' }),
      database.connect({ bigint: 'bigint' })
    ])
    const error = await failure(value(big), 'PRECISION_LOSS')
    expect(error.message).toContain('"v"')
    await failure(drain(raw(`SELECT ${big} AS v`).executeStream()), 'PRECISION_LOSS')
    expect(await value(big, texts)).toBe('9007199254740993')
    expect(await value(big, bigints)).toBe(9007199254740993n)
    expect(await value('(-9223372036854775808)::int8', bigints)).toBe(-9223372036854775808n)
    expect(await value('9007199254740991::int8', bigints)).toBe(9007199254740991)
    expect(await value('5::int8', texts)).toBe(5)
    expect(await value('12345678901234567890123::numeric', bigints)).toBe(12345678901234567890123n)
    expect(await value('12345678901234567890123::numeric', texts)).toBe('12345678901234567890123')
    await failure(value('12345678901234567890123::numeric'), 'PRECISION_LOSS')
    expect(await drain(raw(`SELECT ${big} AS v`, bigints).executeStream())).toEqual([{ v: 9007199254740993n }])
    // A text is a text, also where it looks like a mark.
    expect(await value("U&'\\0001' || '5'", bigints)).toBe('\u00015')
    await failure(value('1e400::numeric'))
  })

  test('a type that the driver cannot describe is named as such, and passes as text', async () => {
    const multirange = 'int4multirange(int4range(1, 2), int4range(4, 6))'
    expect((await failure(value(multirange), 'UNSUPPORTED')).message).toContain('::text')
    expect(await value(`${multirange}::text`)).toBe('{[1,2),[4,6)}')
  })

  test('columns by their names', async () => {
    expect(
      (await client.sql`SELECT 1 AS "A b", 2 AS "é", 3 AS "__proto__", 4 AS constructor`.execute()).rows.map(row =>
        Object.entries(row)
      )
    ).toEqual([
      [
        ['A b', 1],
        ['é', 2],
        ['__proto__', 3],
        ['constructor', 4]
      ]
    ])
    expect((await client.sql`SELECT 1`.execute()).rows).toEqual([{ '?column?': 1 }])
    for (const twice of [
      'SELECT 1 AS a, 2 AS a',
      'SELECT 1, 2',
      'SELECT * FROM typed AS x, typed AS y',
      'SELECT int4range(1,2) AS r, int4range(1,2) AS r'
    ]) {
      expect((await failure(raw(twice).execute(), 'INVALID_QUERY')).message).toMatch(/two columns named/)
    }
  })

  test('no rows', async () => {
    expect(await client.sql`SELECT 1 AS one WHERE false`.execute()).toMatchObject({ rows: [], rowCount: 0 })
    expect(await client.sql`SELECT int4range(1, 2) AS r WHERE false`.execute()).toMatchObject({ rows: [], rowCount: 0 })
  })

  test('the order of a query whose columns need turning into JSON', async () => {
    const { rows } = await client.sql<{
      i: number
    }>`SELECT i, int4range(0, i) AS r FROM generate_series(1, 1000) AS i ORDER BY i * 7919 % 1000`.execute()
    expect(rows.map(({ i }) => (i * 7919) % 1000)).toEqual(rows.map((_, k) => k))
  })

  test('all that reads', async () => {
    expect((await client.sql`VALUES (1, 'a'), (2, 'b')`.execute()).rows).toEqual([
      { column1: 1, column2: 'a' },
      { column1: 2, column2: 'b' }
    ])
    expect((await client.sql`TABLE typed`.execute()).rowCount).toBe(2)
    expect((await client.sql`SHOW timezone`.execute()).rows).toEqual([{ TimeZone: 'UTC' }])
    expect(
      (
        await client.sql`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT sum(i) AS s FROM n`.execute()
      ).rows
    ).toEqual([{ s: 15 }])
    const plan = await client.sql<{
      'QUERY PLAN': string
    }>`EXPLAIN SELECT * FROM events WHERE event_type = ${'A.B'}`.execute()
    expect(plan.rows[0]['QUERY PLAN']).toMatch(/Scan|Result/)
  })
})

describe('values', () => {
  const id = '018bcfe5-6800-7000-8000-000000000001'

  test.each<[string, (v: never) => ReturnType<EventsClient['sql']>, unknown, unknown]>([
    ['int2', v => client.sql`SELECT ${v}::int2 AS v`, 7, 7],
    ['int4', v => client.sql`SELECT ${v}::int4 AS v`, -7, -7],
    ['int8', v => client.sql`SELECT ${v}::int8 AS v`, 2 ** 53, 2 ** 53],
    ['int8 of a bigint', v => client.sql`SELECT ${v}::int8::text AS v`, 9223372036854775807n, '9223372036854775807'],
    ['int8 of text', v => client.sql`SELECT ${v}::int8::text AS v`, '-9223372036854775808', '-9223372036854775808'],
    ['float4', v => client.sql`SELECT ${v}::float4 AS v`, 1.5, 1.5],
    ['float8', v => client.sql`SELECT ${v}::float8 AS v`, 0.1, 0.1],
    ['float8, large', v => client.sql`SELECT ${v}::float8 AS v`, 1e300, 1e300],
    ['numeric', v => client.sql`SELECT ${v}::numeric AS v`, 0.1, 0.1],
    [
      'numeric of text',
      v => client.sql`SELECT ${v}::numeric::text AS v`,
      '123456789012345678901234567890.123',
      '123456789012345678901234567890.123'
    ],
    ['numeric of a bigint', v => client.sql`SELECT ${v}::numeric::text AS v`, 10n ** 40n, String(10n ** 40n)],
    ['boolean', v => client.sql`SELECT ${v}::boolean AS v`, true, true],
    ['text', v => client.sql`SELECT ${v}::text AS v`, 'é"\\\n😀', 'é"\\\n😀'],
    ['text of a number', v => client.sql`SELECT ${v}::text AS v`, 42, '42'],
    ['varchar', v => client.sql`SELECT ${v}::varchar AS v`, 'x', 'x'],
    ['uuid', v => client.sql`SELECT ${v}::uuid AS v`, id, id],
    [
      'timestamptz of a Date',
      v => client.sql`SELECT ${v}::timestamptz AS v`,
      new Date('2026-02-03T04:05:06.789Z'),
      '2026-02-03T04:05:06.789Z'
    ],
    [
      'timestamptz of text',
      v => client.sql`SELECT ${v}::timestamptz AS v`,
      '2026-02-03T04:05:06.123456+02:00',
      '2026-02-03T02:05:06.123456Z'
    ],
    [
      'timestamp',
      v => client.sql`SELECT ${v}::timestamp AS v`,
      new Date('2026-02-03T04:05:06Z'),
      '2026-02-03T04:05:06.000'
    ],
    ['date of a Date', v => client.sql`SELECT ${v}::date AS v`, new Date('2026-02-03T23:59:59Z'), '2026-02-03'],
    ['date of text', v => client.sql`SELECT ${v}::date AS v`, '1999-12-31', '1999-12-31'],
    [
      'jsonb',
      v => client.sql`SELECT ${v}::jsonb AS v`,
      { a: [1, null, 'é'], b: { c: true } },
      { a: [1, null, 'é'], b: { c: true } }
    ],
    ['jsonb of a list', v => client.sql`SELECT ${v}::jsonb AS v`, [1, 'two'], [1, 'two']],
    ['jsonb of a scalar', v => client.sql`SELECT ${v}::jsonb AS v`, 'text', 'text'],
    ['json', v => client.sql`SELECT ${v}::json AS v`, { b: 1, a: 2 }, { b: 1, a: 2 }],
    ['null', v => client.sql`SELECT ${v}::int AS v`, null, null],
    ['null as text', v => client.sql`SELECT ${v}::text IS NULL AS v`, null, true],
    ['null as jsonb', v => client.sql`SELECT ${v}::jsonb IS NULL AS v`, null, true],
    ['int4[]', v => client.sql`SELECT ${v}::int4[] AS v`, [1, 2, 3], [1, 2, 3]],
    ['int4[] with null', v => client.sql`SELECT ${v}::int4[] AS v`, [1, null, 3], [1, null, 3]],
    ['int4[], empty', v => client.sql`SELECT ${v}::int4[] AS v`, [], []],
    ['text[]', v => client.sql`SELECT ${v}::text[] AS v`, ['a,b', '{"', 'é', ''], ['a,b', '{"', 'é', '']],
    ['uuid[]', v => client.sql`SELECT ${v}::uuid[] AS v`, [id], [id]],
    ['timestamptz[]', v => client.sql`SELECT ${v}::timestamptz[] AS v`, [new Date(0)], ['1970-01-01T00:00:00+00:00']],
    ['float8[]', v => client.sql`SELECT ${v}::float8[] AS v`, [0.5, 1e10], [0.5, 1e10]],
    ['boolean[]', v => client.sql`SELECT ${v}::boolean[] AS v`, [true, false], [true, false]],
    ['an enum through text', v => client.sql`SELECT ${v}::text::mood AS v`, 'happy', 'happy'],
    ['a domain', v => client.sql`SELECT ${v}::percent AS v`, 42, 42],
    [
      '= ANY of numbers',
      v => client.sql`SELECT array_agg(id ORDER BY id) AS v FROM typed WHERE id = ANY(${v})`,
      [1, 2, 99],
      [1, 2]
    ],
    [
      '= ANY of uuids',
      v => client.sql`SELECT count(*) AS v FROM events WHERE event_id = ANY(${v})`,
      [id, id.replace(/1$/, '2')],
      2
    ],
    ['= ANY of nothing', v => client.sql`SELECT count(*) AS v FROM events WHERE event_type = ANY(${v})`, [], 0],
    [
      'compared with a column',
      v => client.sql`SELECT count(*) AS v FROM events WHERE "timestamp" < ${v}`,
      new Date('2024-01-01T00:00:05Z'),
      5
    ],
    ['inside jsonb', v => client.sql`SELECT count(*) AS v FROM events WHERE data->'n' = ${v}`, 7, 1],
    ['inside jsonb, containment', v => client.sql`SELECT count(*) AS v FROM events WHERE data @> ${v}`, { n: 7 }, 1],
    ['LIMIT', v => client.sql`SELECT count(*) AS v FROM (SELECT 1 FROM events LIMIT ${v}) AS x`, 3, 3],
    [
      'interval through text',
      v => client.sql`SELECT (timestamptz '2026-01-01Z' + ${v}::text::interval) AS v`,
      '2 days',
      '2026-01-03T00:00:00.000Z'
    ],
    ['bytea through text', v => client.sql`SELECT ${v}::text::bytea AS v`, '\\x00ff', '\\x00ff'],
    ['a column of JSON from null', v => client.sql`SELECT int4range(1, ${v}) AS v`, null, '[1,)']
  ])('%s', async (_, make, given, expected) => {
    const { rows } = await make(given as never).execute()
    expect(rows).toEqual([{ v: expected }])
    expect(await drain(make(given as never).executeStream())).toEqual([{ v: expected }])
  })

  test.each<[string, () => ReturnType<EventsClient['sql']>]>([
    ['text for int4', () => client.sql`SELECT ${'x'}::int4`],
    ['too large for int2', () => client.sql`SELECT ${40_000}::int2`],
    ['a fraction for int4', () => client.sql`SELECT ${1.5}::int4`],
    ['too large for int8', () => client.sql`SELECT ${2n ** 63n}::int8`],
    ['no uuid', () => client.sql`SELECT ${'018b'}::uuid`],
    ['no time', () => client.sql`SELECT ${'yesterday'}::timestamptz`],
    ['a time without a zone', () => client.sql`SELECT ${'2026-01-01T00:00:00'}::timestamptz`],
    ['a number for boolean', () => client.sql`SELECT ${1}::boolean`],
    ['a list for int4', () => client.sql`SELECT ${[1]}::int4`],
    ['a scalar for int4[]', () => client.sql`SELECT ${1}::int4[]`],
    ['text inside int4[]', () => client.sql`SELECT ${[1, 'x']}::int4[]`],
    ['U+0000 in text', () => client.sql`SELECT ${'a\0b'}::text`],
    ['U+0000 in jsonb', () => client.sql`SELECT ${{ a: 'a\0b' }}::jsonb`],
    ['U+0000 in text[]', () => client.sql`SELECT ${['a\0b']}::text[]`]
  ])('%s is refused with its place', async (_, make) => {
    const error = await failure(make().execute(), 'INVALID_QUERY')
    expect(error.path).toMatch(/^values\[0\]/)
    expect(await failure(drain(make().executeStream()), 'INVALID_QUERY')).toMatchObject({ path: error.path })
  })

  test.each<[string, unknown]>([
    ['undefined', undefined],
    ['NaN', Number.NaN],
    ['a function', () => 1],
    ['a symbol', Symbol('x')],
    ['an invalid Date', new Date(Number.NaN)],
    ['half of a surrogate pair', '\ud800'],
    ['a Map', new Map()]
  ])('%s is refused before any SQL', async (_, given) => {
    expect((await failure(client.sql`SELECT ${given as string} AS v`.execute(), 'INVALID_QUERY')).path).toBe(
      'values[0]'
    )
  })

  test('a backslash before u0000 is only text', async () => {
    const text = String.raw`C:\u0000 and \\u0000`
    expect((await client.sql`SELECT ${text}::text AS v`.execute()).rows).toEqual([{ v: text }])
    expect((await client.sql`SELECT ${{ text }}::jsonb AS v`.execute()).rows).toEqual([{ v: { text } }])
  })

  test('an enum as it is says how to pass it', async () => {
    const error = await failure(client.sql`SELECT * FROM typed WHERE m = ${'ok'}`.execute())
    expect(error.message).toContain('::text::mood')
  })

  test('values are never SQL', async () => {
    const nasty = "'; DROP TABLE events; --"
    expect((await client.sql`SELECT ${nasty}::text AS v`.execute()).rows).toEqual([{ v: nasty }])
    expect((await client.sql`SELECT count(*) AS n FROM events WHERE event_type = ${nasty}`.execute()).rows).toEqual([
      { n: 0 }
    ])
    expect((await client.query().limit(1).execute()).rowCount).toBe(1)
  })

  test('a hundred of them, in order', async () => {
    const strings = Object.assign(
      Array.from({ length: 101 }, (_, i) => (i === 0 ? 'SELECT ARRAY[' : i === 100 ? '::int] AS v' : '::int,')),
      { raw: [''] }
    )
    const numbers = Array.from({ length: 100 }, (_, i) => i * 3)
    const { rows } = await client.sql(strings as unknown as TemplateStringsArray, ...numbers).execute()
    expect(rows).toEqual([{ v: numbers }])
  })

  test("placeholders that the caller wrote are the caller's mistake", async () => {
    for (const make of [() => client.sql`SELECT $1::int AS v`, () => client.sql`SELECT $2::int AS v, ${1}::int AS w`]) {
      expect(await failure(make().execute(), 'INVALID_QUERY')).toMatchObject({ retryable: false })
    }
    expect((await client.sql`SELECT '$1' AS v`.execute()).rows).toEqual([{ v: '$1' }])
    expect((await client.sql`SELECT '$9' AS v, ${1}::int AS w`.execute()).rows).toEqual([{ v: '$9', w: 1 }])
  })

  test('it is a template tag', async () => {
    expect(() => (client.sql as unknown as (text: string) => unknown)('SELECT 1')).toThrow(
      expect.objectContaining({ code: 'INVALID_QUERY', path: 'sql' })
    )
    await failure(client.sql``.execute(), 'INVALID_QUERY')
    await failure(raw('SELECT 1 \0').execute(), 'INVALID_QUERY')
  })
})
