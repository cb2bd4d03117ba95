// Every command of the command line against a database.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { TestDatabase } from './cli-database'
import { run, start } from './cli-process'
import { eventsOf, TestRepository } from './git-repository'

let database: TestDatabase
let folder: string
let repository: TestRepository

const cli = (...args: string[]) => run([...args, '--url', database.url])
const ndjson = async (...args: string[]) => {
  const { stdout } = await cli('query', '--format', 'ndjson', ...args)
  return stdout
    .split('\n')
    .filter(Boolean)
    .map(line => JSON.parse(line))
}
const event = (n: number, parts = {}) => ({
  id: `018bcfe5-6800-7000-8000-${n.toString(16).padStart(12, '0')}`,
  type: 'TEST.EVENT.SUCCESS',
  timestamp: new Date(1_700_000_000_000).toISOString(),
  tags: { kind: 'file', n: String(n) },
  metadata: {},
  data: { n },
  ...parts
})

beforeAll(async () => {
  database = await TestDatabase.create()
  folder = mkdtempSync(join(tmpdir(), 'tamma-cli-'))
  repository = new TestRepository()
  repository.commit('feat: one (#1)\n\nFixes #7', { 'src/a.ts': 'x\n'.repeat(600) })
  repository.commit('two', { 'lib/b.js': 'x\n' })
  repository.git('tag', 'v1.0.0')
})
afterAll(async () => {
  repository?.remove()
  if (folder) rmSync(folder, { recursive: true, force: true })
  await database?.drop()
})

describe('import', () => {
  test('a git history, and again finds only duplicates', async () => {
    const expected = await eventsOf(repository)
    const first = await cli('import', '--git', repository.path)
    expect(first).toMatchObject({ code: 0, stderr: '' })
    expect(first.stdout).toMatch(new RegExp(`^${expected.length} events imported in .+ events/s\\)\n$`))
    const second = await cli('import', '--git', repository.path, '--format', 'json')
    expect(JSON.parse(second.stdout)).toMatchObject({
      imported: 0,
      duplicates: expected.length,
      rejectedCount: 0,
      rejected: []
    })

    const stored = await ndjson('--tag', 'repo=shop')
    const byId = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : 1)
    expect(stored.sort(byId)).toEqual(expected.sort(byId))
  })

  test('a file, plain and gzip, with bad lines told', async () => {
    const lines = [event(1), event(2), { ...event(3), type: 'no' }].map(line => JSON.stringify(line))
    writeFileSync(join(folder, 'events.ndjson'), [...lines, '{"broken', ''].join('\n'))
    writeFileSync(join(folder, 'events.ndjson.gz'), gzipSync(JSON.stringify(event(4))))
    const plain = await cli('import', '--ndjson', join(folder, 'events.ndjson'))
    expect(plain.code).toBe(1)
    expect(plain.stdout).toMatch(/^2 events imported/)
    expect(plain.stdout).toMatch(/^2 lines rejected\n {2}line 3: .+\n {2}line 4: .+/m)
    expect((await cli('import', '--ndjson', join(folder, 'events.ndjson.gz'))).stdout).toMatch(/^1 event imported/)
  })

  test('of what is not there fails with code and path', async () => {
    const nowhere = await cli('import', '--git', folder)
    expect(nowhere).toMatchObject({ code: 1, stdout: '' })
    expect(nowhere.stderr).toBe(`error: ${folder} is not in a git repository\n  code: INVALID_EVENT\n  path: path\n`)
    const missing = await cli('import', '--ndjson', join(folder, 'missing'))
    expect(missing.code).toBe(1)
    expect(missing.stderr).toMatch(/^error: .+/)
  })
})

