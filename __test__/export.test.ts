// Exports, read back by readers that have nothing to do with this package.
import { execFileSync } from 'node:child_process'
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Writable } from 'node:stream'
import * as zlib from 'node:zlib'
import { DuckDBInstance } from '@duckdb/node-api'
import { tableFromIPC } from 'apache-arrow'
import { parse } from 'csv-parse/sync'
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { DomainEvent, EventsClient, ExportOptions } from '../index.js'
import { eventsUpTo, TestDatabase } from './support/database'
import { failure } from './support/errors'
import { until } from './support/wait'

const COUNT = 3000
let database: TestDatabase
let client: EventsClient
let folder: string
let events: DomainEvent[]

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tamma-export-'))
  database = await TestDatabase.create({ events: COUNT })
  client = await database.connect()
  events = eventsUpTo(COUNT)
})
afterAll(async () => {
  await database?.drop()
  rmSync(folder, { recursive: true, force: true })
})

const all = () => client.query().orderBy('timestamp').orderBy('id')
const file = (name: string) => join(folder, name)
const parsed = (text: string) => JSON.parse(text)
/** Rows of typed formats have JSON as text, and times as their readers have them. */
const event = (row: Record<string, unknown>): DomainEvent => ({
  id: row.id as string,
  type: row.type as string,
  timestamp: iso(row.timestamp),
  tags: parsed(row.tags as string),
  metadata: parsed(row.metadata as string),
  data: parsed(row.data as string)
})
/** Microseconds since 1970, or a Date with milliseconds. */
function iso(value: unknown) {
  const micros = typeof value === 'bigint' ? value : BigInt((value as Date).getTime()) * 1000n
  const text = new Date(Number(micros / 1000n)).toISOString()
  return micros % 1000n === 0n ? text : text.replace('Z', `${String(micros % 1000n).padStart(3, '0')}Z`)
}
const inMillis = ({ timestamp, ...rest }: DomainEvent) => ({ ...rest, timestamp: new Date(timestamp).toISOString() })

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

describe('Parquet', () => {
  it('is read back by hyparquet and by DuckDB', async () => {
    for (const compression of ['snappy', 'none'] as const) {
      await all().export({ format: 'parquet', to: file('all.parquet'), compression })
      const buffer = await asyncBufferFromFile(file('all.parquet'))
      const rows = await parquetReadObjects({ file: buffer })
      // It has times as Dates, which end at milliseconds.
      expect(rows.map(row => inMillis(event(row)))).toEqual(events.map(inMillis))
      expect(Number((await parquetMetadataAsync(buffer)).num_rows)).toBe(COUNT)
    }
    for (const compression of ['gzip', 'zstd', 'snappy'] as const) {
      await all().export({ format: 'parquet', to: file(`all-${compression}.parquet`), compression })
      const rows = await duck(
        `SELECT * REPLACE (epoch_us("timestamp") AS "timestamp") FROM read_parquet('${file(`all-${compression}.parquet`)}')`
      )
      expect(rows.map(event)).toEqual(events)
    }
    const [{ t }] = await duck(`SELECT typeof("timestamp") AS t FROM read_parquet('${file('all.parquet')}') LIMIT 1`)
    expect(t).toBe('TIMESTAMP WITH TIME ZONE')
  })

  it('keeps the types of computed columns', async () => {
    const q = client
      .query()
      .groupBy(['type'])
      .count()
      .sum('data.half', 'halves')
      .avg('data.n', 'mean')
      .min('timestamp', 'first')
      .orderBy('type')
    const { rows } = await q.execute()
    const { columns } = await q.export({ format: 'parquet', to: file('groups.parquet') })
    expect(columns.map(c => c.type)).toEqual(['string', 'int64', 'float64', 'float64', 'timestamp'])
    const found = await duck(
      `SELECT type, count, halves, mean, epoch_us(first) AS first FROM read_parquet('${file('groups.parquet')}')`
    )
    expect(found.map(row => ({ ...row, count: Number(row.count), first: iso(row.first) }))).toEqual(rows)
  })
})

describe('Arrow', () => {
  it('is read back by apache-arrow', async () => {
    await all().export({ format: 'arrow', to: file('all.arrow') })
    const table = tableFromIPC(readFileSync(file('all.arrow')))
    expect(String(table.schema.fields[2].type)).toBe('Timestamp<MICROSECOND, UTC>')
    const stamps = table.getChild('timestamp')?.data.flatMap(chunk => Array.from(chunk.values as BigInt64Array)) ?? []
    const rows = table.toArray().map((row, i) => event({ ...row.toJSON(), timestamp: stamps[i] }))
    expect(rows).toEqual(events)
  })
})

