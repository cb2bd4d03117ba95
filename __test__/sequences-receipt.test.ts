// Sequences over a real log, against what PM4Py and plain Python found in it.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventSequence, EventsClient, SequenceStep } from '../index.js'
import { TestDatabase } from './support/database'

const folder = process.env.TAMMA_SHARED_DATA ?? ''
const file = join(folder, 'receipt.ndjson.gz')

interface Cases {
  count: number
  sha256: string
}
interface Oracle {
  eventuallyFollows: { from: string; to: string; eventPairs: number; cases: number }[]
  patterns: {
    A: string
    B: string
    aEventuallyB: Cases
    aNeverFollowedByB: Cases
    someAUnanswered: Cases
    bWithoutEarlierA: Cases
    aDirectlyFollowedByB: Cases
    aThenBWithinSeconds: Record<string, Cases>
  }[]
}

describe.skipIf(folder === '' || !existsSync(file))('the receipt log', () => {
  const oracle: Oracle =
    folder === ''
      ? { eventuallyFollows: [], patterns: [] }
      : JSON.parse(readFileSync(join(folder, 'receipt.oracle.json'), 'utf8'))
  let database: TestDatabase
  let client: EventsClient
  beforeAll(async () => {
    database = await TestDatabase.create()
    client = await database.connect()
    await client.importEvents(file)
  })
  afterAll(() => database?.drop())

  const is = (type: string, more: Partial<SequenceStep> = {}): SequenceStep => ({
    where: { field: 'type', op: 'eq', value: type },
    ...more
  })
  const matches = (steps: SequenceStep[], more: Partial<EventSequence> = {}) =>
    client.analytics.findSequences({ by: ['tags.caseId'], steps, ...more })

  /** The cases of matches, as the oracle keeps them. */
  const cases = (found: { key: object }[]): Cases => {
    const ids = [...new Set(found.map(m => Object.values(m.key)[0] as string))].sort()
    return { count: ids.length, sha256: createHash('sha256').update(ids.join('\n')).digest('hex') }
  }
  const told = ({ count, sha256 }: Cases) => ({ count, sha256 })

  it('has the pairs that eventually follow each other', async () => {
    // A third of them, from every activity; all of them take a while.
    const pairs = oracle.eventuallyFollows.filter((_, i) => i % 3 === 0)
    expect(pairs.length).toBeGreaterThan(100)
    const found = await Promise.all(
      pairs.map(async ({ from, to }) => {
        const all = await matches([is(from), is(to)], { match: 'all' })
        return { from, to, eventPairs: all.length, cases: cases(all).count }
      })
    )
    expect(found).toEqual(pairs)
  })

  it.each(oracle.patterns)('has the cases of $A and $B', async ({ A, B, ...expected }) => {
    expect(cases(await matches([is(A), is(B)]))).toEqual(told(expected.aEventuallyB))
    // The first A, and no B behind it.
    const never = await matches([is(A, { absent: true }), is(A), is(B, { absent: true })])
    expect(cases(never)).toEqual(told(expected.aNeverFollowedByB))
    // It could still come: the log's end is no end of a case.
    expect(never.every(m => m.open === true)).toBe(true)
    const unanswered = await matches([is(A), is(B, { absent: true })], { match: 'all' })
    expect(cases(unanswered)).toEqual(told(expected.someAUnanswered))
    const unasked = await matches([is(A, { absent: true }), is(B)], { match: 'all' })
    expect(cases(unasked)).toEqual(told(expected.bWithoutEarlierA))
    for (const [seconds, within] of Object.entries(expected.aThenBWithinSeconds)) {
      const found = await matches([is(A), is(B)], { match: 'all', maxSpan: Number(seconds) * 1000 })
      expect(cases(found)).toEqual(told(within))
    }
    const direct = await client.analytics.findPatterns({
      by: ['tags.caseId'],
      pattern: 'A B',
      define: { A: { eventTypes: [A] }, B: { eventTypes: [B] } },
      afterMatch: 'toNext'
    })
    expect(cases(direct)).toEqual(told(expected.aDirectlyFollowedByB))
  })
})
