// Random queries, answered by the database and by the reference evaluator over the same events.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventQuery } from '../index.js'
import { checkMerged, checkPartition, checkQuery, shown } from './reference/check'
import { evaluate } from './reference/evaluate'
import { again, each, LIMIT, seedOf } from './reference/fuzz'
import { Generator } from './reference/generate'
import { Random } from './reference/random'
import { shrink, smallerConditions } from './reference/shrink'
import { ENGLISH, ODD_SETTINGS, Subject } from './reference/subject'

const SEED = seedOf(20_260_101)
const EVENTS = 500
/** Queries at a time. */
const WIDTH = 4

describe.each([
  { collation: 'C', options: {}, queries: 2000 },
  { collation: 'English', options: ENGLISH, queries: 600 },
  { collation: 'C, and odd settings', options: ODD_SETTINGS, queries: 200 }
])('over a database with collation $collation', ({ options, queries }) => {
  let subject: Subject
  beforeAll(async () => {
    subject = await Subject.random(SEED, EVENTS, options)
  })
  afterAll(() => subject?.drop())

  type Check = (random: Random, generator: Generator) => Promise<string | undefined>
  /** Says of each failure all it takes to see it again. */
  const checkEach = (first: number, count: number, check: Check) =>
    each(SEED + first, count, 0.75 / 9, WIDTH, async query => {
      const random = new Random(query)
      const wrong = await check(random, new Generator(random, subject.events))
      if (wrong) throw new Error(`${again(SEED, query)}: ${wrong}`)
    })

  async function checkQueries() {
    const counts = { asked: 0, answered: 0 }
    await checkEach(0, queries, async (random, generator) => {
      const query = generator.query()
      counts.asked++
      if (evaluate(query, subject.events, subject.locale).length > 0) counts.answered++
      const wrong = await outcome(() => checkQuery(subject, query, random))
      return wrong && `${shown(await smallest(query))}\n${wrong}\nfrom ${shown(query)}`
    })
    return counts
  }

  const smallest = (query: EventQuery) =>
    shrink(query, async smaller => (await outcome(() => checkQuery(subject, smaller, new Random(1)))) !== undefined)

  async function checkPartitions() {
    await checkEach(1_000_000, queries / 2, async (random, generator) => {
      const condition = generator.condition(random.int(4))
      const check = (part: typeof condition) => outcome(() => checkPartition(subject, part))
      const wrong = await check(condition)
      if (!wrong) return undefined
      for (const smaller of smallerConditions(condition)) {
        const still = await check(smaller)
        if (still) return `${shown(smaller)}\n${still}`
      }
      return `${shown(condition)}\n${wrong}`
    })
  }

  async function checkConjunctions() {
    await checkEach(2_000_000, queries / 4, async (random, generator) => {
      const filters = random.list(2, 3, () => (random.chance(0.8) ? generator.filter() : generator.condition(1)))
      const wrong = await outcome(() => checkMerged(subject, filters))
      return wrong && `${shown(filters)}\n${wrong}`
    })
  }

  it('answers as the reference does', { timeout: LIMIT }, async () => {
    const { asked, answered } = await checkQueries()
    // Queries that find nothing compare nothing.
    if (asked > 100) expect(answered / asked).toBeGreaterThan(0.4)
  })

  it(
    'divides the events into those for which a condition holds, fails, and is unknown',
    { timeout: LIMIT },
    checkPartitions
  )

  it('takes several filters for their conjunction', { timeout: LIMIT }, checkConjunctions)
})

/** What is wrong; an error is. */
async function outcome(check: () => Promise<string | undefined>): Promise<string | undefined> {
  try {
    return await check()
  } catch (error) {
    return String(error)
  }
}
