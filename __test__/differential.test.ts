// Random queries, answered by the database and by the reference evaluator over the same events.
//
//   TAMMA_SEED=<n>          another seed than the usual one
//   TAMMA_FUZZ_MINUTES=<n>  goes on for so long, with a new seed for each round (scripts/fuzz.mjs)
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventQuery } from '../index.js'
import { checkMerged, checkPartition, checkQuery, shown } from './reference/check'
import { evaluate } from './reference/evaluate'
import { Generator } from './reference/generate'
import { Random, seedOf } from './reference/random'
import { shrink, smallerConditions } from './reference/shrink'
import { ENGLISH, ODD_SETTINGS, Subject } from './reference/subject'

const minutes = Number(process.env.TAMMA_FUZZ_MINUTES ?? 0)
const SEED = seedOf(minutes > 0 ? Date.now() % 2 ** 32 : 20_260_101)
const EVENTS = 500
const ROUND = 200
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

  /** Runs `check` in rounds, each with a seed of its own, and reports the first failure with all it takes to repeat it. */
  async function rounds(
    count: number,
    salt: number,
    check: (random: Random, generator: Generator) => Promise<string | undefined>
  ) {
    const deadline = performance.now() + (minutes * 60_000) / 9
    const more = (round: number) => (minutes > 0 ? performance.now() < deadline : round * ROUND < count)
    for (let round = 0; more(round); round++) {
      const seeds = Array.from({ length: Math.min(ROUND, count) }, (_, i) => SEED + salt + round * ROUND + i)
      const lane = async () => {
        for (let seed = seeds.pop(); seed !== undefined; seed = seeds.pop()) {
          const random = new Random(seed)
          const wrong = await check(random, new Generator(random, subject.events))
          if (wrong) throw new Error(`TAMMA_SEED=${SEED}: ${wrong}`)
        }
      }
      await Promise.all(Array.from({ length: WIDTH }, lane))
    }
  }

  it(
    `answers ${queries} random queries as the reference does`,
    async () => {
      let answered = 0
      let asked = 0
      await rounds(queries, 0, async (random, generator) => {
        const query = generator.query()
        asked++
        if (evaluate(query, subject.events, subject.locale).length > 0) answered++
        const wrong = await outcome(() => checkQuery(subject, query, random))
        return wrong && `${shown(await smallest(query))}\n${wrong}\nfrom ${shown(query)}`
      })
      // Queries that find nothing compare nothing.
      expect(answered / asked).toBeGreaterThan(0.4)
    },
    minutes * 60_000 + 120_000
  )

  it(
    'divides the events into those for which a condition holds, fails, and is unknown',
    async () => {
      await rounds(queries / 2, 1_000_000, async (random, generator) => {
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
    },
    minutes * 60_000 + 120_000
  )

  it(
    'takes several filters for their conjunction',
    async () => {
      await rounds(queries / 4, 2_000_000, async (random, generator) => {
        const filters = random.list(2, 3, () => (random.chance(0.8) ? generator.filter() : generator.condition(1)))
        const wrong = await outcome(() => checkMerged(subject, filters))
        return wrong && `${shown(filters)}\n${wrong}`
      })
    },
    minutes * 60_000 + 120_000
  )

  const smallest = (query: EventQuery) =>
    shrink(query, async smaller => (await outcome(() => checkQuery(subject, smaller, new Random(1)))) !== undefined)
})

/** What is wrong; an error is. */
async function outcome(check: () => Promise<string | undefined>): Promise<string | undefined> {
  try {
    return await check()
  } catch (error) {
    return String(error)
  }
}
