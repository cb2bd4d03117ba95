// Pipelines around a sequence or a pattern: what the random ones do not make.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { EventPattern, EventSequence, EventsClient, PipelineStage } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'

let database: TestDatabase
let client: EventsClient

beforeAll(async () => {
  database = await TestDatabase.create({ events: 300 })
  client = await database.connect()
})
afterAll(() => database?.drop())

const rows = async (stages: readonly PipelineStage[]) => (await client.analytics.pipeline(stages)).rows
const merges = { match: { eventTypes: ['CODE.*', 'PR.*'] } }
const sequence: EventSequence = {
  steps: [
    { as: 'generated', where: { eventTypes: ['CODE.*'] } },
    { where: { eventTypes: ['PR.*'] } },
    { where: { eventTypes: ['CODE.GENERATED.FAILURE'] }, absent: true, gap: { max: '2 seconds' } }
  ],
  by: ['data["ключ 😀"]']
}
const pattern: EventPattern = {
  by: ['metadata.actor.bot'],
  pattern: 'CODE+ {- PR -}',
  define: { CODE: { eventTypes: ['CODE.*'] }, PR: { eventTypes: ['PR.*'] } },
  measures: { 'the most': { agg: 'max', field: 'data.n' }, who: { last: 'type', of: 'CODE' } },
  rows: 'all'
}

it('matches are rows with all their members, in their order', async () => {
  const found = await client.analytics.findSequences(sequence, merges.match)
  expect(found.length).toBeGreaterThan(3)
  expect(found.some(match => match.open)).toBe(true)
  for (const tail of [[], [{ offset: 0 }], [{ sort: [{ field: 'endedAt' }] }, { limit: 1000 }]] as PipelineStage[][])
    expect(await rows([merges, { sequence }, ...tail])).toEqual(found)
  const patterns = await client.analytics.findPatterns(pattern, merges.match)
  expect(patterns.length).toBeGreaterThan(3)
  for (const tail of [[], [{ offset: 0 }]]) expect(await rows([merges, { pattern }, ...tail])).toEqual(patterns)
  const [row] = await rows([merges, { sequence }, { limit: 1 }])
  expect(Object.keys(row)).toEqual(Object.keys(found[0]))
})

it('stages behind them work on their members', async () => {
  const found = await client.analytics.findSequences(sequence, merges.match)
  const hours = new Map<string, number>()
  for (const { key, durationMs } of found) {
    const text = key['data["ключ 😀"]'] as string
    hours.set(text, (hours.get(text) ?? 0) + durationMs)
  }
  const grouped = await rows([
    merges,
    { sequence },
    { project: { text: 'key["data[\\"ключ 😀\\"]"]', ms: 'durationMs' } },
    { group: { by: ['text'], aggregates: [{ fn: 'sum', field: 'ms', as: 'all' }] } }
  ])
  expect(new Map(grouped.map(row => [row.text, row.all]))).toEqual(hours)

  // Facets each read the same matches.
  const [both] = await rows([
    merges,
    { sequence },
    { facet: { first: [{ limit: 2 }], count: [{ group: { aggregates: [{ fn: 'count' }] } }] } }
  ])
  expect(both).toEqual({ first: found.slice(0, 2), count: [{ count: found.length }] })
  // No match is no row, of which there can still be a count.
  const none = { match: { eventTypes: ['NO.SUCH'] } }
  expect(await rows([none, { sequence }, { limit: 5 }])).toEqual([])
  expect(await rows([none, { sequence }, { group: { aggregates: [{ fn: 'count' }] } }])).toEqual([{ count: 0 }])
})

it('columns that stages add can be matched by', async () => {
  const steps = [{ where: { field: 'step', op: 'gt', value: 1 } as const }, { where: { eventTypes: ['PR.*'] } }]
  const counted = await rows([
    merges,
    { window: { function: 'delta', field: 'data.n', as: 'step' } },
    { sequence: { steps, match: 'first' } },
    { group: { aggregates: [{ fn: 'count' }] } }
  ])
  // Of every five events the first three stay: each first follows the third before it by three.
  expect(counted).toEqual([{ count: 59 }])
})

it('an integer that no double holds keeps its digits in a key', async () => {
  const big = '9007199254740993'
  await database.admin.query(
    `INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data)
     SELECT gen_random_uuid(), 'BIG.' || i, now() + i * interval '1 second', '{}', '{}', jsonb_build_object('big', ${big}) FROM generate_series(1, 2) i`
  )
  const stages: PipelineStage[] = [
    { match: { eventTypes: ['BIG.*'] } },
    {
      sequence: {
        by: ['data.big'],
        steps: [{ where: { eventTypes: ['BIG.1'] } }, { where: { eventTypes: ['BIG.2'] } }]
      }
    },
    { project: { big: 'key["data.big"]' } }
  ]
  await failure(client.analytics.pipeline(stages), 'PRECISION_LOSS')
  for (const bigint of ['string', 'bigint'] as const) {
    const exact = await database.connect({ bigint })
    expect((await exact.analytics.pipeline(stages)).rows).toEqual([{ big }])
  }
})