async function duck(sql: string) {
  const instance = await DuckDBInstance.create(':memory:')
  const connection = await instance.connect()
  try {
    const reader = await connection.runAndReadAll(sql)
    return reader.getRowObjects() as Record<string, unknown>[]
  } finally {
    connection.closeSync()
    instance.closeSync()
  }
}

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

describe('streams', () => {
  it('of Node.js get the same bytes, with backpressure', async () => {
    const { bytes } = await all().export({ format: 'ndjson', to: file('all.ndjson') })
    const chunks: Buffer[] = []
    let waiting = 0
    const slow = new Writable({
      highWaterMark: 1,
      write(chunk, _encoding, done) {
        expect(++waiting).toBe(1)
        chunks.push(chunk)
        setTimeout(() => {
          waiting--
          done()
        }, 5)
      }
    })
    const report = await all().export({ format: 'ndjson', to: slow })
    expect([report.rows, report.bytes]).toEqual([COUNT, bytes])
    expect(slow.writableFinished).toBe(true)
    expect(Buffer.concat(chunks).equals(readFileSync(file('all.ndjson')))).toBe(true)
  })

  it('of the web too', async () => {
    const chunks: Uint8Array[] = []
    let closed = false
    const to = new WritableStream<Uint8Array>({
      write: chunk => void chunks.push(chunk),
      close: () => {
        closed = true
      }
    })
    await all().export({ format: 'parquet', to })
    expect(closed).toBe(true)
    writeFileSync(file('web.parquet'), Buffer.concat(chunks))
    expect((await parquetReadObjects({ file: await asyncBufferFromFile(file('web.parquet')) })).length).toBe(COUNT)
  })

  it('that fail end the export, and the statement', async () => {
    if (existsSync('/dev/full')) {
      const error = await failure(all().export({ format: 'csv', to: createWriteStream('/dev/full') }), 'EXPORT_FAILED')
      expect((error.cause as NodeJS.ErrnoException).code).toBe('ENOSPC')
    }
    const closed = new PassThrough()
    closed.destroy()
    await failure(all().export({ format: 'csv', to: closed }), 'EXPORT_FAILED')
    const refusing = new WritableStream({ write: () => Promise.reject(new Error('no')) })
    await failure(all().export({ format: 'csv', to: refusing }), 'EXPORT_FAILED')
    await database.quiet()
    expect(client.monitor.getPool().inUse).toBe(0)
  })

  it('that are stopped by a signal are destroyed', async () => {
    const abort = new AbortController()
    const stuck = new Writable({ highWaterMark: 1, write: () => abort.abort(new Error('enough')) })
    const error = await failure(all().export({ format: 'ndjson', to: stuck, signal: abort.signal }), 'QUERY_CANCELLED')
    expect([error.name, (error.cause as Error).message]).toEqual(['AbortError', 'enough'])
    expect(stuck.destroyed).toBe(true)
    await database.quiet()
  })
})

describe('files', () => {
  const left = (where: string) => readdirSync(where)

  it('are there whole or not at all', async () => {
    const where = join(folder, 'whole')
    mkdirSync(where)
    const to = join(where, 'out.ndjson')
    writeFileSync(to, 'before')
    const abort = new AbortController()
    // Slow enough to be stopped in the middle.
    const slow = client
      .query()
      .where({ field: 'data.n', op: 'gte', value: 0 })
      .join('events', { alias: 'o', on: { 'tags.issueId': 'tags.issueId' } })
      .join('events', { alias: 'p', on: { 'tags.issueId': 'tags.issueId' } })
      .select({ a: 'id', b: 'o.id', c: 'p.id' })
    const running = slow.export({
      format: 'ndjson',
      to,
      signal: abort.signal,
      onProgress: ({ done }) => done > 0 && abort.abort()
    })
    expect((await failure(running, 'QUERY_CANCELLED')).name).toBe('AbortError')
    expect(left(where)).toEqual(['out.ndjson'])
    expect(readFileSync(to, 'utf8')).toBe('before')
    await database.quiet(10_000)
    await until('the connection is back', async () => (client.monitor.getPool().inUse === 0 ? true : undefined))
    await client.query().limit(1).export({ format: 'ndjson', to })
    expect(JSON.parse(readFileSync(to, 'utf8'))).toEqual(events[0])
    await failure(slow.export({ format: 'csv', to, timeout: 150 }), 'QUERY_TIMEOUT')
    await until('the temporary file is gone', async () => (left(where).length === 1 ? true : undefined))
  })

  it('on a disk that fills up leave nothing behind', async context => {
    const where = join(folder, 'small')
    mkdirSync(where)
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', where], { stdio: 'ignore' })
    } catch {
      return context.skip()
    }
    try {
      for (const format of ['csv', 'parquet', 'arrow'] as const) {
        const error = await failure(
          client.query().export({ format, to: join(where, 'out'), compression: 'none' }),
          'EXPORT_FAILED'
        )
        expect(error.message).toContain('No space left')
        expect(left(where)).toEqual([])
      }
      await database.quiet()
      expect(client.monitor.getPool().inUse).toBe(0)
    } finally {
      execFileSync('umount', [where])
    }
  })

  it('that cannot be made cost no query', async () => {
    await failure(client.query().export({ format: 'csv', to: join(folder, 'no', 'such', 'folder') }), 'EXPORT_FAILED')
    await failure(client.query().export({ format: 'csv', to: folder }), 'EXPORT_FAILED')
    if (existsSync('/dev/null'))
      await failure(client.query().export({ format: 'csv', to: '/dev/null' }), 'EXPORT_FAILED')
  })
})

