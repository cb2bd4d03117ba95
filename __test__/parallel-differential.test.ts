// Random grouped queries, by one statement and by slices: the same answer to the last digit.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventQuery, EventsClient } from '../index.js'
import { shown } from './reference/check'
import { again, each, LIMIT, seedOf } from './reference/fuzz'
import { Generator } from './reference/generate'
import { groupedQuery, spreadEvents } from './reference/generate-groups'
import { Random } from './reference/random'
import { ODD_SETTINGS, Subject } from './reference/subject'

const SEED = seedOf(20_261_125)
const EVENTS = 400
const WIDTH = 2

describe.each([
  { name: 'usual settings', options: {}, queries: 500 },
  { name: 'odd settings', options: ODD_SETTINGS, queries: 150 }
])('over a database with $name', ({ options, queries }) => {
  let subject: Subject
  beforeAll(async () => {
    subject = await Subject.of(spreadEvents(new Random(SEED), EVENTS), options)
  })
  afterAll(() => subject?.drop())

  it('answers by slices as by one statement', { timeout: LIMIT }, async () => {
    const how = new Map<string, number>()
    await each(SEED, queries, 0.5, WIDTH, async number => {
      const random = new Random(number)
      const query = groupedQuery(random, new Generator(random, subject.events))
      const workers = 2 + random.int(3)
      const outcome = await compared(subject, query, workers).catch(error => {
        throw new Error(`${again(SEED, number)}: ${shown(query)}\n${error}`)
      })
      how.set(outcome, (how.get(outcome) ?? 0) + 1)
    })
    const ways = [...how.keys()].join('\n')
    for (const way of [
      'slices by the pages',
      'slices by timestamp',
      'slices by bucket',
      'slices by the hash of the group',
      'does not come'
    ])
      expect(ways).toContain(way)
    // Most are really cut.
    const cut = [...how].reduce((sum, [way, count]) => sum + (way.includes(' by ') ? count : 0), 0)
    const all = [...how.values()].reduce((sum, count) => sum + count, 0)
    expect(cut / all).toBeGreaterThan(0.5)
  })
})

/** How the query was answered; throws where the answers differ. */
async function compared({ client }: Subject, query: EventQuery, workers: number): Promise<string> {
  const run = async (hints: EventQuery['hints']) => {
    try {
      const { rows, nextCursor, hints: told } = await client.optimizer.executeQuery({ ...query, hints })
      return { rows: rows.map(shown), nextCursor, told }
    } catch (error) {
      return { error: String(error) }
    }
  }
  const [single, sliced] = [await run({ parallel: false }), await run({ parallel: true, workers })]
  expect(sliced.error).toBe(single.error)
  await sameCursor(client, query, single.nextCursor, sliced.nextCursor)
  const total = query.limit !== undefined || query.offset !== undefined || (query.timeBucket && !query.orderBy)
  const comparable = (rows: string[] = []) => (total ? rows : [...rows].sort())
  const [expected, got] = [comparable(single.rows), comparable(sliced.rows)]
  const odd = got.findIndex((row, i) => row !== expected[i])
  if (odd >= 0 || got.length !== expected.length) throw new Error(`row ${odd}: ${got[odd]}, not ${expected[odd]}`)
  const [outcome] = sliced.told ?? []
  return outcome?.how ?? outcome?.reason ?? 'failed'
}

/**
 * Cursors lead to the same rows. Their text may differ: of numbers that are equal, such as 1 and 1.0, a group has
 * either.
 */
async function sameCursor(client: EventsClient, query: EventQuery, single?: string, sliced?: string) {
  expect(sliced === undefined).toBe(single === undefined)
  if (single === undefined || single === sliced) return
  const { offset: _, ...rest } = query
  const behind = async (after?: string) => (await client.optimizer.executeQuery({ ...rest, after })).rows.map(shown)
  expect(await behind(sliced)).toEqual(await behind(single))
}
