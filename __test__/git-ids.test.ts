// The same history always gives the same ids, and ids keep its order.
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { DomainEvent } from '../index'
import { eventsOf, START, TestRepository } from './git-repository'

let repository: TestRepository
beforeEach(() => {
  repository = new TestRepository()
})
afterEach(() => repository.remove())

const ids = async (from: TestRepository | string = repository) => (await eventsOf(from)).map(({ id }) => id)
const sorted = (events: readonly DomainEvent[]) =>
  [...events].sort((a, b) =>
    a.timestamp === b.timestamp ? (a.id < b.id ? -1 : 1) : a.timestamp < b.timestamp ? -1 : 1
  )

test('commits of one second stay behind their parents', async () => {
  const hashes = Array.from({ length: 40 }, (_, n) =>
    repository.commit(`commit ${n} (#${n})`, { a: `${n}` }, { at: START })
  )
  const events = sorted(await eventsOf(repository))
  expect(events.map(({ metadata }) => metadata.commit)).toEqual(hashes.flatMap(hash => [hash, hash]))
  expect(events.map(({ type }) => type.split('.')[0])).toEqual(hashes.flatMap(() => ['CODE', 'PR']))
})

test('a line of parents longer than the id can number still gives ids, all different', async () => {
  const stream = Array.from(
    { length: 600 },
    (_, n) => `commit refs/heads/main\ncommitter Bo <bo@example.org> ${START} +0000\ndata 1\n${n % 10}\n`
  )
  repository.run(['fast-import', '--quiet'], {}, Buffer.from(stream.join('')))
  const order = new Map((await eventsOf(repository)).map(({ id }, at) => [id, at]))
  const first = [...order.keys()].sort().slice(0, 511)
  expect(first.map(id => order.get(id))).toEqual(Array.from({ length: 511 }, (_, n) => n))
})

test('are the same from a second import, another clone, a bare one and under other settings', async () => {
  repository.commit('one', { a: 'x' })
  repository.git('switch', '--quiet', '--create', 'topic')
  repository.commit('two (#2)', { b: 'x' })
  repository.git('switch', '--quiet', 'main')
  repository.merge('topic', 'Merge pull request #9 from x/topic')
  repository.git('tag', '--annotate', '--message', 'x', 'v1.0.0')
  const expected = await ids()
  expect(await ids()).toEqual(expected)

  const clone = `${repository.path}/../elsewhere`
  repository.git('clone', '--quiet', '.', clone)
  expect(await ids(clone)).toEqual(expected)
  repository.git('clone', '--quiet', '--mirror', '.', `${repository.path}/../mirror.git`)
  repository.git('-C', '../mirror.git', 'remote', 'set-url', 'origin', 'file:///srv/shop.git')
  expect(await ids(`${repository.path}/../mirror.git`)).toEqual(expected)

  for (const [key, value] of [
    ['log.showRoot', 'false'],
    ['log.showSignature', 'true'],
    ['log.decorate', 'full'],
    ['diff.renames', 'false'],
    ['diff.noprefix', 'true'],
    ['diff.external', 'false'],
    ['diff.ignoreSubmodules', 'all'],
    ['color.ui', 'always'],
    ['core.pager', 'false'],
    ['format.pretty', 'oneline'],
    ['i18n.logOutputEncoding', 'UTF-16'],
    ['notes.displayRef', '*']
  ] as const) {
    repository.git('config', key, value)
  }
  const events = await eventsOf(repository)
  expect(events.map(({ id }) => id)).toEqual(expected)
  expect(events[0]?.data).toMatchObject({ files: 1, insertions: 1 })
})

test('stay when history grows, also by a branch of the same second', async () => {
  repository.commit('base', { a: 'x' }, { at: START })
  repository.commit('one', { a: 'y' }, { at: START })
  const before = await ids()
  repository.git('switch', '--quiet', '--create', 'other', 'HEAD~1')
  for (let n = 0; n < 5; n++) repository.commit(`other ${n}`, { b: `${n}` }, { at: START })
  repository.git('switch', '--quiet', 'main')
  repository.merge('other')
  const after = await ids()
  expect(after).toHaveLength(before.length + 7)
  for (const id of before) expect(after).toContain(id)
})

test('of a tag that is moved are another event', async () => {
  repository.commit('one')
  repository.git('tag', 'nightly')
  const [, before] = await ids()
  repository.commit('two')
  repository.git('tag', '--force', 'nightly')
  expect(await ids()).not.toContain(before)
})

test('an event comes after the one it follows from', async () => {
  repository.commit('Add (#1)\n\nFixes #2\n\nThis reverts commit 0123456789abcdef0123456789abcdef01234567.', {
    '.ci/run': 'x'
  })
  repository.git('tag', 'v1.0.0')
  const events = await eventsOf(repository)
  expect(sorted(events)).toEqual(events)
  expect(events).toHaveLength(6)
  for (const event of events.slice(1)) expect(event.metadata.causationId).toBe(events[0]?.id)
})
