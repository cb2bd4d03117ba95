// What each kind of commit becomes.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { eventsOf, ofType, START, TestRepository } from './git-repository'

let repository: TestRepository
beforeEach(() => {
  repository = new TestRepository()
})
afterEach(() => repository.remove())

const types = async () => (await eventsOf(repository)).map(({ type }) => type)

describe('a commit', () => {
  test('counts lines, files and languages, and says who as a hash', async () => {
    const hash = repository.commit('feat(api)!: first', { 'src/a.ts': '1\n2\n', 'src/b.rs': 'x\n', 'README.md': 'x\n' })
    const [event, ...more] = await eventsOf(repository)
    expect(more).toEqual([])
    expect(event).toMatchObject({
      type: 'CODE.COMMITTED.SUCCESS',
      timestamp: new Date((START + 60) * 1000).toISOString(),
      tags: {
        repo: 'shop',
        area: 'src',
        actorType: 'human',
        platform: 'git',
        userId: expect.stringMatching(/^[0-9a-f]{12}$/)
      },
      metadata: { source: 'git', commit: hash, correlationId: `shop@${hash.slice(0, 12)}` },
      data: {
        insertions: 4,
        deletions: 0,
        files: 3,
        added: 3,
        areas: 2,
        docFiles: 1,
        languages: { markdown: 1, rust: 1, typescript: 1 },
        changeType: 'feat',
        breaking: true,
        isMerge: false,
        parents: 0,
        subjectLength: 17
      }
    })
    expect(event?.data).not.toHaveProperty('subject')
  })

  test('has its subject when asked for, cut between characters', async () => {
    repository.commit(`${'a'.repeat(199)}😀 end\n\nbody`, { a: 'x' })
    const [event] = await eventsOf(repository, { subjects: true })
    expect(event?.data.subject).toBe(`${'a'.repeat(199)}😀`)
  })

  test('that renames and deletes', async () => {
    const text = Array.from({ length: 50 }, (_, line) => `line ${line}\n`).join('')
    repository.commit('one', { 'lib/old name.js': text, 'gone.js': 'x\n' })
    repository.git('mv', 'lib/old name.js', 'lib/new\tname.js')
    repository.git('rm', '--quiet', 'gone.js')
    repository.commit('two')
    const [, event] = await eventsOf(repository)
    expect(event?.data).toMatchObject({ files: 2, renamed: 1, deleted: 1, added: 0, insertions: 0, deletions: 1 })
    expect(event?.data.languages).toEqual({ javascript: 2 })
  })

  test('of binary files, and names with every odd byte', async () => {
    repository.commit('bytes', {
      'bin/\x01commit\nname': Buffer.from([0, 1, 2, 0]),
      'bin/:100644 100644 a b M': 'x\n',
      'bin/1\t2\tx': 'x\ny\n',
      'bin/"quoted" ü\\.png': Buffer.from([0, 255])
    })
    const [event, ...more] = await eventsOf(repository)
    expect(more).toEqual([])
    expect(event?.data).toMatchObject({ files: 4, binaryFiles: 2, insertions: 3, languages: { image: 1, other: 3 } })
    expect(event?.tags.area).toBe('bin')
  })

  test('without changes, or without a message', async () => {
    repository.commit('nothing')
    repository.git('commit', '--quiet', '--allow-empty', '--allow-empty-message', '--message', '')
    const events = await eventsOf(repository)
    expect(events).toHaveLength(2)
    expect(events[0]?.data).toMatchObject({ files: 0, insertions: 0, languages: {} })
    expect(events[0]?.tags).not.toHaveProperty('area')
    expect(events[1]?.data).toMatchObject({ subjectLength: 0, bodyLength: 0 })
  })

  test('with an author and a message that are not UTF-8, and times out of range', async () => {
    const person = (seconds: string) => `J\xf6rg <j\xf6rg@example.org> ${seconds} +0000`
    const message = Buffer.from('Gr\xfc\xdfe\n\n\xff\xfe body\n', 'latin1')
    repository.rawCommit([`author ${person('0')}`, `committer ${person('1700000000')}`], message)
    repository.rawCommit([`author ${person('1700000000')}`, `committer ${person('99999999999999')}`], message)
    const events = await eventsOf(repository, { subjects: true })
    expect(events.map(({ timestamp }) => timestamp)).toEqual(['2023-11-14T22:13:20.000Z', '9999-12-31T23:59:59.000Z'])
    expect(events[0]?.data.subject).toBe('Gr\ufffd\ufffde')
    // Hashed by bytes: two names that differ in what is not UTF-8 stay two people.
    repository.rawCommit([`author J\xf6rg <j\xe4rg@example.org> 1 +0000`, `committer ${person('1700000001')}`], message)
    const ids = new Set((await eventsOf(repository)).map(({ tags }) => tags.userId))
    expect(ids.size).toBe(2)
  })

  test('with a message of megabytes keeps only its start', async () => {
    const message = Buffer.concat([Buffer.from('big\n\n'), Buffer.alloc(5_000_000, 'x '), Buffer.from('\nFixes #7\n')])
    const person = 'A <a@example.org> 1700000000 +0000'
    repository.rawCommit([`author ${person}`, `committer ${person}`], message)
    const events = await eventsOf(repository)
    expect(events).toHaveLength(1)
    expect(events[0]?.data.bodyLength).toBeGreaterThan(5_000_000)
  })
})

