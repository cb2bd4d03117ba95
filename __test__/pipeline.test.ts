// Pipelines over events that are small enough to foresee: what the random ones do not make.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventsClient, PipelineStage } from '../index.js'
import { eventsUpTo, TestDatabase } from './support/database'
import { failure } from './support/errors'

let database: TestDatabase
let client: EventsClient
const events = eventsUpTo(300)

beforeAll(async () => {
  database = await TestDatabase.create({ events: 300 })
  client = await database.connect()
})
afterAll(() => database?.drop())

const rows = async (stages: readonly PipelineStage[]) => (await client.analytics.pipeline(stages)).rows
const merges: PipelineStage = { match: { eventTypes: ['PR.*'] } }

describe('rows', () => {
  it('are whole events until a stage makes others of them', async () => {
    const merged = events.filter(event => event.type.startsWith('PR.'))
    expect(await rows([merges, { sort: [{ field: 'timestamp' }] }])).toEqual(merged)
    expect(await rows([merges, { offset: 2 }, { limit: 3 }])).toEqual(merged.slice(2, 5))
    expect(await rows([merges, { limit: 5 }, { offset: 2 }])).toEqual(merged.slice(2, 5))
    const [first] = await rows([{ window: { function: 'rowNumber', as: 'i' } }, { limit: 1 }])
    expect(first).toEqual({ ...events[0], i: 1 })
  })

  it('have their columns in the order of the stage', async () => {
    const [row] = await rows([
      { project: { z: 'data.n', a: 'type', m: { op: 'coalesce', args: [{ literal: 1 }] } } },
      { limit: 1 }
    ])
    expect(Object.keys(row)).toEqual(['z', 'a', 'm'])
  })

  it('fill empty buckets of the time that was matched', async () => {
    const window = { startTime: '2024-01-01T00:01:00Z', endTime: '2024-01-01T00:08:00Z' }
    const found = await rows([
      { match: { ...window, eventTypes: ['PR.*'] } },
      { bucket: { interval: '1 minute', fill: 'zero' } },
      { group: { aggregates: [{ fn: 'count' }, { fn: 'median', field: 'data.n' }] } }
    ])
    expect(found.map(row => row.count)).toEqual([12, 12, 12, 12, 0, 0, 0])
    expect(found.map(row => row.median_n)).toEqual(
      [89.5, 149.5, 209.5, 269.5, 0, 0, 0].map((n, i) =>
        i < 4
          ? events
              .filter(
                e =>
                  e.type.startsWith('PR.') &&
                  Date.parse(e.timestamp) >= Date.parse(window.startTime) + i * 60_000 &&
                  Date.parse(e.timestamp) < Date.parse(window.startTime) + (i + 1) * 60_000
              )
              .map(e => e.data.n as number)
              .sort((a, b) => a - b)
              .reduce((sum, v, _i, all) => sum + v / all.length, 0)
          : n
      )
    )
  })

  it('of a smoothed series keep their weights over many stretches', async () => {
    const found = await rows([
      { window: { function: 'ewma', field: 'data.n', alpha: 0.9, as: 's' } },
      { project: { s: 's' } },
      { sort: [{ field: 's' }] }
    ])
    let smooth = 0
    expect(found.length).toBe(300)
    for (const [i, { s }] of found.entries()) {
      smooth = i === 0 ? 0 : 0.9 * i + 0.1 * smooth
      expect(s).toBeCloseTo(smooth, 9)
    }
  })

  it('of facets are lists, of one snapshot', async () => {
    const [row] = await rows([
      { group: { by: ['type'], aggregates: [{ fn: 'count' }, { fn: 'avg', field: 'data.half' }] } },
      {
        facet: {
          top: [{ sort: [{ field: 'avg_half', direction: 'desc' }] }, { limit: 2 }],
          total: [{ group: { aggregates: [{ fn: 'sum', field: 'count' }] } }],
          none: [{ match: { field: 'count', op: 'lt', value: 0 } }]
        }
      }
    ])
    expect(row).toEqual({
      top: [
        { type: 'ÜBER.ÄNDERUNG', count: 60, avg_half: 74.75 + 1 },
        { type: 'ISSUE.OPENED', count: 60, avg_half: 74.25 + 1 }
      ]
        .map(r => ({
          ...r,
          avg_half: events.filter(e => e.type === r.type).reduce((sum, e) => sum + (e.data.half as number) / 60, 0)
        }))
        .map(r => ({ ...r, avg_half: expect.closeTo(r.avg_half, 9) })),
      total: [{ sum_count: 300 }],
      none: []
    })
    const [whole] = await rows([merges, { facet: { 'first of all': [{ limit: 1 }] } }])
    expect(whole).toEqual({ 'first of all': [events[2]] })
  })
})

