// How the flags of `tamma-events query` become a query.
import { describe, expect, test } from 'vitest'
import { eventQuery } from '../lib/cli/event-query.js'
import { parseCondition } from '../lib/cli/where.js'

describe('--where', () => {
  test.each([
    ['data.n>5', { field: 'data.n', op: 'gt', value: 5 }],
    ['data.n >= -1.5e3', { field: 'data.n', op: 'gte', value: -1500 }],
    ['data.n=null', { field: 'data.n', op: 'eq', value: null }],
    ['data.ok == true', { field: 'data.ok', op: 'eq', value: true }],
    ['data.name != Ada Lovelace', { field: 'data.name', op: 'ne', value: 'Ada Lovelace' }],
    ['data.name = "5"', { field: 'data.name', op: 'eq', value: '5' }],
    ['data.name = ""', { field: 'data.name', op: 'eq', value: '' }],
    ['data.a<>b<c', { field: 'data.a', op: 'ne', value: 'b<c' }],
    ['tags.prId=12', { field: 'tags.prId', op: 'eq', value: '12' }],
    ['tags.prId="12"', { field: 'tags.prId', op: 'eq', value: '12' }],
    ['tags.prId in [1,"2"]', { field: 'tags.prId', op: 'in', value: ['1', '2'] }],
    ['tags.true=true', { field: 'tags.true', op: 'eq', value: 'true' }],
    [
      'timestamp between ["2024-01-01","2024-02-01"]',
      { field: 'timestamp', op: 'between', value: ['2024-01-01', '2024-02-01'] }
    ],
    ['type ^= CODE.', { field: 'type', op: 'startsWith', value: 'CODE.' }],
    ['data.x ~ ^\\d+$', { field: 'data.x', op: 'regex', value: '^\\d+$' }],
    ['data.x like 10%', { field: 'data.x', op: 'like', value: '10%' }],
    ['data.x regex 42', { field: 'data.x', op: 'regex', value: '42' }],
    ['data.files[0].name exists', { field: 'data.files[0].name', op: 'exists' }],
    ['tags.prId exists false', { field: 'tags.prId', op: 'exists', value: false }],
    ['data["a key.with = signs"] > 1', { field: 'data["a key.with = signs"]', op: 'gt', value: 1 }],
    ['data.languages @> {"rust":1}', { field: 'data.languages', op: 'contains', value: { rust: 1 } }],
    ['data.c++-x>1', { field: 'data.c++-x', op: 'gt', value: 1 }],
    [' {"not":{"field":"type","op":"eq","value":"A.B.C"}} ', { not: { field: 'type', op: 'eq', value: 'A.B.C' } }]
  ])('%s', (text, condition) => {
    expect(parseCondition(text)).toEqual(condition)
  })

  test.each([
    ['', /expected FIELD OPERATOR VALUE/],
    ['> 5', /expected FIELD OPERATOR VALUE/],
    ['data.n', /after data\.n expected one of/],
    ['data.n is 5', /after data\.n expected one of/],
    ['data.n >', /expected a value/],
    ['{"and": [', /starts like JSON/]
  ])('%s is not understood', (text, message) => {
    expect(() => parseCondition(text)).toThrow(message)
  })
})

describe('flags', () => {
  test('none filter nothing', () => {
    expect(eventQuery({})).toEqual({ filter: {} })
  })

  test('all of them', () => {
    expect(
      eventQuery({
        type: ['CODE.*,PR.MERGED.SUCCESS', 'RELEASE.*'],
        tag: ['repo=acme/shop', 'area=src', 'area=lib', 'note=a=b', '__proto__=x'],
        since: '2024-01-01',
        until: '2024-02-01T00:00:00Z',
        where: ['data.n>5', 'data.ok=true'],
        select: ['timestamp, tags.repo', 'data["a,b"]', 'data.files[0]'],
        order: ['timestamp:desc,tags.repo', 'data.n:asc'],
        limit: '10',
        offset: '0',
        after: 'cursor'
      })
    ).toEqual({
      filter: {
        eventTypes: ['CODE.*', 'PR.MERGED.SUCCESS', 'RELEASE.*'],
        tags: JSON.parse('{"repo":"acme/shop","area":["src","lib"],"note":"a=b","__proto__":"x"}'),
        startTime: '2024-01-01',
        endTime: '2024-02-01T00:00:00Z',
        where: {
          and: [
            { field: 'data.n', op: 'gt', value: 5 },
            { field: 'data.ok', op: 'eq', value: true }
          ]
        }
      },
      select: ['timestamp', 'tags.repo', 'data["a,b"]', 'data.files[0]'],
      orderBy: [
        { field: 'timestamp', direction: 'desc' },
        { field: 'tags.repo' },
        { field: 'data.n', direction: 'asc' }
      ],
      limit: 10,
      offset: 0,
      after: 'cursor'
    })
  })

  test.each([
    ['7 days', 7 * 86_400_000],
    ['90m', 90 * 60_000],
    ['1.5 hours', 5_400_000],
    ['2w', 14 * 86_400_000],
    ['10 minutes', 600_000]
  ])('--since %s is that long ago', (since, ago) => {
    const { startTime } = eventQuery({ since }).filter
    expect(Math.abs(Date.now() - ago - Date.parse(startTime as string))).toBeLessThan(5000)
  })

  test.each([
    [{ tag: ['repo'] }, /KEY=VALUE/],
    [{ tag: ['=x'] }, /KEY=VALUE/],
    [{ limit: '1.5' }, /whole number/],
    [{ limit: '-1' }, /whole number/],
    [{ select: [','] }, /nothing in it/],
    [{ since: '5 fortnights' }, /is not a time/],
    [{ json: '{' }, /--json/],
    [{ json: '@/nowhere/at.all' }, /ENOENT/],
    [{ json: '{}', limit: '5' }, /--json says the whole query/]
  ])('%j is not understood', (values, message) => {
    expect(() => eventQuery(values)).toThrow(message)
  })

  test('--json is taken as it is', () => {
    const query = { filter: { eventTypes: ['A.*'] }, limit: 3 }
    expect(eventQuery({ json: JSON.stringify(query) })).toEqual(query)
  })
})