it('tells how far it has come', async () => {
  const told: { done: number; phase: string }[] = []
  const through = new PassThrough()
  through.resume()
  await all().export({
    format: 'ndjson',
    to: through,
    onProgress: ({ done, phase, unit, total }) => {
      expect([unit, total]).toEqual(['rows', null])
      told.push({ done, phase })
    }
  })
  expect(told.at(-1)).toEqual({ done: COUNT, phase: 'done' })
  expect(told.length).toBeGreaterThan(2)
})

it('counts as a query, by its id', async () => {
  await all().export({ format: 'csv', to: file('id.csv'), queryId: 'nightly' })
  expect(await client.optimizer.getQueryStats('nightly')).toMatchObject({ status: 'done', rowsReturned: COUNT })
})

it('of other tables', async () => {
  await database.admin.query(`CREATE TABLE teams (name text, size int, since date, ok bool)`)
  await database.admin.query(`INSERT INTO teams VALUES ('a', 3, '2020-02-03', true), ('b', NULL, NULL, NULL)`)
  await client
    .query()
    .from('teams')
    .orderBy('name')
    .export({ format: 'csv', to: file('teams.csv') })
  expect(readFileSync(file('teams.csv'), 'utf8')).toBe('name,size,since,ok\r\na,3,2020-02-03,true\r\nb,,,\r\n')
  await failure(
    client
      .query()
      .from('nope')
      .export({ format: 'csv', to: file('nope.csv') }),
    'UNKNOWN_TABLE'
  )
})

it('wrong options name what is wrong', async () => {
  const wrong = async (options: unknown) => {
    const { code, path } = await failure(client.query().export(options as ExportOptions))
    return `${code} ${path}`
  }
  const to = file('x')
  expect(await wrong(undefined)).toBe('INVALID_QUERY options')
  expect(await wrong({ to })).toBe('INVALID_QUERY format')
  expect(await wrong({ format: 'xml', to })).toBe('INVALID_QUERY format')
  expect(await wrong({ format: 'csv' })).toBe('INVALID_QUERY to')
  expect(await wrong({ format: 'csv', to: {} })).toBe('INVALID_QUERY to')
  expect(await wrong({ format: 'csv', to, compression: 'snappy' })).toBe('INVALID_QUERY compression')
  expect(await wrong({ format: 'arrow', to, compression: 'gzip' })).toBe('INVALID_QUERY compression')
  expect(await wrong({ format: 'json', to, csv: {} })).toBe('INVALID_QUERY csv')
  expect(await wrong({ format: 'csv', to, csv: { delimiter: '""' } })).toBe('INVALID_QUERY csv.delimiter')
  expect(await wrong({ format: 'csv', to, csv: { separator: ';' } })).toBe('INVALID_QUERY csv.separator')
  expect(await wrong({ format: 'csv', to, level: 9 })).toBe('INVALID_QUERY level')
  expect(
    (
      await failure(
        client
          .query()
          .where('nope' as never, 'eq', 1)
          .export({ format: 'csv', to })
      )
    ).code
  ).toBe('UNKNOWN_FIELD')
  expect(existsSync(to)).toBe(false)
})

it('sees the snapshot that it is in', async () => {
  await client.snapshot(async at => {
    const count = async () => (await at.query().count().execute()).rows[0].count
    const before = await count()
    await client.append([{ type: 'LATE.EVENT.SEEN' }])
    const { rows } = await at.query().export({ format: 'ndjson', to: file('snapshot.ndjson') })
    const piped = await at.analytics.pipeline([{ group: { aggregates: [{ fn: 'count' }] } }])
    const exported = await at.analytics.exportPipeline([{ match: {} }], { format: 'csv', to: file('snapshot.csv') })
    expect([rows, piped.rows[0].count, exported.rows]).toEqual([before, before, before])
  })
  expect((await client.query().where('type', 'eq', 'LATE.EVENT.SEEN').execute()).rowCount).toBe(1)
})
