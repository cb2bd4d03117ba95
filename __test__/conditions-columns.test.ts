// Operators on columns: ids, types, times, tags, and whole JSON columns.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { QueryCondition } from '../index.js'
import { shown } from './reference/check'
import { expectCondition, labelled } from './reference/handmade'
import { ENGLISH, Subject } from './reference/subject'

const ID = (n: number) => `019b0000-0000-7000-8000-00000000000${n.toString(16)}`

/** In the order of their ids, from 0 to 6. */
const EVENTS = labelled({
  code: {
    type: 'CODE',
    timestamp: '2026-01-01T00:00:00.000000Z',
    tags: { issueId: '9', 'a.b[0]': 'x', user: 'Zoë' },
    createdAt: '2026-03-01'
  },
  generated: {
    type: 'CODE.GENERATED.SUCCESS',
    timestamp: '2026-01-01T00:00:00.000001Z',
    tags: { issueId: '10' },
    createdAt: '2026-03-02'
  },
  failed: { type: 'CODE.GENERATED.FAILURE', timestamp: '2026-01-01T00:00:00.001Z', tags: { issueId: '' } },
  coder: { type: 'CODER.STARTED', timestamp: '2026-01-01T02:00:00Z', tags: { user: 'Äsop', 'quo"te': "it's" } },
  under: { type: 'CODE_X.STARTED', timestamp: '1969-12-31T23:59:59.999999Z', tags: { user: 'anna' } },
  lower: { type: 'code.generated', timestamp: '0001-01-01', tags: { user: 'Anna', issueId: '9' } },
  last: { type: 'ÉTÉ.😀', timestamp: '9999-12-31T23:59:59.999999Z', tags: { user: '\uffff', __proto__2: '1' } }
})
const ALL = ['code', 'generated', 'failed', 'coder', 'under', 'lower', 'last']
const but = (...others: string[]) => ALL.filter(label => !others.includes(label))