describe('query', () => {
  test('filters by every flag', async () => {
    expect(await ndjson('--type', 'TEST.*')).toHaveLength(3)
    expect(await ndjson('--type', 'RELEASE.TAGGED.SUCCESS,ISSUE.*')).toHaveLength(2)
    expect(await ndjson('--tag', 'kind=file', '--tag', 'n=1', '--tag', 'n=4')).toHaveLength(2)
    expect(await ndjson('--where', 'data.insertions > 500')).toHaveLength(2)
    expect(await ndjson('--where', 'data.n>=2', '--where', 'tags.n=2')).toMatchObject([{ data: { n: 2 } }])
    expect(await ndjson('--since', '2024-01-01')).toEqual([])
    expect(await ndjson('--until', '2024-01-01', '--type', 'TEST.*', '--limit', '2', '--offset', '2')).toHaveLength(1)
    expect(await ndjson('--type', 'TEST.*', '--select', 'data.n,tags.kind', '--order', 'data.n:desc')).toEqual([
      { 'data.n': 4, 'tags.kind': 'file' },
      { 'data.n': 2, 'tags.kind': 'file' },
      { 'data.n': 1, 'tags.kind': 'file' }
    ])
  })

  test('a whole query as JSON, from argument, file and stdin', async () => {
    const query = JSON.stringify({
      filter: { eventTypes: ['TEST.*'] },
      select: ['data.n'],
      orderBy: [{ field: 'data.n' }]
    })
    writeFileSync(join(folder, 'query.json'), query)
    const args = ['query', '--format', 'json', '--url', database.url, '--json']
    for (const [json, input] of [
      [query, ''],
      [`@${join(folder, 'query.json')}`, ''],
      ['-', query]
    ] as const) {
      const { stdout } = await run([...args, json], {}, input)
      expect(JSON.parse(stdout)).toEqual([{ 'data.n': 1 }, { 'data.n': 2 }, { 'data.n': 4 }])
    }
    expect(JSON.parse((await cli('query', '--format', 'json', '--type', 'NONE.*')).stdout)).toEqual([])
  })

  test('a table, with rows, time and a cursor to go on', async () => {
    const args = ['query', '--type', 'TEST.*', '--select', 'timestamp,data.n', '--order', 'timestamp', '--limit', '2']
    const first = await cli(...args)
    expect(first.code).toBe(0)
    expect(first.stdout.split('\n').map(line => line.trimEnd())).toEqual([
      'timestamp                 data.n',
      '2023-11-14T22:13:20.000Z       1',
      '2023-11-14T22:13:20.000Z       2',
      ''
    ])
    expect(first.stderr).toMatch(/^2 rows in .+\nmore: --after \S+\n$/)
    const cursor = /--after (\S+)/.exec(first.stderr)?.[1] as string
    const second = await cli(...args, '--after', cursor)
    expect(second.stdout).toContain('       4\n')
    expect(second.stderr).toMatch(/^1 row in [^\n]+\n$/)
  })

  test('the plan', async () => {
    const plan = await cli('query', '--where', 'data.n > 1', '--explain')
    expect(plan).toMatchObject({ code: 0, stderr: '' })
    expect(plan.stdout.length).toBeGreaterThan(20)
    const { stdout } = await cli('query', '--where', 'data.n > 1', '--explain', '--format', 'json')
    expect(JSON.parse(stdout)).toMatchObject({ sql: expect.stringContaining('SELECT'), strategy: expect.any(String) })
  })

  test('explain: text, JSON, hints, and what cannot be followed', async () => {
    const text = await cli('explain', '--where', 'data.n > 1', '--analyze', '--use-index', 'nowhere')
    expect(text).toMatchObject({ code: 0, stderr: '' })
    const rows = (await cli('query', '--where', 'data.n > 1', '--format', 'ndjson')).stdout.trimEnd().split('\n').length
    expect(text.stdout).toContain(`really ${rows} rows`)
    expect(text.stdout).toContain('Hints\n  useIndex nowhere: no, there is no index of this name\n')
    expect(text.stdout).toMatch(/strategy single, plan [0-9a-f]{16}, fingerprint [0-9a-f]{16}\n$/)
    const { stdout } = await cli('explain', '--order', 'id', '--force-index', 'events_pkey', '-f', 'json')
    expect(JSON.parse(stdout)).toMatchObject({
      indexesUsed: ['events_pkey'],
      hints: [{ hint: 'forceIndex', value: 'events_pkey', honoured: true }]
    })
    const failed = await cli('explain', '--force-index', 'nowhere')
    expect(failed).toMatchObject({ code: 1, stdout: '' })
    expect(failed.stderr).toContain('code: UNKNOWN_INDEX')
  })

  test.each([
    [
      ['--where', 'data.n > 1', '--where', '{"field":"data.n","op":"bigger","value":1}'],
      'INVALID_QUERY',
      'filter.where.and[1].op'
    ],
    [['--select', 'nothing.here'], 'UNKNOWN_FIELD', 'select[0]'],
    [['--json', '{"filter":{},"limits":3}'], 'INVALID_QUERY', 'limits'],
    [['--after', 'not-a-cursor'], 'INVALID_QUERY', 'after']
  ])('%j fails with code and path', async (args, code, path) => {
    const failed = await cli('query', ...args)
    expect(failed).toMatchObject({ code: 1, stdout: '' })
    expect(failed.stderr).toMatch(/^error: /)
    expect(failed.stderr).toContain(`\n  code: ${code}\n  path: ${path}\n`)
    expect(failed.stderr).not.toMatch(/^\s+at /m)
  })

  test('shows stacks only with DEBUG', async () => {
    const failed = await run(['query', '--after', 'x', '--url', database.url], { DEBUG: '1' })
    expect(failed.code).toBe(1)
    expect(failed.stderr).toMatch(/^\s+at /m)
  })
})

