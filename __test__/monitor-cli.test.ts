// `tamma-events top` and `report`: what other processes logged.
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { run, start } from './cli-process'
import { TestDatabase } from './support/database'
import { until } from './support/wait'

let database: TestDatabase

beforeAll(async () => {
  database = await TestDatabase.create({ events: 1000 })
  const client = await database.connect()
  for (let i = 0; i < 5; i++) await client.query().where('tags.issueId', 'eq', 's3cret').execute()
  await client.sql`SELECT pg_sleep(${0.05}::float8), 's3cret'`.execute({ queryId: 'slow one' })
  await client.monitor.flush()
})
afterAll(() => database.drop())

test('top shows what took the most time, and what runs', async () => {
  const client = await database.connect()
  const running = client.sql`SELECT pg_sleep(${2}::float8), 's3cret' AS now`.execute()
  await database.running('AS now')
  const { code, stdout, stderr } = await run(['top', '--url', database.url])
  expect([code, stderr]).toEqual([0, ''])
  expect(stdout).toMatch(/^1 running statement\n/)
  expect(stdout).toMatch(/SELECT pg_sleep\(\$1::float8\), \? AS now/)
  expect(stdout).toMatch(/\n2 statements, 6 logged runs\n/)
  expect(stdout.indexOf('pg_sleep($1::float8), ?\n')).toBeLessThan(stdout.indexOf('event_id'))
  expect(stdout).not.toContain('s3cret')
  await running
})

test('top shows nothing of what a running statement says, however it is quoted', async () => {
  const client = await database.connect()
  const running =
    client.sql`SELECT pg_sleep(${2}::float8)::text AS s, E'it\\'s3cret one' AS a, $q$s3cret two$q$ AS b, 5553737 AS quoted -- s3cret three
  `.execute()
  await database.running('AS quoted')
  const { stdout } = await run(['top', '--url', database.url, '-f', 'json'])
  expect(JSON.parse(stdout).running).toEqual([
    expect.objectContaining({ query: 'SELECT pg_sleep($1::float8)::text AS s, ? AS a, ? AS b, ? AS quoted' })
  ])
  await running
})

test('top as json, in another order, cut', async () => {
  const { stdout } = await run(['top', '--url', database.url, '-f', 'json', '--order', 'calls', '--limit', '1'])
  const { statements, running } = JSON.parse(stdout)
  expect(running).toEqual([])
  expect(statements).toEqual([expect.objectContaining({ calls: 5, rows: 0 })])
})

test('top --watch goes on until it is interrupted', async () => {
  const { child, ended, output } = start(['top', '--url', database.url, '--watch', '1'])
  await until('two rounds', () => ((output().match(/logged runs/g)?.length ?? 0) >= 2 ? true : undefined))
  child.kill('SIGINT')
  expect(await ended).toMatchObject({ code: 130, stderr: 'interrupted\n' })
})

test('report writes a page', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'tamma-report-'))
  try {
    const out = path.join(folder, 'report.html')
    const { code, stdout, stderr } = await run(['report', '--url', database.url, '--since', '1 day', '--out', out])
    expect([code, stdout, stderr]).toEqual([0, '', `wrote ${out}\n`])
    const html = await readFile(out, 'utf8')
    expect(html).toContain('slow one')
    expect(html.match(/<svg /g)).toHaveLength(2)
    expect(html).not.toMatch(/https?:|<script|s3cret|NaN|undefined|Infinity|\[object/)
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('what is not understood, and a database without the log', async () => {
  for (const [args, message] of [
    [['top', '--since', 'soon'], "--since is a duration such as '15 minutes', not 'soon'"],
    [['top', '--order', 'x'], '--order is one of total, mean, p95, max, calls'],
    [['top', '--watch', '0'], '--watch is a number of seconds from 1'],
    [['report', '--since', '0 days'], '--since is a duration']
  ] as const) {
    const { code, stderr } = await run(args)
    expect(code).toBe(2)
    expect(stderr).toContain(message)
  }
  await database.admin.query('ALTER TABLE query_performance_log RENAME TO kept')
  try {
    const { code, stderr } = await run(['top', '--url', database.url])
    expect(code).toBe(1)
    expect(stderr).toContain('there is no query_performance_log in this database')
  } finally {
    await database.admin.query('ALTER TABLE kept RENAME TO query_performance_log')
  }
})
