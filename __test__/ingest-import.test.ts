// importEvents() from files and iterables: what is stored, skipped and reported, and what is left when it ends early.
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { DomainEvent, EventsClient, Progress } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'
import { timed } from './support/wait'

let database: TestDatabase
let client: EventsClient
let directory: string
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tamma-import-'))
  database = await TestDatabase.create()
  client = await database.connect({ pool: { max: 1 } })
})
afterAll(async () => {
  await database?.drop()
  rmSync(directory, { recursive: true, force: true })
})

let before: number
const count = async () => {
  const { rows } = await database.admin.query<{ n: number }>('SELECT count(*)::int AS n FROM events')
  return rows[0].n
}
const added = async () => (await count()) - before
beforeEach(async () => {
  before = await count()
})

const event = (members: Partial<DomainEvent> = {}): DomainEvent => ({
  id: randomUUID(),
  type: 'CODE.GENERATED.SUCCESS',
  timestamp: '2026-01-01T00:00:00.000Z',
  tags: {},
  metadata: {},
  data: {},
  ...members
})
const events = (n: number) => Array.from({ length: n }, (_, i) => event({ data: { i } }))
const lines = (list: readonly DomainEvent[]) => list.map(e => JSON.stringify(e))
const stored = async (id: string) =>
  (
    await client
      .query()
      .where({ eventIds: [id] })
      .execute()
  ).rows[0]

function file(content: string | Buffer, name = `${randomUUID()}.ndjson`) {
  const path = join(directory, name)
  writeFileSync(path, content)
  return path
}

describe('a file', () => {
  it.each<[string, (text: string[]) => string | Buffer]>([
    ['plain', text => `${text.join('\n')}\n`],
    ['without a last line end', text => text.join('\n')],
    ['with CRLF', text => `${text.join('\r\n')}\r\n`],
    ['with a byte order mark', text => `\ufeff${text.join('\n')}\n`],
    ['with blank lines', text => `\n\n${text.join('\n  \n\t\n')}\n\n`],
    ['with space around the lines', text => text.map(line => `  ${line}\t`).join('\n')],
    ['gzip', text => gzipSync(`${text.join('\n')}\n`)],
    ['gzip of several members', text => Buffer.concat(text.map(line => gzipSync(`${line}\n`)))],
    ['gzip with a byte order mark and CRLF', text => gzipSync(`\ufeff${text.join('\r\n')}`)]
  ])('%s', async (_, write) => {
    const report = await client.importEvents(file(write(lines(events(3)))))
    expect(report).toEqual({ imported: 3, duplicates: 0, rejected: [], rejectedCount: 0, duration: expect.any(Number) })
    expect(await added()).toBe(3)
  })

  it.each([
    ['empty', ''],
    ['of one line end', '\n'],
    ['of a byte order mark', '\ufeff'],
    ['of an empty gzip', gzipSync('')]
  ])('%s', async (_, content) => {
    expect(await client.importEvents(file(content))).toMatchObject({ imported: 0, duplicates: 0, rejectedCount: 0 })
  })

  it('is stored as it is', async () => {
    const given = event({
      timestamp: '2026-01-01T00:00:00.000001Z',
      tags: { ключ: '😀' },
      metadata: { é: ['\u2028', '\\'] },
      data: { '': { n: 0.1 } }
    })
    await client.importEvents(file(lines([given])[0]))
    expect(await stored(given.id)).toEqual(given)
  })

  it('keeps the digits of its numbers', async () => {
    const { id } = event()
    const line = `{"id":"${id}","type":"A.B","timestamp":"2026-01-01","data":{"big":9007199254740993,"tiny":1e-300,"huge":1e308,"one":1.0,"zero":-0}}`
    expect(await client.importEvents(file(line))).toMatchObject({ imported: 1 })
    const { rows } = await database.admin.query('SELECT data::text FROM events WHERE event_id = $1', [id])
    expect(rows[0].data).toContain('"big": 9007199254740993')
    expect(rows[0].data).toContain('"one": 1.0')
    expect((await stored(id)).data).toMatchObject({ tiny: 1e-300, huge: 1e308 })
  })

  it('may have lines of a megabyte, and lines cut at every place by its chunks', async () => {
    const big = events(3).map((e, i) => ({ ...e, data: { text: 'é😀'.repeat(150_000 + i) } }))
    expect(await client.importEvents(file(gzipSync(lines(big).join('\n'))))).toMatchObject({
      imported: 3,
      rejectedCount: 0
    })
    expect((await stored(big[2].id)).data).toEqual(big[2].data)
  })

  it('may have a line that is far too long, between others', async () => {
    const [first, last] = lines(events(2))
    const path = file(
      gzipSync(
        Buffer.concat([Buffer.from(`${first}\n{"x":"`), Buffer.alloc(65 << 20, 97), Buffer.from(`"}\n${last}\n`)]),
        { level: 1 }
      )
    )
    const report = await client.importEvents(path)
    expect(report).toMatchObject({ imported: 2, rejectedCount: 1, rejected: [{ line: 2 }] })
    expect(report.rejected[0].reason).toContain('64 MiB')
  })

  it.each<[string, string]>([
    ['missing', 'no-such-file.ndjson'],
    ['a directory', '.']
  ])('%s', async (_, name) => {
    const error = await failure(client.importEvents(join(directory, name)), 'INVALID_EVENT')
    expect(error.path).toBe('source')
    await database.quiet()
  })

  it('of gzip that is cut off', async () => {
    const path = file(gzipSync(lines(events(2000)).join('\n')))
    truncateSync(path, 20_000)
    const error = await failure(client.importEvents(path), 'INVALID_EVENT')
    expect(error.path).toBe('source')
    expect(error.message).not.toContain('CODE.GENERATED')
    await database.quiet()
  })
})

