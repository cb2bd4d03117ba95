// The kinds of repositories there are, and what is refused.
import { accessSync, constants, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { gitEvents, repositoryName } from '../lib/git/index.js'
import { identifyRemote } from '../lib/git/repository.js'
import { eventsOf, ofType, TestRepository } from './git-repository'

let repository: TestRepository
beforeEach(() => {
  repository = new TestRepository()
})
afterEach(() => repository.remove())

const beside = (name: string) => join(repository.path, '..', name)
const read = async (path: string, options = {}) => {
  for await (const _ of gitEvents(path, options));
}

describe('a repository that is', () => {
  test('empty', async () => {
    expect(await eventsOf(repository)).toEqual([])
    expect(await repositoryName(repository.path)).toBe('shop')
  })

  test('empty and bare', async () => {
    const bare = new TestRepository('store.git', '--bare')
    try {
      expect(await eventsOf(bare)).toEqual([])
      expect(await repositoryName(bare.path)).toBe('store')
    } finally {
      bare.remove()
    }
  })

  test('shallow', async () => {
    for (let n = 0; n < 5; n++) repository.commit(`${n}`, { a: `${n}` })
    repository.git('clone', '--quiet', '--depth=2', `file://${repository.path}`, beside('shallow'))
    const full = await eventsOf(repository)
    const shallow = await eventsOf(beside('shallow'))
    expect(shallow.map(({ id }) => id)).toEqual(full.slice(-2).map(({ id }) => id))
    // At the edge git shows a commit that adds the whole tree; what it really did is not known.
    expect(full[3]?.data).toMatchObject({ files: 1, parents: 1 })
    for (const unknown of ['files', 'insertions', 'languages', 'parents', 'isMerge']) {
      expect(shallow[0]?.data).not.toHaveProperty(unknown)
    }
    expect(shallow[0]?.tags).not.toHaveProperty('area')
    expect(shallow[1]).toEqual(full[4])
  })

  test('partial, without fetching what is missing', async () => {
    repository.commit('one', { 'src/a.ts': 'x\n' })
    repository.commit('two', { 'src/a.ts': 'y\n' })
    repository.git('config', 'uploadpack.allowFilter', 'true')
    repository.git(
      'clone',
      '--quiet',
      '--bare',
      '--filter=blob:none',
      `file://${repository.path}`,
      beside('partial.git')
    )
    const events = await eventsOf(beside('partial.git'))
    expect(events.map(({ id }) => id)).toEqual((await eventsOf(repository)).map(({ id }) => id))
    expect(events[1]?.data).toMatchObject({ files: 1, languages: { typescript: 1 } })
    expect(events[1]?.data).not.toHaveProperty('insertions')
  })

  test('a worktree, on a detached head, and a folder inside', async () => {
    repository.commit('one', { 'deep/down/a': 'x' })
    const expected = (await eventsOf(repository)).map(({ id }) => id)
    repository.git('worktree', 'add', '--quiet', '--detach', beside('tree'))
    expect(await repositoryName(beside('tree'))).toBe('shop')
    expect((await eventsOf(beside('tree'))).map(({ id }) => id)).toEqual(expected)
    expect((await eventsOf(join(repository.path, 'deep/down'))).map(({ id }) => id)).toEqual(expected)
  })

  test('one with a submodule, and the submodule itself', async () => {
    const part = new TestRepository('part')
    try {
      part.commit('part', { p: 'x' })
      repository.commit('whole', { a: 'x\n' })
      repository.git('-c', 'protocol.file.allow=always', 'submodule', '--quiet', 'add', part.path, 'vendor/part')
      repository.commit('add the part')
      const [, event] = await eventsOf(repository)
      // .gitmodules is a file with three lines; the submodule is neither file nor line.
      expect(event?.data).toMatchObject({ files: 1, insertions: 3, submodules: 1, areas: 1 })
      expect(await repositoryName(join(repository.path, 'vendor/part'))).toBe('part')
      expect(await eventsOf(join(repository.path, 'vendor/part'))).toHaveLength(1)
    } finally {
      part.remove()
    }
  })

  test('read as it is, without replaced objects, notes and stash', async () => {
    repository.commit('one', { a: 'x' })
    const hash = repository.commit('two', { a: 'y' })
    const other = repository.commit('three', { a: 'z' })
    const expected = (await eventsOf(repository)).map(({ id }) => id)
    repository.git('notes', 'add', '--message', 'a note', hash)
    repository.write('a', 'dirty')
    repository.git('stash', '--quiet')
    repository.git('replace', hash, other)
    expect((await eventsOf(repository)).map(({ id }) => id)).toEqual(expected)
  })

  test('under a path that looks like an option, with odd characters', async () => {
    const odd = new TestRepository('--output=x $(touch pwned) ü')
    try {
      odd.commit('one', { a: 'x' })
      expect(await eventsOf(odd)).toHaveLength(1)
      expect((await eventsOf(odd))[0]?.tags.repo).toBe('--output=x $(touch pwned) ü')
    } finally {
      odd.remove()
    }
  })

  test('with a branch named like HEAD or like a file', async () => {
    repository.commit('one', { main: 'x', HEAD: 'x' })
    repository.git('tag', 'main')
    expect(ofType(await eventsOf(repository), 'CODE.COMMITTED.SUCCESS')).toHaveLength(1)
  })

  test('pointed elsewhere by the environment of a hook', async () => {
    repository.commit('one')
    const other = new TestRepository('other')
    const before = { ...process.env }
    process.env.GIT_DIR = join(other.path, '.git')
    process.env.GIT_INDEX_FILE = 'nowhere'
    try {
      expect(await eventsOf(repository)).toHaveLength(1)
    } finally {
      process.env = before
      other.remove()
    }
  })
})

describe('names', () => {
  test.each([
    ['git@github.com:acme/shop.git', 'acme/shop', 'github'],
    ['https://user:secret@github.com/acme/shop.git/', 'acme/shop', 'github'],
    ['ssh://git@gitlab.example.org:2222/group/sub/shop.git', 'group/sub/shop', 'gitlab'],
    ['https://git.example.org/home/ada/src/shop', 'src/shop', 'git'],
    ['file:///srv/git/shop.git', 'shop', 'git'],
    ['/srv/git/shop.git', 'shop', 'git'],
    ['../shop', 'shop', 'git'],
    ['C:\\src\\shop', 'shop', 'git']
  ])('%s', (url, name, platform) => {
    expect(identifyRemote(url)).toEqual({ name, platform })
  })

  test('come from the remote, whose password stays out', async () => {
    repository.commit('one')
    repository.git('remote', 'add', 'backup', 'https://git.example.org/x/backup')
    repository.git('remote', 'add', 'origin', 'https://ada:hunter22@github.com/acme/shop.git')
    expect(await repositoryName(repository.path)).toBe('acme/shop')
    const [event] = await eventsOf(repository)
    expect(event?.tags).toMatchObject({ repo: 'acme/shop', platform: 'github' })
    expect(JSON.stringify(event)).not.toContain('hunter22')
  })
})

describe('refused', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'tamma-no-git-'))
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  test('what is no repository', async () => {
    writeFileSync(join(folder, 'file'), '')
    for (const [path, message] of [
      [folder, /is not in a git repository/],
      [join(folder, 'nowhere'), /there is no folder/],
      [join(folder, 'file'), /is not a folder/],
      ['', /must be text/],
      [undefined as unknown as string, /must be text/]
    ] as const) {
      await expect(read(path)).rejects.toMatchObject({
        code: 'INVALID_EVENT',
        path: 'path',
        message: expect.stringMatching(message)
      })
    }
  })

  test('a machine without git', async () => {
    const { PATH } = process.env
    process.env.PATH = folder
    try {
      await expect(read(repository.path)).rejects.toMatchObject({
        code: 'UNSUPPORTED',
        message: expect.stringMatching(/git was not found/)
      })
    } finally {
      process.env.PATH = PATH
    }
  })

  test('a history with a hole', async () => {
    repository.commit('one', { a: 'x' })
    repository.commit('two', { a: 'y' })
    const lost = repository.git('rev-parse', 'HEAD~1')
    rmSync(join(repository.path, '.git/objects', lost.slice(0, 2), lost.slice(2)))
    await expect(read(repository.path)).rejects.toMatchObject({
      code: 'INVALID_EVENT',
      message: expect.stringMatching(/^git [a-z-]+ failed: /)
    })
  })
})