it('a run is cancelled, limited, and seen by a snapshot like any other', async () => {
  const narrow = await database.connect({ limits: { maxResultBytes: 2000 } })
  await failure(narrow.analytics.pipeline([merges, { sequence }, { limit: 1 }]), 'MATCH_LIMIT')
  const { code } = await failure(
    client.analytics.pipeline([merges, { sequence: { ...sequence, maxMatches: 2 } }, { limit: 1 }])
  )
  expect(code).toBe('MATCH_LIMIT')
  await failure(
    client.analytics.pipeline([merges, { sequence }, { limit: 1 }], { signal: AbortSignal.abort() }),
    'QUERY_CANCELLED'
  )
  const count: PipelineStage[] = [
    { match: { eventTypes: ['SNAP.*'] } },
    { sequence: { steps: [{ where: { eventTypes: ['SNAP.A'] } }] } },
    { group: { aggregates: [{ fn: 'count' }] } }
  ]
  await client.snapshot(async at => {
    expect((await at.analytics.pipeline(count)).rows).toEqual([{ count: 0 }])
    await client.append([{ type: 'SNAP.A' }])
    expect((await at.analytics.pipeline(count)).rows).toEqual([{ count: 0 }])
  })
  const { rows, queryId, token } = await client.analytics.pipeline(count, { queryId: 'counted' })
  expect([rows, queryId, token.length > 0]).toEqual([[{ count: 1 }], 'counted', true])
  await database.quiet()
})

it('an export has the matches as its rows', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tamma-matches-'))
  try {
    const to = join(folder, 'matches.ndjson')
    for (const stages of [
      [merges, { sequence }],
      [merges, { pattern }, { project: { n: 'matchNumber', at: 'at.data.n', most: 'measures["the most"]' } }]
    ] as PipelineStage[][]) {
      await client.analytics.exportPipeline(stages, { format: 'ndjson', to })
      const lines = readFileSync(to, 'utf8').trimEnd().split('\n')
      expect(lines.map(line => JSON.parse(line))).toEqual(await rows(stages))
    }
    const narrow = await database.connect({ limits: { maxResultBytes: 2000 } })
    await failure(narrow.analytics.exportPipeline([merges, { sequence }], { format: 'ndjson', to }), 'MATCH_LIMIT')
    await database.quiet()
  } finally {
    rmSync(folder, { recursive: true })
  }
})

it('a plan says what runs where', async () => {
  const plan = await client.analytics.explainPipeline([
    merges,
    { sort: [{ field: 'data.n' }] },
    { limit: 100 },
    { sequence },
    { group: { aggregates: [{ fn: 'count' }] } }
  ])
  expect(plan.strategy).toBe('sequence')
  expect(plan.steps[0].details?.stages).toEqual([
    { stage: 'match', runs: 'sql' },
    { stage: 'sort', runs: 'sql' },
    { stage: 'limit', runs: 'sql' },
    { stage: 'sequence', runs: 'rust' },
    { stage: 'group', runs: 'sql' }
  ])
  // Counting needs no events: they are not fetched.
  expect(plan.steps[0].details?.sql).toMatch(/^SELECT/)
  expect(JSON.stringify(plan.steps[0])).not.toContain('"relation":"events"')
  expect(plan.steps.map(step => step.operation)).toContain('Sequence Match')
  expect(plan.sql).toMatch(/^WITH b AS \(SELECT .* LIMIT 100\) SELECT/)
  expect(plan.rules.map(rule => rule.rule)).toContain('stages to SQL')
  expect(String(plan)).toMatch(/Sequence Match\n/)
  const plain = await client.analytics.explainPipeline([merges, { pattern }])
  expect(plain.steps.map(step => step.operation)).toEqual(['Pattern Match'])
  expect(plain.steps[0].details?.stages).toEqual([
    { stage: 'match', runs: 'sql' },
    { stage: 'pattern', runs: 'rust' }
  ])
})

it('what is wrong has the path of its stage', async () => {
  const wrong = async (...stages: unknown[]) => {
    const { code, path } = await failure(client.analytics.pipeline(stages as never))
    return `${code} ${path}`
  }
  const group = { group: { by: ['type'], aggregates: [{ fn: 'count' }] } }
  expect(await wrong({ sequence: { steps: [] } })).toBe('INVALID_QUERY [0].sequence.steps')
  expect(await wrong(merges, { sequence: { steps: [{ where: { field: 'nope', op: 'eq', value: 1 } }] } })).toBe(
    'UNKNOWN_FIELD [1].sequence.steps[0].where.field'
  )
  expect(await wrong({ pattern: { by: [], pattern: 'A (', define: { A: {} } } })).toBe(
    'INVALID_QUERY [0].pattern.pattern'
  )
  expect(await wrong(group, { sequence })).toBe('INVALID_QUERY [1].sequence')
  expect(await wrong({ sequence }, { sequence })).toBe('INVALID_QUERY [1].sequence')
  expect(await wrong({ sequence }, { match: { field: 'type', op: 'eq', value: 'x' } })).toBe(
    'UNKNOWN_FIELD [1].match.field'
  )
  expect(await wrong({ sequence }, { match: { eventTypes: ['A'] } })).toBe('INVALID_QUERY [1].match.eventTypes')
  expect(await wrong({ facet: { a: [{ sequence }] } })).toBe('UNSUPPORTED [0].facet.a[0].sequence')
})
