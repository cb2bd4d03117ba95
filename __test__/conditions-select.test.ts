// What a selection makes of an event: names, missing values, times, and integers that a number would round.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, type EventsClient } from '../index.js'
import { labelled } from './reference/handmade'
import { Subject } from './reference/subject'
import { failure } from './support/errors'

const BIG = 9007199254740993n
let subject: Subject
let client: EventsClient
beforeAll(async () => {
  subject = await Subject.of(
    labelled({
      full: {
        timestamp: '2026-01-01T00:00:00.120Z',
        createdAt: '2026-01-01T00:00:00.000123Z',
        tags: { issueId: '7' },
        data: { n: 1, list: [{ a: 'x' }], nothing: null, off: false, text: '' }
      },
      big: {
        data: { n: BIG, negative: -BIG, half: 0.5, round: 1e21, doc: { n: BIG }, list: [BIG], edge: 9007199254740992 }
      }
    })
  )
  client = subject.client
})
afterAll(() => subject?.drop())
const full = () => client.query().where('metadata.label', 'eq', 'full')
const big = (of = client) => of.query().where('metadata.label', 'eq', 'big')

it('gives whole events without one', async () => {
  const [row] = (await full().execute()).rows
  expect(Object.keys(row)).toEqual(['id', 'type', 'timestamp', 'tags', 'metadata', 'data'])
  expect(row).toMatchObject({ timestamp: '2026-01-01T00:00:00.120Z', tags: { issueId: '7' } })
})

it('gives the fields in the order asked for, each once', async () => {
  const [row] = (await full().select(['type', 'data.n', 'id', 'type']).select(['tags.issueId', 'id']).execute()).rows
  expect(Object.keys(row)).toEqual(['type', 'data.n', 'id', 'tags.issueId'])
  expect(row).toMatchObject({ type: 'A.B', 'data.n': 1, 'tags.issueId': '7' })
})

it('gives names of one choosing, integers among them', async () => {
  const query = full()
    .select({ issue: 'tags.issueId', '2': 'type', '1': 'id', first: 'data.list[0].a' })
    .select(['createdAt'])
  const [row] = (await query.execute()).rows
  expect(row).toEqual({
    createdAt: '2026-01-01T00:00:00.000123Z',
    issue: '7',
    '1': expect.any(String),
    '2': 'A.B',
    first: 'x'
  })
  expect(query.toQuery()).toMatchObject({ select: ['createdAt'], selectAs: { issue: 'tags.issueId' } })
  expect((await client.optimizer.executeQuery(query.toQuery())).rows).toEqual([row])
})

it('gives null for what is missing, and what is there as it is', async () => {
  const [row] = (
    await full()
      .select([
        'data.none',
        'data.nothing',
        'data.off',
        'data.text',
        'tags.none',
        'data.n.deeper',
        'data.list[1]',
        'data.list'
      ])
      .execute()
  ).rows
  expect(row).toEqual({
    'data.none': null,
    'data.nothing': null,
    'data.off': false,
    'data.text': '',
    'tags.none': null,
    'data.n.deeper': null,
    'data.list[1]': null,
    'data.list': [{ a: 'x' }]
  })
})

it('sorts by a name before a column, and by fields that are not selected', async () => {
  const labels = async (query: ReturnType<EventsClient['query']>) =>
    (await query.select({ label: 'metadata.label', type: 'data.n' }).execute()).rows.map(row => row.label)
  expect(await labels(client.query().orderBy('type', 'desc'))).toEqual(['big', 'full'])
  expect(await labels(client.query().orderBy('timestamp', 'desc'))).toEqual(['full', 'big'])
})

it('gives rows that are the caller’s own', async () => {
  const query = full().select(['data.list'])
  const [first] = (await query.execute()).rows
  ;(first['data.list'] as unknown[]).push('mine')
  expect((await query.execute()).rows).toEqual([{ 'data.list': [{ a: 'x' }] }])
})

describe('an integer beyond 2^53', () => {
  const mode = async <T>(bigint: 'number' | 'string' | 'bigint', use: (of: EventsClient) => Promise<T>) => {
    const own = await connect({ url: subject.url, bigint })
    try {
      return await use(own)
    } finally {
      await own.close()
    }
  }
  const fields = [
    'data.n',
    'data.negative',
    'data.half',
    'data.round',
    'data.edge',
    'data.doc.n',
    'data.list[0]'
  ] as const

  it('is an error as a number', async () => {
    await mode('number', async own => {
      const error = await failure(big(own).select(['data.half', 'data.n']).execute(), 'PRECISION_LOSS')
      expect(error.message).toContain('data.n')
      expect((await big(own).select(['data.half', 'data.edge']).execute()).rows).toEqual([
        { 'data.half': 0.5, 'data.edge': 2 ** 53 }
      ])
    })
  })

  it('is its digits as a string', async () => {
    const { rows } = await mode('string', own => big(own).select(fields).execute())
    expect(Object.values(rows[0])).toEqual([
      '9007199254740993',
      '-9007199254740993',
      0.5,
      '1000000000000000000000',
      2 ** 53,
      '9007199254740993',
      '9007199254740993'
    ])
  })

  it('is itself as a bigint', async () => {
    const { rows } = await mode('bigint', own => big(own).select(fields).execute())
    expect(Object.values(rows[0])).toEqual([BIG, -BIG, 0.5, 10n ** 21n, 2 ** 53, BIG, BIG])
  })

  it('is a number inside a document, in every mode', async () => {
    for (const bigint of ['number', 'string', 'bigint'] as const) {
      const { rows } = await mode(bigint, own => big(own).select(['data.doc', 'data.list', 'data']).execute())
      expect(rows[0]).toMatchObject({
        'data.doc': { n: Number(BIG) },
        'data.list': [Number(BIG)],
        data: { n: Number(BIG) }
      })
    }
  })
})
