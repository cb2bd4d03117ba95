// Operators on JSON: one value of each kind at `data.v`, and which of them each condition finds.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { QueryCondition } from '../index.js'
import { shown } from './reference/check'
import type { Json } from './reference/compare'
import { expectCondition, labelled } from './reference/handmade'
import { ENGLISH, Subject } from './reference/subject'

const VALUES: Record<string, Json> = {
  null: null,
  false: false,
  true: true,
  minus: -1.5,
  zero: 0,
  one: 1,
  two: 2,
  big: 9007199254740993n,
  bigger: 9007199254740994n,
  huge: 1e308,
  '""': '',
  '"10"': '10',
  '"2"': '2',
  '"100%"': '100%',
  '"A"': 'A',
  '"a"': 'a',
  '"ab"': 'ab',
  '"a_c"': 'a_c',
  '"a\\c"': 'a\\c',
  '"é"': 'é',
  '"x\\ny"': 'x\ny',
  '"\\uffff"': '\uffff',
  '"😀"': '😀',
  '[]': [],
  '[1]': [1],
  '["a",1]': ['a', 1],
  '[[1],{"a":1}]': [[1], { a: 1 }],
  '{}': {},
  '{"a":1}': { a: 1 },
  '{"a":{"b":[1,2]},"c":null}': { a: { b: [1, 2] }, c: null }
}
const LABELS = ['missing', ...Object.keys(VALUES)]
const TEXTS = LABELS.filter(label => label.startsWith('"'))
const NUMBERS = ['minus', 'zero', 'one', 'two', 'big', 'bigger', 'huge']
const LISTS = LABELS.filter(label => label.startsWith('['))
const OBJECTS = LABELS.filter(label => label.startsWith('{'))
const KNOWN = Object.keys(VALUES)
const but = (labels: readonly string[], ...others: string[]) => labels.filter(label => !others.includes(label))

const EVENTS = labelled({
  missing: {},
  ...Object.fromEntries(Object.entries(VALUES).map(([label, v]) => [label, { data: { v } }]))
})

type Case = [condition: Record<string, unknown>, expected: readonly string[], negated?: readonly string[]]