describe('authors', () => {
  test('are one person whatever the case, and other people elsewhere', async () => {
    repository.commit('one', {}, { email: 'ada@example.org' })
    repository.commit('two', {}, { email: 'Ada@Example.org', name: 'Ada L' })
    repository.commit('three', {}, { email: 'bob@example.org' })
    const users = (await eventsOf(repository)).map(({ tags }) => tags.userId)
    expect(users[0]).toBe(users[1])
    expect(users[0]).not.toBe(users[2])
    const other = new TestRepository('another')
    try {
      other.commit('one', {}, { email: 'ada@example.org' })
      expect((await eventsOf(other))[0]?.tags.userId).not.toBe(users[0])
    } finally {
      other.remove()
    }
  })

  test.each([
    ['dependabot[bot]', '49699333+dependabot[bot]@users.noreply.github.com', '', 'bot', 'dependabot'],
    ['renovate[bot]', 'bot@renovateapp.com', '', 'bot', 'renovate'],
    ['deploy-bot', 'deploy@x.test', '', 'bot', 'other-bot'],
    ['copilot-swe-agent[bot]', '1+Copilot@users.noreply.github.com', '', 'agent', 'github-copilot'],
    ['Ada', 'ada@example.org', 'Co-authored-by: Claude <noreply@anthropic.com>', 'agent-assisted', 'anthropic'],
    ['Abbot', 'abbot@x.test', 'Co-authored-by: Eve <eve@x.test>', 'human', undefined]
  ])('%s is told from %s', async (name, email, trailer, actorType, provider) => {
    repository.commit(`work\n\n${trailer}`, {}, { name, email })
    const [event] = await eventsOf(repository)
    expect(event?.tags.actorType).toBe(actorType)
    expect(event?.tags.provider).toBe(provider)
    expect(event?.data.coAuthors).toBe(trailer ? 1 : 0)
  })
})

