// The demo as a child process, with a server of its own, on a small history and on a file.
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { QUESTIONS } from '../lib/cli/demo/questions.js'
import { sourceOf } from '../lib/cli/demo/source.js'
import { run } from './cli-process'
import { eventsOf, TestRepository } from './git-repository'

let repository: TestRepository
let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tamma-demo-'))
  chmodSync(folder, 0o755) // as root, the server runs as another user, who has to come in
  repository = new TestRepository()
})
afterAll(() => {
  repository.remove()
  rmSync(folder, { recursive: true, force: true })
})

const leftovers = () => readdirSync(tmpdir()).filter(name => name.startsWith('tamma-events-demo-'))

function expectTour({ code, stdout, stderr }: { code: number | null; stdout: string; stderr: string }, events: number) {
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/^✔ PostgreSQL \d+\.\d+ of its own is up/)
  expect(stdout).toContain(`✔ ${events} event${events === 1 ? '' : 's'} from `)
  for (const { title } of QUESTIONS) expect(stdout).toContain(title)
  expect(stdout).toContain('planned?')
  expect(stdout).not.toMatch(/undefined|NaN|Infinity|\[object/)
  // The plan is as wide as its conditions.
  for (const line of stdout.slice(0, stdout.indexOf('planned?')).split('\n'))
    expect(line.length).toBeLessThanOrEqual(140)
}

test('on a history without a commit', async () => {
  const { code, stdout, stderr } = await run(['demo', '--git', repository.path])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toContain('✔ 0 events from the git history of shop')
  expect(stdout).toContain('nothing to ask')
}, 60_000)

test.each([1, 3, 8])(
  'on a history of %i commits',
  async commits => {
    for (let n = Number(repository.git('rev-list', '--all', '--count')) + 1; n <= commits; n++) {
      repository.commit(`feat: number ${n} (#${n})`, { 'src/a.ts': 'x\n'.repeat(n * 100) })
    }
    const before = leftovers()
    expectTour(await run(['demo', '--git', repository.path]), 2 * commits)
    expect(leftovers()).toEqual(before)
  },
  60_000
)

test('on a file, and where the database is kept it can be asked more', async () => {
  const events = await eventsOf(repository)
  writeFileSync(join(folder, 'events.ndjson'), events.map(event => JSON.stringify(event)).join('\n'))
  const directory = join(folder, 'kept')
  const demo = await run(['demo', '--ndjson', join(folder, 'events.ndjson'), '--embedded', directory])
  expectTour(demo, events.length)
  expect(demo.stdout).toContain('Ask more: ')
  const { stdout } = await run(['query', '--embedded', directory, '--format', 'ndjson'])
  expect(stdout.trim().split('\n')).toHaveLength(events.length)
}, 60_000)

test('what is printed as the question is what was asked', () => {
  expect(sourceOf((events: { query(): unknown }) => events.query())).toEqual(['events.query()'])
  for (const { query, ask } of QUESTIONS) {
    const lines = sourceOf((query ?? ask) as () => unknown)
    expect(lines.length).toBeGreaterThan(0)
    expect(lines.join('')).not.toMatch(/=> *$/)
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(110)
  }
})
