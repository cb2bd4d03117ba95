// A git repository made for one test, with every time and author given, so that its events are known.
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { devNull, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect } from 'vitest'
import type { DomainEvent } from '../index'
import { gitEvents } from '../lib/git/index.js'

export interface Moment {
  /** Seconds since 1970. */ at?: number
  authoredAt?: number
  name?: string
  email?: string
}

export const START = 1_700_000_000

export class TestRepository {
  readonly path: string
  now = START

  constructor(name = 'shop', ...init: string[]) {
    this.path = join(mkdtempSync(join(tmpdir(), 'tamma-git-')), name)
    mkdirSync(this.path)
    this.git('init', '--quiet', '--initial-branch=main', ...init)
  }

  remove() {
    rmSync(dirname(this.path), { recursive: true, force: true })
  }

  git(...args: string[]) {
    return this.run(args)
  }

  run(
    args: string[],
    { at = this.now, authoredAt = at, name = 'Ada', email = 'ada@example.org' }: Moment = {},
    input?: Buffer
  ) {
    const { status, stdout, stderr } = spawnSync('git', ['-C', this.path, ...args], {
      input,
      encoding: 'utf8',
      env: {
        PATH: process.env.PATH,
        HOME: devNull,
        GIT_CONFIG_GLOBAL: devNull,
        GIT_CONFIG_NOSYSTEM: '1',
        GIT_AUTHOR_NAME: name,
        GIT_AUTHOR_EMAIL: email,
        GIT_AUTHOR_DATE: `${authoredAt} +0200`,
        GIT_COMMITTER_NAME: name,
        GIT_COMMITTER_EMAIL: email,
        GIT_COMMITTER_DATE: `${at} +0200`,
        GIT_ALLOW_PROTOCOL: 'file'
      }
    })
    if (status !== 0) throw new Error(`git ${args.join(' ')}: ${stderr}`)
    return stdout.trim()
  }

  write(path: string, content: string | Buffer) {
    mkdirSync(dirname(join(this.path, path)), { recursive: true })
    writeFileSync(join(this.path, path), content)
  }

  /** Writes the files, commits everything a minute later, and answers the commit's hash. */
  commit(message: string, files: Record<string, string | Buffer> = {}, moment: Moment = {}) {
    this.now = moment.at ?? this.now + 60
    for (const [path, content] of Object.entries(files)) this.write(path, content)
    this.git('add', '--all')
    this.run(['commit', '--quiet', '--allow-empty', '--message', message], { ...moment, at: this.now })
    return this.head()
  }

  /** Merges a branch into the one that is checked out, with a merge commit. */
  merge(branch: string, ...message: string[]) {
    this.now += 60
    const text = message.flatMap(line => ['--message', line])
    this.git('merge', '--quiet', '--no-ff', '--no-edit', ...text, branch)
    return this.head()
  }

  /** A commit object from raw bytes, for what `git commit` would not write. */
  rawCommit(headers: string[], message: Buffer, branch = 'main') {
    const tree = this.git('write-tree')
    const parents = this.git('rev-list', '--max-count=1', '--branches')
    const head = [`tree ${tree}`, ...(parents ? [`parent ${parents}`] : []), ...headers, '', ''].join('\n')
    const bytes = Buffer.concat([Buffer.from(head, 'latin1'), message])
    const hash = this.run(['hash-object', '-t', 'commit', '-w', '--literally', '--stdin'], {}, bytes)
    this.git('update-ref', `refs/heads/${branch}`, hash)
    return hash
  }

  head() {
    return this.git('rev-parse', 'HEAD')
  }
}

/** What every event must be, whoever takes it: the contract's rules, and the order of its id. */
export function checkEvent(event: DomainEvent) {
  expect(event.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  expect(event.type).toMatch(/^[A-Z][A-Z0-9_]*\.[A-Z][A-Z0-9_]*\.[A-Z][A-Z0-9_]*$/)
  expect(event.timestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  expect(Number.parseInt(event.id.replace('-', '').slice(0, 12), 16)).toBe(Date.parse(event.timestamp))
  for (const value of Object.values(event.tags)) expect(value).toBeTypeOf('string')
  const text = JSON.stringify(event)
  expect(JSON.parse(text)).toEqual(event)
  // PostgreSQL can't store the one, and JSON.stringify escapes the other.
  expect(text).not.toMatch(/\\u0000|\\ud[89a-f]/i)
  // Authors appear as hashes only.
  expect(text).not.toMatch(/@example\.org|Ada/)
}

export async function eventsOf(repository: TestRepository | string, options = {}): Promise<DomainEvent[]> {
  const events: DomainEvent[] = []
  const path = typeof repository === 'string' ? repository : repository.path
  for await (const event of gitEvents(path, options)) {
    checkEvent(event)
    events.push(event)
  }
  expect(new Set(events.map(({ id }) => id)).size).toBe(events.length)
  return events
}

export const ofType = (events: readonly DomainEvent[], type: string) => events.filter(event => event.type === type)