describe('merges', () => {
  beforeEach(() => {
    repository.commit('base', { a: 'x' })
    repository.git('switch', '--quiet', '--create', 'feature/cart')
    repository.commit('work', { b: 'x' })
    repository.git('switch', '--quiet', 'main')
  })

  test('of a pull request', async () => {
    const hash = repository.merge('feature/cart', 'Merge pull request #12 from ada/feature/cart', 'Add the cart')
    const events = await eventsOf(repository)
    const [merge] = ofType(events, 'PR.MERGED.SUCCESS')
    expect(merge).toMatchObject({
      tags: { prId: '12', branch: 'feature/cart' },
      metadata: { commit: hash, correlationId: 'shop#12' },
      data: { mergeMethod: 'merge' }
    })
    const commit = events.find(({ id }) => id === merge?.metadata.causationId)
    expect(commit).toMatchObject({ type: 'CODE.COMMITTED.SUCCESS', data: { isMerge: true, parents: 2, files: 0 } })
    expect(events.at(-1)).toBe(merge)
  })

  test.each([
    ["Merge branch 'feature/cart' into 'main'", 'See merge request acme/shop!34', '34', 'feature/cart'],
    ['Merged in feature/cart (pull request #56)', '', '56', 'feature/cart'],
    ["Merge branch 'feature/cart'", '', undefined, 'feature/cart'],
    ['Add the cart (#78)', '', '78', undefined],
    ['Bring it in', '', undefined, undefined]
  ])('%s', async (subject, body, prId, branch) => {
    repository.merge('feature/cart', subject, ...(body ? [body] : []))
    const [merge] = ofType(await eventsOf(repository), 'PR.MERGED.SUCCESS')
    expect(merge?.tags.prId).toBe(prId)
    expect(merge?.tags.branch).toBe(branch)
  })

  test('that bring a branch up to date are no pull requests', async () => {
    repository.commit('meanwhile', { c: 'x' })
    repository.git('switch', '--quiet', 'feature/cart')
    repository.merge('main', "Merge branch 'main' into feature/cart")
    const events = await eventsOf(repository)
    expect(ofType(events, 'PR.MERGED.SUCCESS')).toEqual([])
    expect(ofType(events, 'BRANCH.SYNCED.SUCCESS')).toMatchObject([
      { tags: { branch: 'feature/cart' }, data: { parents: 2 } }
    ])
  })
})

describe('messages', () => {
  test('a squash merge with what it closes', async () => {
    repository.commit('Add the cart (#12)\n\nCloses #7, fixes #8.\nSee #9, and fixes other/repo#10', {
      'src/a.ts': 'x\n'
    })
    const events = await eventsOf(repository)
    expect(events.map(({ type }) => type)).toEqual([
      'CODE.COMMITTED.SUCCESS',
      'ISSUE.CLOSED.SUCCESS',
      'ISSUE.CLOSED.SUCCESS',
      'PR.MERGED.SUCCESS'
    ])
    for (const event of events)
      expect(event).toMatchObject({ tags: { prId: '12' }, metadata: { correlationId: 'shop#12' } })
    expect(ofType(events, 'ISSUE.CLOSED.SUCCESS').map(({ tags }) => tags.issueId)).toEqual(['7', '8'])
    expect(events.at(-1)?.data).toMatchObject({ mergeMethod: 'squash_or_rebase', insertions: 1, files: 1 })
  })

  test('a revert, and a revert by pull request', async () => {
    const hash = repository.commit('Add it (#3)', { a: 'x\n' })
    repository.git('revert', '--no-edit', hash)
    repository.now += 60
    repository.commit(`Revert "Add it (#3)" (#4)\n\nThis reverts commit ${hash}.`)
    const reverts = ofType(await eventsOf(repository), 'CODE.REVERTED.SUCCESS')
    expect(reverts).toMatchObject([
      { data: { revertedSha: hash.slice(0, 12), deletions: 1 } },
      { tags: { prId: '4' }, data: { revertedSha: hash.slice(0, 12) } }
    ])
    // The subject of the first ends in '(#3)"', which merges nothing.
    expect(reverts[0]?.tags).not.toHaveProperty('prId')
  })

  test('a backport, a bump and a change of the pipeline', async () => {
    const hash = repository.commit('fix: it (#5)', { a: 'x' })
    repository.commit(`fix: it (#5)\n\n(cherry picked from commit ${hash})`, { a: 'y' })
    repository.commit('build(deps): bump lodash from 4.17.11 to 4.17.15', { 'package.json': '{}' })
    repository.commit('Update dependency vite to v5.0.1', { 'package-lock.json': '{}' })
    repository.commit('ci: more', { '.github/workflows/ci.yml': 'x' })
    const events = await eventsOf(repository)
    expect(ofType(events, 'PR.MERGED.SUCCESS')).toHaveLength(1)
    expect(ofType(events, 'PR.BACKPORTED.SUCCESS')).toMatchObject([
      { tags: { prId: '5' }, data: { pickedSha: hash.slice(0, 12) } }
    ])
    expect(ofType(events, 'DEPENDENCY.BUMPED.SUCCESS').map(({ data }) => data)).toMatchObject([
      { dependency: 'lodash', fromVersion: '4.17.11', toVersion: '4.17.15' },
      { dependency: 'vite', toVersion: 'v5.0.1' }
    ])
    expect(ofType(events, 'CI.CONFIG.CHANGED')).toMatchObject([{ data: { ciFiles: 1 } }])
  })
})

