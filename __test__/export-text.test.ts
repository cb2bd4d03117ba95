// Exports as text, read back by parsers that have nothing to do with this package.
import { existsSync, readFileSync } from 'node:fs'
import * as zlib from 'node:zlib'
import { tableFromIPC } from 'apache-arrow'
import { parse } from 'csv-parse/sync'
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet'
import { describe, expect, it } from 'vitest'
import { eventsUpTo } from './support/database'
import { duck } from './support/duck'
import { failure } from './support/errors'
import { all, COUNT, client, database, file } from './support/exported'

const events = eventsUpTo(COUNT)
const parsed = (text: string) => JSON.parse(text)

describe('CSV', () => {
  const read = (text: string | Buffer, options = {}) =>
    parse(text, { columns: true, relax_column_count: false, ...options }) as Record<string, string>[]

  it('is read back by a common parser, with Unicode, quotes and line breaks', async () => {
    const report = await all().export({ format: 'csv', to: file('all.csv') })
    expect(report).toMatchObject({
      rows: COUNT,
      columns: [
        { name: 'id', type: 'string' },
        { name: 'type', type: 'string' },
        { name: 'timestamp', type: 'timestamp' },
        { name: 'tags', type: 'json' },
        { name: 'metadata', type: 'json' },
        { name: 'data', type: 'json' }
      ]
    })
    const bytes = readFileSync(file('all.csv'))
    expect(report.bytes).toBe(bytes.length)
    const rows = read(bytes).map(row => ({
      ...row,
      tags: parsed(row.tags),
      metadata: parsed(row.metadata),
      data: parsed(row.data)
    }))
    expect(rows).toEqual(events)
    expect(bytes.toString().split('\r\n').length).toBe(COUNT + 2)
  })

  it('tells a missing value from an empty text, and has strings of JSON as text', async () => {
    await client
      .query()
      .select({ n: 'data.n', text: 'tags.text', none: 'tags.none', list: 'data.list' })
      .orderBy('timestamp')
      .limit(4)
      .export({ format: 'csv', to: file('few.csv') })
    expect(readFileSync(file('few.csv'), 'utf8')).toBe(
      'n,text,none,list\r\n' +
        '0,plain,,"[0, null, {""deep"": true}]"\r\n' +
        '1,"quo""te \\ back\nline",,"[1, null, {""deep"": true}]"\r\n' +
        '2,é中😀\u2028\u007f,,"[2, null, {""deep"": true}]"\r\n' +
        '3,"",,"[3, null, {""deep"": true}]"\r\n'
    )
  })

  it('takes another delimiter, and leaves out the header', async () => {
    await client
      .query()
      .select({ a: 'tags.text', b: 'data.half' })
      .orderBy('timestamp')
      .limit(2)
      .export({ format: 'csv', to: file('semi.csv'), csv: { header: false, delimiter: ';' } })
    expect(readFileSync(file('semi.csv'), 'utf8')).toBe('plain;0\r\n"quo""te \\ back\nline";0.5\r\n')
  })

  it('makes texts of formulas, where that is wanted', async () => {
    await database.admin.query(`INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data)
      SELECT gen_random_uuid(), 'FORMULA.TEST.X', timestamptz '2030-01-01Z' + o * interval '1 second', jsonb_build_object('f', f), '{}', jsonb_build_object('f', f, 'n', -o)
      FROM unnest(ARRAY['=1+2', '+1', '-1', '@x', E'\\tx', 'a=1']) WITH ORDINALITY AS r(f, o)`)
    const q = client
      .query()
      .where('type', 'eq', 'FORMULA.TEST.X')
      .select({ '=head': 'tags.f', g: 'data.f', n: 'data.n' })
      .orderBy('timestamp')
    await q.export({ format: 'csv', to: file('f.csv'), csv: { neutralizeFormulas: true } })
    expect(parse(readFileSync(file('f.csv')))).toEqual([
      ["'=head", 'g', 'n'],
      ...['=1+2', '+1', '-1', '@x', '\tx'].map((f, i) => [`'${f}`, `'${f}`, String(-i - 1)]),
      ['a=1', 'a=1', '-6']
    ])
    await q.export({ format: 'csv', to: file('f.csv') })
    expect((parse(readFileSync(file('f.csv'))) as string[][])[1]).toEqual(['=1+2', '=1+2', '-1'])
    await database.admin.query(`ALTER TABLE events DISABLE TRIGGER USER`)
    await database.admin.query(`DELETE FROM events WHERE event_type = 'FORMULA.TEST.X'`)
    await database.admin.query(`ALTER TABLE events ENABLE TRIGGER USER`)
  })
})

