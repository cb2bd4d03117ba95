// Figures for Prometheus, and the report.
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'

let database: TestDatabase

beforeAll(async () => {
  database = await TestDatabase.create({ events: 1000 })
})
afterAll(() => database.drop())

/** The samples of a text exposition; what is malformed is thrown. */
function samples(text: string) {
  const found = new Map<string, number>()
  const typed = new Set<string>()
  for (const line of text.trimEnd().split('\n')) {
    const comment = /^# (HELP|TYPE) ([a-z_]+) (.+)$/.exec(line)
    if (comment) {
      if (comment[1] === 'TYPE') expect(['counter', 'gauge', 'histogram']).toContain(comment[3])
      typed.add(comment[2] as string)
      continue
    }
    const sample = /^([a-z_]+)(\{[a-z]+="[^"\\]*"\})? ([0-9.e+-]+)$/.exec(line)
    if (!sample) throw new Error(`not a sample: ${line}`)
    const [, name, labels = '', value] = sample as unknown as [string, string, string | undefined, string]
    expect(typed).toContain(name.replace(/_(bucket|sum|count)$/, ''))
    expect(found.has(name + labels)).toBe(false)
    found.set(name + labels, Number(value))
  }
  return found
}

describe('metrics', () => {
  test('are what happened, in the text format', async () => {
    // Far from what a busy machine makes of a query that takes a millisecond.
    const client = await database.connect({ monitor: { slowQueryThreshold: 500 } })
    for (let i = 0; i < 10; i++) await client.query().where('tags.issueId', 'eq', 's3cret').limit(5).execute()
    await client.query().limit(7).execute()
    await client.sql`SELECT pg_sleep(0.6)`.execute()
    await failure(client.sql`SELECT 1 / ${0}`.execute())
    const text = client.monitor.metrics()
    const found = samples(text)
    const get = (name: string) => found.get(`tamma_events_${name}`)
    expect(get('queries_total{status="done"}')).toBe(12)
    expect(get('queries_total{status="failed"}')).toBe(1)
    expect(get('slow_queries_total')).toBe(1)
    expect(get('rows_total')).toBe(8)
    expect(get('query_duration_seconds_count')).toBe(13)
    expect(get('query_duration_seconds_bucket{le="+Inf"}')).toBe(13)
    expect(get('query_duration_seconds_bucket{le="60"}')).toBe(13)
    expect(get('query_duration_seconds_bucket{le="0.5"}')).toBe(12)
    expect(get('query_duration_seconds_sum')).toBeGreaterThan(0.6)
    expect(get('pool_connections{state="idle"}')).toBe(1)
    expect(get('queries_running')).toBe(0)
    expect(text).not.toContain('s3cret')
    expect(text.endsWith('\n')).toBe(true)
  })
})

describe('the report', () => {
  test('is one page that loads nothing and shows no value', async () => {
    const client = await database.connect({ monitor: { slowQueryThreshold: 20 } })
    for (let i = 0; i < 30; i++) await client.query().where('tags.issueId', 'eq', 's3cret').execute()
    await client.sql`SELECT pg_sleep(${0.03}::float8), '<script>s3cret</script>' AS "<b>"`.execute({
      queryId: '<img src=x>'
    })
    const running = client.sql`SELECT pg_sleep(${1}::float8)`.execute({ queryId: 'still running' })
    await database.running('pg_sleep')
    const html = await client.monitor.report()
    await running
    expect(html).toMatch(/^<!doctype html>[\s\S]*<\/html>\n$/)
    expect(html).not.toMatch(/https?:|<script|<img|<link|<iframe|url\(|@import|s3cret|<b>"/)
    expect(html).toContain("default-src 'none'")
    expect(html).toContain('&lt;img src=x&gt;')
    expect(html).toContain('still running')
    expect(html.match(/<svg /g)).toHaveLength(2)
    expect(html).not.toMatch(/NaN|undefined|Infinity|\[object/)
  })

  test('a client that did nothing has one too', async () => {
    const client = await database.connect()
    const html = await client.monitor.report()
    expect(html).toContain('No query has ended yet.')
    expect(html).not.toMatch(/<svg|NaN|undefined|Infinity/)
  })

  test('is written whole to a path', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'tamma-report-'))
    try {
      const client = await database.connect()
      const to = path.join(folder, 'report.html')
      const html = await client.monitor.report({ to })
      expect(await readFile(to, 'utf8')).toBe(html)
      expect(await readdir(folder)).toEqual(['report.html'])
      const error = await failure(client.monitor.report({ to: path.join(folder, 'none', 'report.html') }))
      expect(error).toMatchObject({ code: 'EXPORT_FAILED', path: 'to' })
      // @ts-expect-error not a path
      expect((await failure(client.monitor.report({ to: 1 }))).path).toBe('to')
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

test('a hundred thousand fingerprints take bounded memory', async () => {
  const client = await database.connect({ monitor: { persist: false } })
  const run = async (from: number, to: number) => {
    for (let i = from; i < to; i++) {
      // An impossible filter: it is answered without the server, and is a run like any other.
      await client.query().where(`data.f${i}`, 'exists').where('type', 'eq', 'A').where('type', 'eq', 'B').execute()
    }
  }
  await run(0, 5000)
  const before = process.memoryUsage().rss
  await run(5000, 105_000)
  const grown = process.memoryUsage().rss - before
  const fingerprints = await client.monitor.getFingerprints()
  expect(fingerprints.length).toBeLessThanOrEqual(1000)
  const found = samples(client.monitor.metrics())
  expect(found.get('tamma_events_queries_total{status="done"}')).toBe(105_000)
  expect(found.get('tamma_events_fingerprints_evicted_total')).toBe(105_000 - fingerprints.length)
  expect(grown).toBeLessThan(64 << 20)
})