describe('tags', () => {
  test('light and annotated, on one commit', async () => {
    const hash = repository.commit('release', { a: 'x' })
    repository.git('tag', 'nightly')
    repository.run(['tag', '--annotate', '--message', 'x', 'core@2.0.0-rc.1'], {
      at: START + 3600,
      email: 'bob@example.org'
    })
    repository.run(['tag', '--annotate', '--message', 'x', 'v1.2.3'], { at: START })
    const events = await eventsOf(repository)
    const byName = new Map(ofType(events, 'RELEASE.TAGGED.SUCCESS').map(event => [event.data.tag, event]))
    expect(byName.get('nightly')).toMatchObject({ data: { annotated: false, prerelease: false, commitAgeSeconds: 0 } })
    expect(byName.get('nightly')?.tags).not.toHaveProperty('version')
    expect(byName.get('core@2.0.0-rc.1')).toMatchObject({
      timestamp: new Date((START + 3600) * 1000).toISOString(),
      tags: { version: '2.0.0-rc.1', package: 'core' },
      metadata: { commit: hash },
      data: { annotated: true, prerelease: true, commitAgeSeconds: 3540 }
    })
    expect(byName.get('core@2.0.0-rc.1')?.tags.userId).not.toBe(events[0]?.tags.userId)
    // A tagger's clock that runs behind can't put the release before its commit.
    expect(byName.get('v1.2.3')).toMatchObject({ timestamp: events[0]?.timestamp, tags: { version: '1.2.3' } })
    expect(events.filter(({ timestamp }) => timestamp === events[0]?.timestamp).sort(byId)[0]).toBe(events[0])
  })

  test('of tags, blobs and trees', async () => {
    repository.commit('release', { a: 'x' })
    repository.git('tag', '--annotate', '--message', 'x', 'v1.0.0')
    repository.git('tag', '--annotate', '--message', 'x', 'stable', 'v1.0.0')
    repository.git('tag', 'blob', 'HEAD:a')
    repository.git('tag', '--annotate', '--message', 'x', 'tree', 'HEAD^{tree}')
    repository.git('tag', '--annotate', '--message', 'x', 'tag-of-tree', 'tree')
    expect(
      ofType(await eventsOf(repository), 'RELEASE.TAGGED.SUCCESS')
        .map(({ data }) => data.tag)
        .sort()
    ).toEqual(['stable', 'v1.0.0'])
  })

  test('on a commit that no branch has', async () => {
    repository.commit('one', { a: 'x' })
    repository.commit('two', { a: 'y' })
    repository.git('tag', 'v2.0.0')
    repository.git('reset', '--quiet', '--hard', 'HEAD~1')
    expect(await types()).toEqual(['CODE.COMMITTED.SUCCESS', 'CODE.COMMITTED.SUCCESS', 'RELEASE.TAGGED.SUCCESS'])
  })
})

const byId = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : 1)