describe('a run', () => {
  it('has an id, a token and a limit', async () => {
    const { queryId, token, rowCount } = await client.analytics.pipeline([merges], { queryId: 'piped' })
    expect([queryId, rowCount, token.length > 0]).toEqual(['piped', 60, true])
    const narrow = await database.connect({ limits: { maxRows: 10 } })
    await failure(narrow.analytics.pipeline([merges]), 'RESULT_TOO_LARGE')
    await failure(client.analytics.pipeline([merges], { signal: AbortSignal.abort() }), 'QUERY_CANCELLED')
    const slow: PipelineStage = { match: { field: 'data.n', op: 'regex', value: '(' } }
    const { code, path } = await failure(client.analytics.pipeline([slow]))
    expect([code, path]).toEqual(['INVALID_QUERY', 'stages[0].match.value'])
  })

  it('is exported as it is run', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tamma-pipeline-'))
    try {
      const stages: PipelineStage[] = [
        { group: { by: ['type'], aggregates: [{ fn: 'count' }, { fn: 'avg', field: 'data.n', as: 'mean' }] } },
        { sort: [{ field: 'mean' }] }
      ]
      const to = join(folder, 'groups.ndjson')
      const { columns } = await client.analytics.exportPipeline(stages, { format: 'ndjson', to })
      expect(columns).toEqual([
        { name: 'type', type: 'string' },
        { name: 'count', type: 'int64' },
        { name: 'mean', type: 'float64' }
      ])
      expect(
        readFileSync(to, 'utf8')
          .trimEnd()
          .split('\n')
          .map(line => JSON.parse(line))
      ).toEqual(await rows(stages))
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('is explained: one statement, and what was moved', async () => {
    const plan = await client.analytics.explainPipeline([
      { group: { by: ['type'], aggregates: [{ fn: 'count' }] } },
      {
        match: {
          and: [
            { field: 'type', op: 'eq', value: 'PR.MERGED.SUCCESS' },
            { field: 'count', op: 'gt', value: 1 }
          ]
        }
      },
      { limit: 5 }
    ])
    expect(plan.sql).toMatch(/FROM "public"."events" AS e WHERE \(e."event_type" = \$1\) GROUP BY 1\) AS e WHERE/)
    expect(plan.rules.map(rule => rule.rule)).toEqual(['stages to SQL', 'predicate pushdown'])
    expect(plan.steps[0].details?.stages).toEqual(['group', 'match', 'limit'].map(stage => ({ stage, runs: 'sql' })))
    expect(plan.parameters).toContain('PR.MERGED.SUCCESS')
    expect(String(plan)).toContain('events')
  })
})

it('what is wrong has the path of its stage', async () => {
  const wrong = async (...stages: unknown[]) => {
    const { code, path } = await failure(client.analytics.pipeline(stages as never))
    return `${code} ${path}`
  }
  const group = { group: { by: ['type'], aggregates: [{ fn: 'count' }] } }
  expect(await wrong()).toMatch(/^INVALID_QUERY/)
  expect(await wrong({ match: {} }, { sum: 1 })).toBe('INVALID_QUERY [1].sum')
  expect(await wrong({ match: {}, limit: 1 })).toBe('INVALID_QUERY [0]')
  expect(await wrong({ limit: -1 })).toBe('INVALID_QUERY [0].limit')
  expect(await wrong({ match: { field: 'nope', op: 'eq', value: 1 } })).toBe('UNKNOWN_FIELD [0].match.field')
  expect(await wrong(group, { match: { field: 'data.n', op: 'eq', value: 1 } })).toBe('UNKNOWN_FIELD [1].match.field')
  expect(await wrong(group, { match: { eventTypes: ['A.*'] } })).toBe('INVALID_QUERY [1].match.eventTypes')
  expect(await wrong({ having: { field: 'type', op: 'eq', value: 'x' } })).toBe('INVALID_QUERY [0].having')
  expect(await wrong({ match: {} }, { limit: 3 }, { group: { aggregates: [{ fn: 'sum', field: 'nope' }] } })).toBe(
    'UNKNOWN_FIELD [2].group.aggregates[0].field'
  )
  expect(await wrong({ group: { by: ['type'], aggregates: [{ fn: 'count', as: 'type' }] } })).toBe(
    'INVALID_QUERY [0].group.aggregates[0].as'
  )
  expect(await wrong(group, { bucket: { interval: '1 day' } })).toBe('INVALID_QUERY [1].bucket')
  expect(await wrong({ bucket: { interval: '1 day', fill: 'zero' } })).toBe('INVALID_QUERY [0].bucket.fill')
  const day = { match: { startTime: '2024-01-01', endTime: '2024-01-02' } }
  expect(await wrong(day, { bucket: { interval: '1 hour', fill: 'zero' } }, { limit: 1 })).toBe(
    'INVALID_QUERY [1].bucket.fill'
  )
  expect(await wrong(day, { limit: 5 }, { bucket: { interval: '1 hour', fill: 'zero' } }, group)).toBe(
    'INVALID_QUERY [2].bucket.fill'
  )
  expect(await wrong({ project: {} })).toBe('INVALID_QUERY [0].project')
  expect(await wrong({ project: { a: { op: 'add', args: ['type', 'data.n'] } } })).toBe(
    'INVALID_QUERY [0].project.a.args[0]'
  )
  expect(await wrong({ project: { a: { op: 'sub', args: ['data.n'] } } })).toBe('INVALID_QUERY [0].project.a.args')
  expect(await wrong({ project: { a: { op: 'pow', args: ['data.n'] } } })).toBe('INVALID_QUERY [0].project.a.op')
  expect(await wrong({ project: { a: { op: 'epochMs', args: ['data.n'] } } })).toBe(
    'INVALID_QUERY [0].project.a.args[0]'
  )
  expect(await wrong({ window: { function: 'lag', as: 'x' } })).toBe('INVALID_QUERY [0].window.field')
  expect(await wrong({ window: { function: 'ewma', field: 'data.n', as: 'x' } })).toBe('INVALID_QUERY [0].window.alpha')
  expect(await wrong({ window: { function: 'rank', as: 'type' } })).toBe('INVALID_QUERY [0].window.as')
  expect(await wrong({ window: { function: 'rank', alpha: 1, as: 'x' } })).toBe('INVALID_QUERY [0].window.alpha')
  expect(await wrong({ outliers: { field: 'data.n', method: 'magic' } })).toBe('INVALID_QUERY [0].outliers.method')
  expect(await wrong({ facet: { a: [{ limit: 'x' }] } })).toBe('INVALID_QUERY [0].facet.a[0].limit')
  expect(await wrong({ facet: { a: [{ limit: 1 }] } }, { limit: 1 })).toBe('INVALID_QUERY [1]')
  expect(await wrong({ facet: { a: [{ facet: { b: [{ limit: 1 }] } }] } })).toBe('INVALID_QUERY [0].facet.a[0].facet')
  expect(await wrong({ match: { where: undefined } })).toBe('INVALID_QUERY [0].match.where')
  expect((await failure(client.analytics.pipeline({} as never))).path).toBe('stages')
})