describe('a line that is refused', () => {
  const good = JSON.stringify(event())
  const deep = (n: number) => `${'{"a":'.repeat(n)}1${'}'.repeat(n)}`
  const withData = (data: string) => good.replace('"data":{}', `"data":${data}`)
  it.each<[name: string, line: string | Buffer, reason: RegExp]>([
    ['text', 'hello', /^the line is not JSON/],
    ['a list', '["private"]', /^the line is not an object$/],
    ['null', 'null', /^the line is not an object$/],
    ['a string', '"private"', /^the line is not an object$/],
    ['half an object', '{"id":', /^the line is not JSON/],
    ['two objects', `${good}${good}`, /^the line is not JSON/],
    ['a comment', '// x', /^the line is not JSON/],
    ['no id', '{"type":"A.B","timestamp":"2026-01-01"}', /^id.*missing/],
    ['no time', `{"type":"A.B","id":"${randomUUID()}"}`, /^timestamp.*missing/],
    ['no type', `{"timestamp":"2026-01-01","id":"${randomUUID()}"}`, /^type.*missing/],
    ['an unknown member', good.replace('"tags"', '"tag"'), /^tag: /],
    ['a tag that is a number', good.replace('"tags":{}', '"tags":{"n":1}'), /^tags\.n: /],
    ['data that is a list', withData('[]'), /^data: /],
    ['a type off the grammar', good.replace('CODE.GENERATED.SUCCESS', 'code'), /^type: /],
    ['a time without a zone', good.replace('.000Z', ''), /^timestamp: .*zone/],
    [
      'bytes that are no UTF-8',
      Buffer.concat([Buffer.from('{"x":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}')]),
      /not UTF-8/
    ],
    [
      'UTF-8 of a surrogate',
      Buffer.concat([Buffer.from('{"x":"'), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from('"}')]),
      /not UTF-8/
    ],
    ['an escaped U+0000', withData('{"a":["x\\u0000"]}'), /^data\.a\[0\]: .*U\+0000/],
    ['an escaped U+0000 in a key', withData('{"\\u0000":1}'), /^data.*U\+0000/],
    ['half of a surrogate pair', withData('{"a":"\\ud83d x"}'), /^data\.a: .*surrogate/],
    ['the wrong half first', withData('{"a":"\\ude00\\ud83d"}'), /^data\.a: .*surrogate/],
    ['a number beyond a double', withData('{"a":{"n":1e999}}'), /^data\.a\.n: .*double/],
    ['a number with too many places', withData('{"n":1e-20000}'), /^data\.n: .*numeric/],
    ['a zero with too large an exponent', withData('{"n":0e999999999999}'), /^data\.n: .*numeric/],
    ['nesting 1001 deep', withData(deep(1001)), /^data(\.a){10,}….*nested/],
    ['nesting 100,000 deep', withData(deep(100_000)), /^data(\.a){10,}….*nested/],
    ['NaN', withData('{"n":NaN}'), /^the line is not JSON/],
    ['a time before the calendar', good.replace('2026-01-01', '-005000-01-01'), /^timestamp: /]
  ])('%s', async (_, line, reason) => {
    const between = lines(events(2))
    const content = Buffer.concat([Buffer.from(`${between[0]}\n\n`), Buffer.from(line), Buffer.from(`\n${between[1]}`)])
    const report = await client.importEvents(file(content))
    expect(report).toMatchObject({ imported: 2, duplicates: 0, rejectedCount: 1 })
    expect(report.rejected).toEqual([{ line: 3, reason: expect.stringMatching(reason) }])
    expect(report.rejected[0].reason.length).toBeLessThan(300)
  })

  it('nesting 999 deep is none', async () => {
    expect(
      await client.importEvents(file(withData(deep(999)).replace(/"id":"[^"]*"/, `"id":"${randomUUID()}"`)))
    ).toMatchObject({ imported: 1, rejectedCount: 0 })
  })

  it('is one of many: the list ends at maxRejected, the count does not', async () => {
    const content = Array.from({ length: 3000 }, (_, i) => (i % 10 === 0 ? JSON.stringify(event()) : '{')).join('\n')
    const report = await client.importEvents(file(content), { maxRejected: 5 })
    expect(report).toMatchObject({ imported: 300, rejectedCount: 2700 })
    expect(report.rejected.map(r => r.line)).toEqual([2, 3, 4, 5, 6])
    expect(await client.importEvents(file('{\n{'), { maxRejected: 0 })).toMatchObject({
      rejected: [],
      rejectedCount: 2
    })
    expect((await client.importEvents(file(content))).rejected).toHaveLength(1000)
  })
})

describe('duplicates', () => {
  it('are skipped, in the table, in the file and across chunks', async () => {
    const list = events(6000)
    await client.importEvents(list.slice(0, 10))
    const other = { ...list[20], data: { other: true } }
    const upper = { ...list[21], id: list[21].id.toUpperCase() }
    const report = await client.importEvents(file([...lines(list), ...lines([other, upper, list[0]])].join('\n')))
    expect(report).toMatchObject({ imported: 5990, duplicates: 13, rejectedCount: 0 })
    expect(await added()).toBe(6000)
    expect((await stored(other.id)).data).toEqual(list[20].data)
  })
})

describe('an iterable', () => {
  it.each<[string, (list: DomainEvent[]) => Iterable<DomainEvent> | AsyncIterable<DomainEvent>]>([
    ['a list', list => list],
    ['a set', list => new Set(list)],
    [
      'a generator',
      function* (list) {
        yield* list
      }
    ],
    [
      'an async generator',
      async function* (list) {
        yield* list
      }
    ],
    [
      'another query',
      list => ({ [Symbol.asyncIterator]: () => list[Symbol.iterator]() as unknown as AsyncIterator<DomainEvent> })
    ]
  ])('%s', async (_, make) => {
    expect(await client.importEvents(make(events(1500)))).toMatchObject({ imported: 1500, rejectedCount: 0 })
    expect(await added()).toBe(1500)
  })

  it('of events that cannot all be written', async () => {
    const bad = [
      undefined,
      null,
      5,
      'x',
      [],
      { data: { n: 1n } },
      { data: { n: Number.NaN } },
      { tags: { t: '\ud800' } },
      { data: { f() {} } }
    ]
    const source = [
      event(),
      ...bad.map(b => (b && typeof b === 'object' && !Array.isArray(b) ? { ...event(), ...b } : b)),
      event()
    ] as DomainEvent[]
    const report = await client.importEvents(source)
    expect(report).toMatchObject({ imported: 2, rejectedCount: bad.length })
    expect(report.rejected.map(r => r.line)).toEqual(bad.map((_, i) => i + 2))
    expect(report.rejected.map(r => r.reason).join('\n')).toMatchInlineSnapshot(`
      "the line is undefined: leave it out, or give a value
      the line is not an object
      the line is not an object
      the line is not an object
      the line is not an object
      data.n: is a bigint, which JSON cannot say: pass a number or a string
      data.n: is NaN, which JSON cannot say
      tags.t: contains half of a surrogate pair, which is no character
      data.f: is a function"
    `)
  })

  it.each([undefined, null, 5, {}, () => {}])('is not %s', async source => {
    expect((await failure(client.importEvents(source as unknown as string), 'INVALID_EVENT')).path).toBe('source')
  })

  /** A source that counts what becomes of it. */
  function observed(list: readonly DomainEvent[], then?: () => Promise<IteratorResult<DomainEvent>>) {
    const seen = { asked: 0, returned: 0 }
    const source: AsyncIterable<DomainEvent> = {
      [Symbol.asyncIterator]: () => ({
        async next() {
          const at = seen.asked++
          if (at < list.length) return { value: list[at], done: false }
          return then ? then() : { value: undefined, done: true }
        },
        async return() {
          seen.returned++
          return { value: undefined, done: true }
        }
      })
    }
    return { seen, source }
  }

  it('that throws: its error comes through, and the connection is free', async () => {
    const { seen, source } = observed(events(10), () => Promise.reject(new RangeError('out of events')))
    await expect(client.importEvents(source)).rejects.toThrow(new RangeError('out of events'))
    expect(seen.returned).toBe(0)
    await database.quiet()
    expect(await client.importEvents([event()])).toMatchObject({ imported: 1 })
  })

  it('is released when the import fails in the middle', async () => {
    const { seen, source } = observed(events(20_000))
    const onProgress = () => {
      throw new Error('enough')
    }
    await expect(client.importEvents(source, { onProgress })).rejects.toThrow('enough')
    expect(seen.returned).toBe(1)
    expect(seen.asked).toBeLessThan(20_000)
    await database.quiet()
  })

  it('is released by an abort in the middle, with whole chunks left behind', async () => {
    const list = events(30_000)
    const { seen, source } = observed(list)
    const abort = new AbortController()
    const reason = new Error('changed my mind')
    const onProgress = ({ done }: Progress) => {
      if (done > 10_000) abort.abort(reason)
    }
    const error = await failure(client.importEvents(source, { signal: abort.signal, onProgress }), 'QUERY_CANCELLED')
    expect(error).toMatchObject({ name: 'AbortError', cause: reason })
    expect(seen.returned).toBe(1)
    await database.quiet()
    const left = await added()
    expect(left).toBeLessThan(30_000)
    // What is left is where a second import begins.
    expect(await client.importEvents(list)).toMatchObject({ imported: 30_000 - left, duplicates: left })
  })

  it('is left by an abort while another session locks the table', async () => {
    const holder = new pg.Client({ connectionString: database.url })
    await holder.connect()
    try {
      await holder.query('BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE')
      const signal = AbortSignal.timeout(200)
      const error = await failure(
        client.importEvents(file(lines(events(100)).join('\n')), { signal }),
        'QUERY_CANCELLED'
      )
      expect(error.name).toBe('AbortError')
    } finally {
      await holder.query('ROLLBACK')
      await holder.end()
    }
    await database.quiet()
    expect(await added()).toBe(0)
  })

  it('that never answers is left by an abort', async () => {
    const { source } = observed(events(3), () => new Promise(() => {}))
    const abort = new AbortController()
    const importing = timed(client.importEvents(source, { signal: abort.signal }))
    setTimeout(() => abort.abort(), 50)
    const { ms, error } = await importing
    expect(error).toMatchObject({ code: 'QUERY_CANCELLED' })
    expect(ms).toBeLessThan(1000)
    await database.quiet()
    expect(await added()).toBe(0)
  })

  it('is not begun where the signal has fired', async () => {
    const { seen, source } = observed(events(3))
    await failure(client.importEvents(source, { signal: AbortSignal.abort() }), 'QUERY_CANCELLED')
    expect(seen.asked).toBe(0)
  })
})

describe('options', () => {
  it.each<[string, object | null, string]>([
    ['null', null, 'options'],
    ['an unknown one', { batch: 5 }, 'batch'],
    ['a negative maxRejected', { maxRejected: -1 }, 'maxRejected'],
    ['a fraction of maxRejected', { maxRejected: 1.5 }, 'maxRejected'],
    ['a signal that is none', { signal: {} }, 'signal'],
    ['onProgress that is no function', { onProgress: true }, 'onProgress']
  ])('%s', async (_, options, path) => {
    expect((await failure(client.importEvents([], options as object), 'INVALID_QUERY')).path).toBe(path)
  })

  it('undefined means left out', async () => {
    const options = { signal: undefined, onProgress: undefined, maxRejected: undefined } as unknown as object
    expect(await client.importEvents([], options)).toMatchObject({ imported: 0 })
  })

  it('progress goes up to the whole, in bytes of a file and events of a list', async () => {
    for (const [source, unit, total] of [
      [file(gzipSync(lines(events(30_000)).join('\n'))), 'bytes', undefined],
      [events(5000), 'events', 5000],
      [new Set(events(10)), 'events', null]
    ] as const) {
      const seen: Progress[] = []
      await client.importEvents(source, { onProgress: p => seen.push(p) })
      const last = seen[seen.length - 1]
      expect(last).toMatchObject({ unit, phase: expect.any(String), elapsed: expect.any(Number) })
      expect(last.total).toBe(total === undefined ? last.done : total)
      expect(seen.map(p => p.done)).toEqual(seen.map(p => p.done).sort((a, b) => a - b))
    }
  })
})