describe('stops', () => {
  const many = (count: number) =>
    Buffer.from(
      Array.from(
        { length: count },
        (_, n) => `commit refs/heads/main\ncommitter A <a@b> ${1e9 + n} +0000\ndata 1\nx\n`
      ).join('')
    )

  test('at a signal, before and during', async () => {
    repository.run(['fast-import', '--quiet'], {}, many(5000))
    const reason = new Error('enough')
    const aborted = { code: 'QUERY_CANCELLED', name: 'AbortError', cause: reason }
    await expect(read(repository.path, { signal: AbortSignal.abort(reason) })).rejects.toMatchObject(aborted)
    const controller = new AbortController()
    let seen = 0
    const reading = (async () => {
      for await (const _ of gitEvents(repository.path, { signal: controller.signal })) {
        if (++seen === 10) controller.abort(reason)
      }
    })()
    await expect(reading).rejects.toMatchObject(aborted)
    expect(seen).toBeLessThan(5000)
  })

  test('git itself when the reader leaves early', async () => {
    repository.run(['fast-import', '--quiet'], {}, many(20_000))
    // A git that records its process id, so that it can be looked for afterwards.
    const bin = mkdtempSync(join(tmpdir(), 'tamma-bin-'))
    const { PATH } = process.env
    const real = PATH?.split(':')
      .map(folder => join(folder, 'git'))
      .find(path => spawnable(path))
    symlinkSync(real as string, join(bin, 'real-git'))
    writeFileSync(join(bin, 'git'), `#!/bin/sh\necho $$ >> ${bin}/pids\nexec ${bin}/real-git "$@"\n`, { mode: 0o755 })
    process.env.PATH = `${bin}:${PATH}`
    try {
      for await (const _ of gitEvents(repository.path, { onProgress: () => {} })) break
      const pids = readFileSync(join(bin, 'pids'), 'utf8').trim().split('\n').map(Number)
      expect(pids.length).toBeGreaterThan(3)
      for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow(/ESRCH/)
    } finally {
      process.env.PATH = PATH
      rmSync(bin, { recursive: true, force: true })
    }
  })
})

test('progress counts commits and ends at their number', async () => {
  for (let n = 0; n < 3; n++) repository.commit(`${n}`)
  const seen: { done: number; total: number | null; unit: string; phase: string }[] = []
  await read(repository.path, { onProgress: (progress: (typeof seen)[number]) => seen.push(progress) })
  expect(seen.at(-1)).toMatchObject({ done: 3, total: 3, unit: 'commits', phase: 'read' })
})

function spawnable(path: string) {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
