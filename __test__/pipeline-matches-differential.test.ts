// Random pipelines around a sequence or a pattern: the matches of findSequences and findPatterns over the same events,
// and the stages behind them by the plain reference.
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { EventFilter, EventPattern, EventSequence, EventsClient, PipelineStage } from '../index.js'
import { C_LOCALE } from './reference/condition'
import { type FieldValue, micros, type StoredEvent } from './reference/field'
import { again, each, LIMIT, seedOf } from './reference/fuzz'
import { type Kind, PipelineGenerator } from './reference/generate-pipelines'
import { PipelineReference, sameRows } from './reference/pipeline'
import { arranged, pipelineEvents, store } from './reference/pipeline-events'
import { Random } from './reference/random'
import { TestDatabase } from './support/database'

const SEED = seedOf(20_261_100)
const PIPELINES = 250
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

type Match = Record<string, unknown> & { key: Record<string, unknown>; events: Record<string, never>[] }
/** What a stage behind the matches reads, how it compares, and the same of a match as it was found. */
type Read = readonly [path: string, kind: Kind, of: (match: Match) => unknown]

const COMMON: Read[] = [
  ['key["tags.k"]', 'json', match => match.key['tags.k']],
  ['durationMs', 'fuzzy', match => match.durationMs],
  ['events[0].type', 'json', match => match.events[0]?.type],
  ['events[1].data.n', 'json', match => (match.events[1]?.data as Record<string, unknown> | undefined)?.n],
  ['events[0].tags.k', 'json', match => (match.events[0]?.tags as Record<string, unknown> | undefined)?.k]
]
const OF_SEQUENCES: Read[] = [
  ...COMMON,
  ['startedAt', 'time', match => match.startedAt],
  ['endedAt', 'time', match => match.endedAt],
  ['steps.second[0].data.d', 'json', match => (match.steps as never as Stepped).second[0]?.data.d]
]
const OF_PATTERNS: Read[] = [
  ...COMMON,
  ['matchNumber', 'number', match => match.matchNumber],
  ['matched', 'json', match => match.matched],
  ['at.data.n', 'json', match => (match.at as { data: Record<string, unknown> }).data.n],
  ['classifiers[1]', 'json', match => (match.classifiers as string[])[1]],
  ['measures.most', 'json', match => (match.measures as { most: unknown }).most]
]
type Stepped = { second: { data: Record<string, unknown> }[] }

function sequence(random: Random): EventSequence {
  const by = random.pick([['tags.k'], ['tags.k'], []])
  return {
    steps: [
      { where: { eventTypes: ['A.*'] } },
      { as: 'second', where: { eventTypes: [random.pick(['B.X', 'A.Y'])] } },
      ...(random.chance(0.3) ? [{ where: { eventTypes: ['A.X'] }, absent: true }] : [])
    ],
    by,
    ...(random.chance(0.3) && { maxSpan: '5 minutes' as const }),
    match: random.pick(['latest', 'first', ...(by.length > 0 ? (['all'] as const) : [])])
  }
}

function pattern(random: Random): EventPattern {
  const text = random.pick(['A B+', 'A (B | C)', 'A B* C'])
  const types = { A: ['A.X'], B: ['A.*'], C: ['B.X'] }
  const used = Object.entries(types).filter(([variable]) => text.includes(variable))
  return {
    by: ['tags.k'],
    pattern: text,
    define: Object.fromEntries(used.map(([variable, eventTypes]) => [variable, { eventTypes }])),
    measures: { most: { agg: 'max', field: 'data.n' } },
    ...(random.chance(0.3) && { rows: random.pick(['all', 'allWithUnmatched'] as const) }),
    ...(random.chance(0.3) && { contiguity: 'relevant' as const })
  }
}

