// `tamma-events export`, `stats` and `flow`, as processes.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { run } from './cli-process'
import { eventsUpTo, TestDatabase } from './support/database'

let database: TestDatabase
let folder: string
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tamma-cli-'))
  database = await TestDatabase.create({ events: 200 })
})
afterAll(async () => {
  await database?.drop()
  rmSync(folder, { recursive: true, force: true })
})

const cli = (...args: string[]) => run([...args, '--url', database.url])

it('export writes files and standard output, by the ending of a name or a format', async () => {
  const out = join(folder, 'all.ndjson')
  const written = await cli('export', '--out', out)
  expect(written).toMatchObject({ code: 0, stdout: '' })
  expect(written.stderr).toMatch(/^200 rows, .* bytes in .*all\.ndjson\n$/)
  const lines = readFileSync(out, 'utf8').trimEnd().split('\n')
  expect(lines.map(line => JSON.parse(line).id).sort()).toEqual(eventsUpTo(200).map(event => event.id))
  const csv = await cli(
    'export',
    '--format',
    'csv',
    '--type',
    'PR.*',
    '--select',
    'type,data.n',
    '--order',
    'data.n',
    '--limit',
    '2',
    '--delimiter',
    ';'
  )
  expect(csv).toMatchObject({
    code: 0,
    stderr: '',
    stdout: 'type;data.n\r\nPR.MERGED.SUCCESS;2\r\nPR.MERGED.SUCCESS;7\r\n'
  })
  expect((await cli('export')).code).toBe(2)
  expect((await cli('export', '--out', join(folder, 'x.csv'), '--compression', 'snappy')).stderr).toContain(
    'compression'
  )
})

it('stats describes a field', async () => {
  const { stdout, code } = await cli('stats', '--field', 'data.n', '--format', 'json')
  expect(code).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject([{ field: 'data.n', count: 200, mean: 99.5, min: 0, max: 199 }])
  const table = await cli('stats', '--field', 'data.n', '--by', 'type')
  expect(table.stdout.split('\n')[0]).toMatch(/type\s+count\s+nulls\s+mean/)
  expect(table.stdout.trimEnd().split('\n').length).toBe(6)
  expect((await cli('stats')).code).toBe(2)
})

it('flow draws a graph', async () => {
  const mermaid = await cli('flow', '--by', 'tags.issueId', '--where', 'data.n < 100', '--type', 'PR.*')
  expect(mermaid).toMatchObject({ code: 0, stderr: '' })
  expect(mermaid.stdout).toBe(
    'flowchart LR\n  n0["PR.MERGED.SUCCESS<br/>20"]\n  start((" ")) -->|20| n0\n  n0 -->|20| stop(((" ")))\n'
  )
  const dot = await cli('flow', '--by', 'tags.issueId', '--format', 'dot', '--where', 'tags.issueId = "7"')
  expect(dot.stdout).toMatch(/^digraph flow \{[\s\S]*n0 -> n0 \[label="1\\n[\s\S]*\}\n$/)
  expect((await cli('flow')).code).toBe(2)
})
