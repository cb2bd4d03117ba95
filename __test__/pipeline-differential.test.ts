// Random pipelines, answered by the database and by a plain reference over the same events.
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { EventsClient, PipelineStage } from '../index.js'
import { C_LOCALE } from './reference/condition'
import type { StoredEvent } from './reference/field'
import { again, each, LIMIT, seedOf } from './reference/fuzz'
import { PipelineGenerator } from './reference/generate-pipelines'
import { PipelineReference, sameRows } from './reference/pipeline'
import { arranged, pipelineEvents, store } from './reference/pipeline-events'
import { Random } from './reference/random'
import { TestDatabase } from './support/database'

const SEED = seedOf(20_260_700)
const PIPELINES = 1200
let database: TestDatabase
let client: EventsClient
let events: StoredEvent[]

beforeAll(async () => {
  events = pipelineEvents(new Random(SEED))
  database = await TestDatabase.create()
  client = await database.connect()
  await store(database, events)
})
afterAll(() => database?.drop())

async function check(stages: PipelineStage[], random: Random): Promise<string | undefined> {
  const reference = new PipelineReference(events, C_LOCALE)
  const expected = reference.run(stages)
  const { rows } = await client.analytics.pipeline(stages)
  const say = (got: unknown[]) =>
    `${JSON.stringify(stages)}\ngot      ${JSON.stringify(got).slice(0, 1500)}\nexpected ${JSON.stringify(expected).slice(0, 1500)}`
  if (!sameRows(arranged(rows, reference.ordered), arranged(expected, reference.ordered))) return say(rows)
  if (!random.chance(0.2)) return undefined
  // The same behind a facet, wherever it begins.
  const at = random.int(stages.length)
  const [row] = (await client.analytics.pipeline([...stages.slice(0, at), { facet: { 'the rest': stages.slice(at) } }]))
    .rows
  const inside = row['the rest'] as unknown[]
  return sameRows(arranged(inside, reference.ordered), arranged(expected, reference.ordered))
    ? undefined
    : `facet at ${at}: ${say(inside)}`
}

it('answers as the reference does', { timeout: LIMIT }, async () => {
  let answered = 0
  let asked = 0
  await each(SEED, PIPELINES, 0.2, 4, async seed => {
    const random = new Random(seed)
    const stages = new PipelineGenerator(random).pipeline()
    asked++
    const wrong = await check(stages, random).catch(error => `${JSON.stringify(stages)}\n${String(error)}`)
    if (wrong !== undefined) throw new Error(`${again(SEED, seed)}: ${wrong}`)
    if (new PipelineReference(events, C_LOCALE).run(stages).length > 0) answered++
  })
  if (asked > 100) expect(answered / asked).toBeGreaterThan(0.5)
})