const CASES: Record<string, Case[]> = {
  'equality is by JSON type and value, and unknown where nothing is': [
    [{ op: 'eq', value: 1 }, ['one'], but(KNOWN, 'one')],
    [{ op: 'eq', value: 1n }, ['one']],
    [{ op: 'eq', value: 1.0 }, ['one']],
    [{ op: 'eq', value: -0 }, ['zero']],
    [{ op: 'eq', value: '10' }, ['"10"']],
    [{ op: 'eq', value: 10 }, []],
    [{ op: 'eq', value: 9007199254740993n }, ['big']],
    [{ op: 'eq', value: 1e308 }, ['huge']],
    [{ op: 'eq', value: null }, ['null'], but(KNOWN, 'null')],
    [{ op: 'eq', value: false }, ['false']],
    [{ op: 'eq', value: '' }, ['""']],
    [{ op: 'eq', value: 'a' }, ['"a"']],
    [{ op: 'eq', value: [] }, ['[]']],
    [{ op: 'eq', value: [1] }, ['[1]']],
    [{ op: 'eq', value: [1, 'a'] }, []],
    [{ op: 'eq', value: {} }, ['{}']],
    [{ op: 'eq', value: { c: null, a: { b: [1, 2] } } }, ['{"a":{"b":[1,2]},"c":null}']],
    [{ op: 'eq', value: { a: 1n } }, ['{"a":1}']],
    [{ op: 'ne', value: 1 }, but(KNOWN, 'one'), ['one']],
    [{ op: 'ne', value: null }, but(KNOWN, 'null'), ['null']]
  ],
  membership: [
    [{ op: 'in', value: [1] }, ['one'], but(KNOWN, 'one')],
    [{ op: 'in', value: [null, 'a', 2, [], 9007199254740994n] }, ['null', '"a"', 'two', '[]', 'bigger']],
    [{ op: 'in', value: ['1', '2'] }, ['"2"']],
    [{ op: 'notIn', value: [1, null] }, but(KNOWN, 'one', 'null'), ['one', 'null']],
    [{ op: 'notIn', value: ['nowhere'] }, KNOWN, []]
  ],
  'order is known within a type only': [
    [{ op: 'lt', value: 1 }, ['minus', 'zero'], but(NUMBERS, 'minus', 'zero')],
    [{ op: 'lte', value: 1 }, ['minus', 'zero', 'one']],
    [{ op: 'gt', value: 9007199254740993n }, ['bigger', 'huge']],
    [{ op: 'gte', value: 9007199254740993n }, ['big', 'bigger', 'huge'], ['minus', 'zero', 'one', 'two']],
    [{ op: 'lt', value: 'A' }, ['""', '"10"', '"2"', '"100%"'], but(TEXTS, '""', '"10"', '"2"', '"100%"')],
    [{ op: 'gt', value: 'a' }, ['"ab"', '"a_c"', '"a\\c"', '"é"', '"x\\ny"', '"\\uffff"', '"😀"']],
    [{ op: 'gt', value: '\uffff' }, ['"😀"'], but(TEXTS, '"😀"')],
    [{ op: 'gte', value: '' }, TEXTS, []],
    [{ op: 'gt', value: false }, ['true'], ['false']],
    [{ op: 'lte', value: null }, ['null'], []],
    [{ op: 'lt', value: null }, [], ['null']],
    [{ op: 'gt', value: [] }, but(LISTS, '[]'), ['[]']],
    [{ op: 'gt', value: [5] }, ['["a",1]', '[[1],{"a":1}]']],
    [{ op: 'lt', value: { b: 0 } }, ['{}', '{"a":1}'], ['{"a":{"b":[1,2]},"c":null}']]
  ],
  'between is inclusive': [
    [{ op: 'between', value: [0, 2] }, ['zero', 'one', 'two'], ['minus', 'big', 'bigger', 'huge']],
    [{ op: 'between', value: [1, 1] }, ['one']],
    [{ op: 'between', value: [2, 1] }, [], NUMBERS],
    [{ op: 'between', value: ['a', 'ab'] }, ['"a"', '"ab"', '"a_c"', '"a\\c"']],
    // Of two types nothing can be between; whether it is not is known where one of the bounds says so.
    [{ op: 'between', value: [1, 'b'] }, [], ['minus', 'zero', '"é"', '"x\\ny"', '"\\uffff"', '"😀"']],
    [{ op: 'between', value: [null, null] }, ['null'], []]
  ],
  'patterns are for text': [
    [{ op: 'like', value: 'a%' }, ['"a"', '"ab"', '"a_c"', '"a\\c"'], but(TEXTS, '"a"', '"ab"', '"a_c"', '"a\\c"')],
    [{ op: 'like', value: 'a_c' }, ['"a_c"', '"a\\c"']],
    [{ op: 'like', value: 'a\\_c' }, ['"a_c"']],
    [{ op: 'like', value: 'a\\\\c' }, ['"a\\c"']],
    [{ op: 'like', value: '100\\%' }, ['"100%"']],
    [{ op: 'like', value: '_' }, ['"2"', '"A"', '"a"', '"é"', '"\\uffff"', '"😀"']],
    [{ op: 'like', value: 'x%y' }, ['"x\\ny"']],
    [{ op: 'like', value: '' }, ['""']],
    [{ op: 'like', value: '%' }, TEXTS, []],
    [{ op: 'ilike', value: 'A%' }, ['"A"', '"a"', '"ab"', '"a_c"', '"a\\c"']],
    [{ op: 'startsWith', value: 'a' }, ['"a"', '"ab"', '"a_c"', '"a\\c"']],
    [{ op: 'startsWith', value: 'a_' }, ['"a_c"']],
    [{ op: 'startsWith', value: '100%' }, ['"100%"']],
    [{ op: 'startsWith', value: '' }, TEXTS, []],
    [{ op: 'startsWith', value: '😀' }, ['"😀"'], but(TEXTS, '"😀"')],
    [{ op: 'regex', value: '^a.' }, ['"ab"', '"a_c"', '"a\\c"']],
    [{ op: 'regex', value: 'b$|^1' }, ['"ab"', '"10"', '"100%"']],
    [{ op: 'regex', value: '^.$' }, ['"2"', '"A"', '"a"', '"é"', '"\\uffff"', '"😀"']],
    [{ op: 'regex', value: 'x.y' }, ['"x\\ny"']],
    [{ op: 'regex', value: '' }, TEXTS, []]
  ],
  'containment is that of jsonb': [
    [{ op: 'contains', value: 1 }, ['one', '[1]', '["a",1]'], but(KNOWN, 'one', '[1]', '["a",1]')],
    [{ op: 'contains', value: 'a' }, ['"a"', '["a",1]']],
    [{ op: 'contains', value: [1] }, ['[1]', '["a",1]']],
    [{ op: 'contains', value: [1, 'a', 1] }, ['["a",1]']],
    [{ op: 'contains', value: [] }, LISTS],
    [{ op: 'contains', value: [[]] }, ['[[1],{"a":1}]']],
    [{ op: 'contains', value: [{}] }, ['[[1],{"a":1}]']],
    [{ op: 'contains', value: {} }, OBJECTS],
    [{ op: 'contains', value: { a: 1 } }, ['{"a":1}']],
    [{ op: 'contains', value: { a: { b: [2] } } }, ['{"a":{"b":[1,2]},"c":null}']],
    [{ op: 'contains', value: { c: null } }, ['{"a":{"b":[1,2]},"c":null}']],
    [{ op: 'contains', value: { a: {} } }, ['{"a":{"b":[1,2]},"c":null}']],
    [{ op: 'contains', value: null }, ['null']]
  ],
  'existence is always known, and null exists': [
    [{ op: 'exists' }, KNOWN, ['missing']],
    [{ op: 'exists', value: true }, KNOWN, ['missing']],
    [{ op: 'exists', value: false }, ['missing'], KNOWN]
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
        await expectCondition(subject, { field: 'data.v', ...condition } as QueryCondition, expected, negated)
      }
    )
  })
})