describe('the surroundings', () => {
  test('DATABASE_URL is used where no flag says otherwise', async () => {
    const { code, stdout } = await run(['query', '--type', 'TEST.*', '--format', 'ndjson'], {
      DATABASE_URL: database.url
    })
    expect(code).toBe(0)
    expect(stdout.trim().split('\n')).toHaveLength(3)
  })

  test('no password is ever written, whatever goes wrong', async () => {
    const wrong = new URL(database.url)
    wrong.password = 'hunter%2022'
    const closed = new URL(wrong)
    closed.port = '1'
    const urls = [
      wrong.href,
      closed.href,
      'postgres://ada:hunter%2022@nowhere.invalid/log',
      'postgres://ada:hunter%2022@'
    ]
    for (const url of urls) {
      const ended = await Promise.all([
        run(['query', '--url', url]),
        run(['query', '--url', url], { DEBUG: '1' }),
        run(['import', '--git', repository.path], { DATABASE_URL: url, DEBUG: '1' })
      ])
      for (const { code, stdout, stderr } of ended) {
        expect(code).toBe(1)
        expect(stderr).toMatch(/^error: .+\n {2}code: [A-Z_]+\n/)
        expect(stdout + stderr).not.toMatch(/hunter(?:%20| )22/)
      }
    }
  }, 60_000)

  test('a missing table is told with what to do', async () => {
    const empty = await TestDatabase.create()
    try {
      const failed = await run(['query', '--url', empty.url])
      expect(failed.code).toBe(1)
      expect(failed.stderr).toMatch(/hint: tamma-events import/)
    } finally {
      await empty.drop()
    }
  })
})

describe('stopped', () => {
  beforeAll(async () => {
    await database.query(`
      INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data)
      SELECT gen_random_uuid(), 'MANY.ROWS.SUCCESS', timestamptz '2020-01-01' + n * interval '1 second', '{}', '{}',
             jsonb_build_object('n', n, 'text', repeat('x', 200))
      FROM generate_series(1, 100000) n`)
  })

  const gone = async () => {
    for (let tries = 0; tries < 50; tries++) {
      if ((await database.running()).length === 0) return
      await new Promise(resolve => setTimeout(resolve, 50))
    }
    expect(await database.running()).toEqual([])
  }

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143]
  ] as const)('by %s ends with %i and leaves nothing running', async (signal, code) => {
    const { child, ended } = start(['query', '--type', 'MANY.*', '--format', 'ndjson', '--url', database.url])
    // Reads a little, then no more: the query waits for its reader.
    await new Promise(resolve => child.stdout.once('data', resolve))
    child.stdout.pause()
    child.kill(signal)
    child.stdout.resume()
    const result = await ended
    expect(result).toMatchObject({ code, signal: null })
    expect(result.stderr).toBe('interrupted\n')
    await gone()
  })

  test('by a reader that has seen enough, as head does', async () => {
    const { child, ended } = start(['query', '--type', 'MANY.*', '--format', 'ndjson', '--url', database.url])
    await new Promise(resolve => child.stdout.once('data', resolve))
    child.stdout.destroy()
    expect(await ended).toMatchObject({ code: 0, stderr: '' })
    await gone()
  })

  test('in the middle of an import, of which nothing half is left', async () => {
    const lines = Array.from({ length: 200_000 }, (_, n) =>
      JSON.stringify(event(n + 1000, { type: 'HALF.IMPORT.SUCCESS' }))
    )
    writeFileSync(join(folder, 'large.ndjson'), lines.join('\n'))
    const { child, ended } = start(['import', '--ndjson', join(folder, 'large.ndjson'), '--url', database.url])
    while ((await database.running()).length === 0) await new Promise(resolve => setTimeout(resolve, 20))
    await new Promise(resolve => setTimeout(resolve, 300))
    child.kill('SIGINT')
    expect(await ended).toMatchObject({ code: 130, stdout: '' })
    await gone()
  })
})