describe('JSON', () => {
  it('and NDJSON hold the rows', async () => {
    await all().export({ format: 'ndjson', to: file('all.ndjson') })
    const lines = readFileSync(file('all.ndjson'), 'utf8').trimEnd().split('\n')
    expect(lines.map(line => JSON.parse(line))).toEqual(events)
    expect(lines[2]).toContain('é中😀')
    await all().export({ format: 'json', to: file('all.json') })
    expect(JSON.parse(readFileSync(file('all.json'), 'utf8'))).toEqual(events)
  })

  it('keep the digits of integers that no double holds', async () => {
    await client
      .query()
      .where('data.n', 'eq', 0)
      .sum('data.n', 's')
      .count()
      .export({ format: 'ndjson', to: file('sum.ndjson') })
    expect(readFileSync(file('sum.ndjson'), 'utf8')).toBe('{"s":0,"count":1}\n')
    await database.admin.query(`INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data)
      VALUES (gen_random_uuid(), 'BIG.TEST.X', '2031-01-01Z', '{}', '{}', '{"n": 9007199254740993, "f": 0.1}')`)
    const big = client.query().where('type', 'eq', 'BIG.TEST.X')
    await big.select({ n: 'data.n' }).export({ format: 'ndjson', to: file('big.ndjson') })
    expect(readFileSync(file('big.ndjson'), 'utf8')).toBe('{"n":9007199254740993}\n')
    await big
      .sum('data.n', 's')
      .avg('data.f', 'a')
      .export({ format: 'json', to: file('big.json') })
    expect(readFileSync(file('big.json'), 'utf8')).toBe('[\n{"s":9007199254740993,"a":0.1}\n]\n')
    expect((await failure(big.sum('data.n', 's').export({ format: 'parquet', to: file('big.parquet') }))).code).toBe(
      'PRECISION_LOSS'
    )
    expect(existsSync(file('big.parquet'))).toBe(false)
    const exact = await database.connect({ bigint: 'string' })
    const { columns } = await exact
      .query()
      .where('type', 'eq', 'BIG.TEST.X')
      .sum('data.n', 's')
      .export({ format: 'parquet', to: file('big.parquet') })
    expect(columns).toEqual([{ name: 's', type: 'string' }])
    expect(await parquetReadObjects({ file: await asyncBufferFromFile(file('big.parquet')) })).toEqual([
      { s: '9007199254740993' }
    ])
    await database.admin.query(`ALTER TABLE events DISABLE TRIGGER USER`)
    await database.admin.query(`DELETE FROM events WHERE event_type = 'BIG.TEST.X'`)
    await database.admin.query(`ALTER TABLE events ENABLE TRIGGER USER`)
  })

  it('of nothing are valid files', async () => {
    const nothing = client.query().where('type', 'eq', 'NONE')
    for (const [format, text] of [
      ['json', '[]\n'],
      ['ndjson', ''],
      ['csv', 'id,type,timestamp,tags,metadata,data\r\n']
    ] as const) {
      expect((await nothing.export({ format, to: file(`none.${format}`) })).rows).toBe(0)
      expect(readFileSync(file(`none.${format}`), 'utf8')).toBe(text)
    }
    await nothing.export({ format: 'parquet', to: file('none.parquet') })
    expect(await parquetReadObjects({ file: await asyncBufferFromFile(file('none.parquet')) })).toEqual([])
    await nothing.export({ format: 'arrow', to: file('none.arrow') })
    const table = tableFromIPC(readFileSync(file('none.arrow')))
    expect([table.numRows, table.schema.fields.map(f => f.name)]).toEqual([
      0,
      ['id', 'type', 'timestamp', 'tags', 'metadata', 'data']
    ])
  })
})

describe('compression of text', () => {
  it('is that of gzip and of zstd', async () => {
    await all().export({ format: 'ndjson', to: file('all.ndjson') })
    const plain = readFileSync(file('all.ndjson'))
    await all().export({ format: 'ndjson', to: file('all.gz'), compression: 'gzip' })
    expect(zlib.gunzipSync(readFileSync(file('all.gz'))).equals(plain)).toBe(true)
    await all().export({ format: 'ndjson', to: file('all.zst'), compression: 'zstd' })
    // Node.js 20 cannot unpack it: DuckDB can.
    const unzstd = (zlib as { zstdDecompressSync?: (packed: Buffer) => Buffer }).zstdDecompressSync
    if (unzstd) expect(unzstd(readFileSync(file('all.zst'))).equals(plain)).toBe(true)
    const [{ n }] = await duck(
      `SELECT count(*)::int AS n FROM read_json('${file('all.zst')}', compression = 'zstd', format = 'newline_delimited')`
    )
    expect(n).toBe(COUNT)
    expect(readFileSync(file('all.zst')).subarray(0, 4).toString('hex')).toBe('28b52ffd')
  })
})