describe('paths', () => {
  let subject: Subject
  beforeAll(async () => {
    subject = await Subject.of(
      labelled({
        key: { data: { a: { b: 1 }, '0': 'zero', 'any.key': 1, 'q"\\': 1, '': 1, 'ключ 😀': 1 } },
        list: { data: { a: [{ b: 1 }, 'x', [5, [6]]] } },
        scalar: { data: { a: 'x' } },
        number: { data: { a: 5 } },
        numeral: { data: { a: { '0': 'zero', '1': 'one' } } },
        none: { metadata: { a: 1 } }
      })
    )
  })
  afterAll(() => subject?.drop())

  it.each<[field: string, expected: string[]]>([
    ['data.a', ['key', 'list', 'scalar', 'number', 'numeral']],
    ['data.a.b', ['key']],
    ['data["a"]["b"]', ['key']],
    ['data.a[0]', ['list']],
    ['data.a[0].b', ['list']],
    ['data.a[0]["b"]', ['list']],
    ['data.a[1]', ['list']],
    ['data.a[2][0]', ['list']],
    ['data.a[2][1][0]', ['list']],
    ['data.a[1][0]', []],
    ['data.a[2][0][0]', []],
    ['data.a[0][0]', []],
    ['data.a[3]', []],
    ['data.a[2147483647]', []],
    ['data.0', ['key']],
    ['data[0]', []],
    ['data.a.0', ['numeral']],
    ['data.a["0"]', ['numeral']],
    ['data["any.key"]', ['key']],
    ['data.any.key', []],
    ['data["q\\"\\\\"]', ['key']],
    ['data["\\u0061"]', ['key', 'list', 'scalar', 'number', 'numeral']],
    ['data[""]', ['key']],
    ['data.ключ 😀', ['key']],
    ['data.a.b.c.d.e', []],
    ['metadata.a', ['none']],
    ['data', ['key', 'list', 'scalar', 'number', 'numeral', 'none']]
  ])('%s', async (field, expected) => {
    await expectCondition(subject, { field, op: 'exists' }, expected)
  })

  it('lead to their values in rows, null where there is nothing', async () => {
    const { rows } = await subject.client
      .query()
      .where('metadata.label', 'in', ['list', 'scalar', 'numeral'])
      .orderBy('id')
      .select({ first: 'data.a[0].b', zero: 'data.a[0]', last: 'data.a[2][1][0]', whole: 'data.a' })
      .execute()
    expect(rows).toEqual([
      { first: 1, zero: { b: 1 }, last: 6, whole: [{ b: 1 }, 'x', [5, [6]]] },
      { first: null, zero: null, last: null, whole: 'x' },
      { first: null, zero: null, last: null, whole: { '0': 'zero', '1': 'one' } }
    ])
  })
})

describe('operands that JSON has no type for', () => {
  let subject: Subject
  const at = new Date('2026-01-02T03:04:05.678Z')
  beforeAll(async () => {
    subject = await Subject.of(
      labelled({
        same: { data: { at: '2026-01-02T03:04:05.678Z', list: ['2026-01-02T03:04:05.678Z', 5] } },
        later: { data: { at: '2026-01-02T03:04:05.679Z' } },
        otherwise: { data: { at: '2026-01-02T03:04:05.678000Z' } },
        number: { data: { at: at.getTime() } },
        integer: { data: { at: 123456789012345678901234567890n } }
      })
    )
  })
  afterAll(() => subject?.drop())

  it.each<[string, QueryCondition, string[]]>([
    ['a Date is its ISO text', { field: 'data.at', op: 'eq', value: at }, ['same']],
    ['a Date in a list', { field: 'data.at', op: 'in', value: [at, 5] }, ['same']],
    ['a Date in order', { field: 'data.at', op: 'gt', value: at }, ['later']],
    ['Dates as bounds', { field: 'data.at', op: 'between', value: [new Date(0), at] }, ['same', 'otherwise']],
    ['a Date inside JSON', { field: 'data', op: 'contains', value: { at } }, ['same']],
    ['a Date in contained JSON', { field: 'data.list', op: 'contains', value: [at] }, ['same']],
    ['a bigint', { field: 'data.at', op: 'eq', value: 123456789012345678901234567890n }, ['integer']],
    ['a bigint that a number equals', { field: 'data.at', op: 'eq', value: BigInt(at.getTime()) }, ['number']],
    ['a negative bigint', { field: 'data.at', op: 'gt', value: -5n }, ['number', 'integer']],
    [
      'a bigint inside JSON',
      { field: 'data', op: 'contains', value: { at: 123456789012345678901234567890n } },
      ['integer']
    ]
  ])('%s', async (_, condition, expected) => {
    await expectCondition(subject, condition, expected)
  })
})