type Case = [condition: Record<string, unknown>, expected: string[], negated?: string[]]
const CASES: Record<string, Case[]> = {
  'ids are UUIDs, in any case': [
    [{ field: 'id', op: 'eq', value: ID(1) }, ['generated'], but('generated')],
    [{ field: 'id', op: 'eq', value: ID(0).toUpperCase() }, ['code']],
    [{ field: 'id', op: 'ne', value: ID(0) }, but('code')],
    [{ field: 'id', op: 'in', value: [ID(1), ID(9), ID(6).toUpperCase()] }, ['generated', 'last']],
    [{ field: 'id', op: 'notIn', value: [ID(1)] }, but('generated')],
    [{ field: 'id', op: 'lt', value: ID(2) }, ['code', 'generated']],
    [{ field: 'id', op: 'between', value: [ID(2), ID(4)] }, ['failed', 'coder', 'under']],
    [{ field: 'id', op: 'like', value: '%0003' }, ['coder']],
    [{ field: 'id', op: 'ilike', value: '019B%2' }, ['failed']],
    [{ field: 'id', op: 'startsWith', value: '019b' }, ALL, []],
    [{ field: 'id', op: 'startsWith', value: '019B' }, [], ALL],
    [{ field: 'id', op: 'regex', value: '[01]$' }, ['code', 'generated']],
    [{ field: 'id', op: 'exists' }, ALL, []]
  ],
  'types are text by code point': [
    [{ field: 'type', op: 'eq', value: 'CODE' }, ['code']],
    [{ field: 'type', op: 'ne', value: 'CODE' }, but('code')],
    [{ field: 'type', op: 'eq', value: "x' OR '1'='1" }, []],
    [{ field: 'type', op: 'in', value: ['CODE', 'ÉTÉ.😀'] }, ['code', 'last']],
    [{ field: 'type', op: 'startsWith', value: 'CODE.' }, ['generated', 'failed']],
    [{ field: 'type', op: 'startsWith', value: 'CODE' }, ['code', 'generated', 'failed', 'coder', 'under']],
    [{ field: 'type', op: 'startsWith', value: 'CODE_' }, ['under']],
    [{ field: 'type', op: 'startsWith', value: 'ÉTÉ.😀' }, ['last']],
    [{ field: 'type', op: 'startsWith', value: '' }, ALL, []],
    [{ field: 'type', op: 'startsWith', value: '\u{10ffff}' }, [], ALL],
    [{ field: 'type', op: 'like', value: 'CODE_%' }, ['generated', 'failed', 'coder', 'under']],
    [{ field: 'type', op: 'like', value: 'CODE\\_%' }, ['under']],
    [{ field: 'type', op: 'ilike', value: 'code.generated%' }, ['generated', 'failed', 'lower']],
    [{ field: 'type', op: 'regex', value: '^CODE\\.' }, ['generated', 'failed']],
    [{ field: 'type', op: 'gt', value: 'CODE_' }, ['under', 'lower', 'last']],
    [{ field: 'type', op: 'lt', value: 'CODEA' }, ['code', 'generated', 'failed']],
    [{ field: 'type', op: 'between', value: ['CODE', 'CODE.GENERATED.FAILURE'] }, ['code', 'failed']]
  ],
  'times are exact to the microsecond, in every notation': [
    [{ field: 'timestamp', op: 'eq', value: '2026-01-01T00:00:00.000001Z' }, ['generated']],
    [{ field: 'timestamp', op: 'gt', value: '2026-01-01T00:00:00Z' }, ['generated', 'failed', 'coder', 'last']],
    [{ field: 'timestamp', op: 'lte', value: '2026-01-01' }, ['code', 'under', 'lower']],
    [
      { field: 'timestamp', op: 'gte', value: '2026-01-01T01:00:00+01:00' },
      ['code', 'generated', 'failed', 'coder', 'last']
    ],
    [{ field: 'timestamp', op: 'eq', value: new Date('2026-01-01T00:00:00.001Z') }, ['failed']],
    [{ field: 'timestamp', op: 'ne', value: new Date('2026-01-01T00:00:00.001Z') }, but('failed')],
    [{ field: 'timestamp', op: 'in', value: [new Date('2026-01-01T02:00:00Z'), '0001-01-01'] }, ['coder', 'lower']],
    [
      { field: 'timestamp', op: 'between', value: ['1969-12-31T23:59:59.999999Z', '2026-01-01T00:00:00.000001Z'] },
      ['code', 'generated', 'under']
    ],
    [{ field: 'timestamp', op: 'between', value: ['2026-01-02', '2026-01-01'] }, [], ALL],
    [{ field: 'timestamp', op: 'gte', value: '9999-12-31T23:59:59.999999Z' }, ['last']],
    [{ field: 'createdAt', op: 'gte', value: '2026-03-01' }, ['code', 'generated']],
    [{ field: 'createdAt', op: 'between', value: ['2026-03-02', '2026-03-02'] }, ['generated']],
    [{ field: 'createdAt', op: 'exists' }, ALL, []]
  ],
  'tags are text, and unknown where missing': [
    [{ field: 'tags.issueId', op: 'eq', value: '9' }, ['code', 'lower'], ['generated', 'failed']],
    [{ field: 'tags.issueId', op: 'ne', value: '9' }, ['generated', 'failed'], ['code', 'lower']],
    [{ field: 'tags.issueId', op: 'eq', value: '' }, ['failed']],
    [{ field: 'tags.issueId', op: 'in', value: ['10', ''] }, ['generated', 'failed'], ['code', 'lower']],
    [{ field: 'tags.issueId', op: 'notIn', value: ['9'] }, ['generated', 'failed'], ['code', 'lower']],
    [{ field: 'tags.issueId', op: 'lt', value: '9' }, ['generated', 'failed'], ['code', 'lower']],
    [{ field: 'tags.user', op: 'lt', value: 'a' }, ['code', 'lower'], ['coder', 'under', 'last']],
    [{ field: 'tags.user', op: 'gt', value: 'anna' }, ['coder', 'last'], ['code', 'under', 'lower']],
    [{ field: 'tags.user', op: 'startsWith', value: 'Ä' }, ['coder'], ['code', 'under', 'lower', 'last']],
    [{ field: 'tags.user', op: 'ilike', value: 'ANNA' }, ['under', 'lower']],
    [{ field: 'tags.user', op: 'like', value: '____' }, ['coder', 'under', 'lower']],
    [{ field: 'tags.user', op: 'regex', value: 'nn' }, ['under', 'lower']],
    [{ field: 'tags.user', op: 'exists' }, ['code', 'coder', 'under', 'lower', 'last'], ['generated', 'failed']],
    [
      { field: 'tags.user', op: 'exists', value: false },
      ['generated', 'failed'],
      ['code', 'coder', 'under', 'lower', 'last']
    ],
    [{ field: 'tags.a.b[0]', op: 'eq', value: 'x' }, ['code']],
    [{ field: 'tags.quo"te', op: 'eq', value: "it's" }, ['coder']],
    [{ field: 'tags.none', op: 'ne', value: 'x' }, [], []]
  ],
  'whole columns are JSON': [
    [{ field: 'tags', op: 'contains', value: { issueId: '9' } }, ['code', 'lower']],
    [{ field: 'tags', op: 'contains', value: {} }, ALL],
    [{ field: 'tags', op: 'contains', value: { issueId: 9 } }, []],
    [{ field: 'tags', op: 'eq', value: { issueId: '10' } }, ['generated']],
    [{ field: 'tags', op: 'in', value: [{ issueId: '' }, 5] }, ['failed']],
    [{ field: 'metadata', op: 'contains', value: { label: 'code' } }, ['code']],
    [{ field: 'data', op: 'eq', value: {} }, ALL],
    [{ field: 'data', op: 'ne', value: null }, ALL],
    [{ field: 'data', op: 'like', value: '%' }, [], []],
    [{ field: 'data', op: 'gt', value: 5 }, [], []],
    [{ field: 'data', op: 'exists' }, ALL, []]
  ]
}

describe.each([
  ['C', {}],
  ['English', ENGLISH]
])('with collation %s', (_, options) => {
  let subject: Subject
  beforeAll(async () => {
    subject = await Subject.of(EVENTS, options)
  })
  afterAll(() => subject?.drop())

  describe.each(Object.entries(CASES))('%s', (_, cases) => {
    it.each(cases.map(([condition, ...labels]) => [shown(condition), condition, ...labels] as const))(
      '%s',
      async (_, condition, expected, negated) => {
        await expectCondition(subject, condition as QueryCondition, expected, negated)
      }
    )
  })

  it('sorts text by code point', async () => {
    const labels = async (field: 'type' | 'tags.user') => {
      const { rows } = await subject.client
        .query()
        .orderBy(field)
        .orderBy('id')
        .select({ label: 'metadata.label' })
        .execute()
      return rows.map(row => row.label)
    }
    expect(await labels('type')).toEqual(['code', 'failed', 'generated', 'coder', 'under', 'lower', 'last'])
    expect(await labels('tags.user')).toEqual(['lower', 'code', 'under', 'coder', 'last', 'generated', 'failed'])
  })
})