function cell(kind: Kind, value: unknown): FieldValue {
  if (kind === 'time') return { kind: 'time', value: micros(value as string) }
  // A number that is not there is missing; in JSON null is a value.
  return { kind: 'json', value: (kind === 'number' ? (value ?? undefined) : value) as never }
}

async function check(random: Random): Promise<{ stages: PipelineStage[]; wrong?: string; rows: number }> {
  const match = random.pick<EventFilter>([{}, { tags: { k: ['a', 'AB'] } }, { startTime: '2026-01-01T00:10:00Z' }])
  // Where the stages before it do more than match, the events that they leave are known by their ids.
  const before: PipelineStage[] = random.weighted<PipelineStage[]>([
    [3, () => []],
    [1, () => [{ limit: 60 }]],
    [1, () => [{ sort: [{ field: 'data.n' }] }, { offset: 15 }]],
    [
      1,
      () => [
        { window: { function: 'delta', field: 'data.n', as: 'change' } },
        { match: { field: 'change', op: 'gt', value: -15 } }
      ]
    ]
  ])
  const left = new PipelineReference(events, C_LOCALE).run([{ match }, ...before])
  const filter: EventFilter = before.length === 0 ? match : { eventIds: left.map(event => event.id as string) }
  const isSequence = random.chance(0.5)
  const stage = isSequence ? { sequence: sequence(random) } : { pattern: pattern(random) }
  const found = (isSequence
    ? await client.analytics.findSequences(stage.sequence as EventSequence, filter)
    : await client.analytics.findPatterns(stage.pattern as EventPattern, filter)) as never as Match[]

  const reads = random.some(isSequence ? OF_SEQUENCES : OF_PATTERNS, 2, 5)
  const project = Object.fromEntries(reads.map(([path], i) => [`c${i}`, path]))
  const columns = reads.map(([, kind], i) => [`c${i}`, kind] as const)
  const tail = PipelineGenerator.over(random, columns).pipeline()
  const stages = [{ match }, ...before, stage, { project }, ...tail] as PipelineStage[]
  const rows = found.map(
    match => new Map(reads.map(([, kind, of], i) => [`c${i}`, cell(kind, of(match))] as [string, FieldValue]))
  )
  const reference = PipelineReference.over(rows, C_LOCALE)
  const expected = reference.run(tail)
  const say = (got: unknown[], what: unknown = expected) =>
    `${JSON.stringify(stages)}\ngot      ${JSON.stringify(got).slice(0, 1500)}\nexpected ${JSON.stringify(what).slice(0, 1500)}`
  const wrong = (wrong: string) => ({ stages, wrong, rows: found.length })

  const { rows: got } = await client.analytics.pipeline(stages)
  if (!sameRows(arranged(got, reference.ordered), arranged(expected, reference.ordered))) return wrong(say(got))
  // The matches themselves, through the core's own form and through the statement behind it.
  const whole = (await client.analytics.pipeline([{ match }, ...before, stage] as PipelineStage[])).rows
  if (!sameRows(whole, found)) return wrong(say(whole, found))
  const cut = (await client.analytics.pipeline([{ match }, ...before, stage, { limit: 3 }] as PipelineStage[])).rows
  if (!sameRows(cut, found.slice(0, 3))) return wrong(say(cut, found.slice(0, 3)))
  const members = cut[0] && Object.keys(cut[0]).join()
  if (found[0] && members !== Object.keys(found[0]).join()) return wrong(`the members are ${members}`)
  return { stages, rows: found.length }
}

it('answers as the matches and the reference do', { timeout: LIMIT }, async () => {
  let matched = 0
  let asked = 0
  await each(SEED, PIPELINES, 0.2, 4, async seed => {
    const random = new Random(seed)
    const { wrong, rows } = await check(random)
    if (wrong !== undefined) throw new Error(`${again(SEED, seed)}: ${wrong}`)
    asked++
    if (rows > 0) matched++
  })
  if (asked > 100) expect(matched / asked).toBeGreaterThan(0.8)
})
