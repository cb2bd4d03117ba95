// Random grouped queries, answered by the database and by the reference over the same events.
import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventQuery } from '../index.js'
import { aggregate, nameOf, shownCell } from './reference/aggregate'
import { shown } from './reference/check'
import { again, each, LIMIT, seedOf } from './reference/fuzz'
import { Generator } from './reference/generate'
import { groupedQuery, spreadEvents } from './reference/generate-groups'
import { Random } from './reference/random'
import { ODD_SETTINGS, Subject } from './reference/subject'

const SEED = seedOf(20_260_103)
const EVENTS = 400
const WIDTH = 4

type Row = Record<string, unknown>

describe.each([
  { name: 'usual settings', options: {}, queries: 2000 },
  { name: 'odd settings', options: ODD_SETTINGS, queries: 400 }
])('over a database with $name', ({ options, queries }) => {
  let subject: Subject
  beforeAll(async () => {
    subject = await Subject.of(spreadEvents(new Random(SEED), EVENTS), options)
  })
  afterAll(() => subject?.drop())

  it('answers grouped queries as the reference does', { timeout: LIMIT }, async () => {
    let answered = 0
    await each(SEED, queries, 0.2, WIDTH, async number => {
      const random = new Random(number)
      const query = groupedQuery(random, new Generator(random, subject.events))
      const wrong = await check(subject, query).catch(error => String(error))
      if (wrong) throw new Error(`${again(SEED, number)}: ${shown(query)}\n${wrong}`)
      answered++
    })
    expect(answered).toBeGreaterThan(0)
  })
})

/** What differs; undefined where nothing does. */
async function check(subject: Subject, query: EventQuery): Promise<string | undefined> {
  const all = aggregate(query, subject.events, subject.locale).map(row =>
    Object.fromEntries([...row.cells].map(([name, cell]) => [name, shownCell(cell)]))
  )
  const { offset = 0, limit = Number.POSITIVE_INFINITY } = query
  const expected = all.slice(offset, offset + limit)
  const { rows, nextCursor } = await subject.client.optimizer.executeQuery<Row>(query)
  // Uncut groups without a bucket come in any order.
  const total = query.limit !== undefined || query.offset !== undefined || (query.timeBucket && !query.orderBy)
  const wrong = total
    ? differences(query, rows, expected)
    : differences(query, sorted(query, rows), sorted(query, expected))
  if (wrong || query.limit === undefined || query.offset !== undefined) return wrong
  let [left, cursor] = [all.slice(limit), nextCursor]
  while (cursor !== undefined) {
    const page: { rows: Row[]; nextCursor?: string } = await subject.client.optimizer.executeQuery<Row>({
      ...query,
      limit: 50,
      after: cursor
    })
    const off = differences(query, page.rows, left.slice(0, 50))
    if (off) return `behind the first page: ${off}`
    ;[left, cursor] = [left.slice(50), page.nextCursor]
  }
  return left.length > 0 && limit > 0 ? `no cursor, and ${left.length} rows are left` : undefined
}

const keysOf = ({ timeBucket, groupBy = [] }: EventQuery) => [...(timeBucket ? ['bucket'] : []), ...groupBy]
/** Text that is the same whatever order the members of objects come in. */
const text = (value: unknown) =>
  JSON.stringify(value, (_, member) => {
    if (typeof member === 'bigint') return Number(member)
    if (typeof member !== 'object' || member === null || Array.isArray(member)) return member
    return Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
  })
const sorted = (query: EventQuery, rows: readonly Row[]) => {
  const key = (row: Row) =>
    keysOf(query)
      .map(name => text(row[name]))
      .join()
  return [...rows].sort((a, b) => (key(a) < key(b) ? -1 : 1))
}

function differences(query: EventQuery, rows: readonly Row[], expected: readonly Row[]): string | undefined {
  if (rows.length !== expected.length) return `${rows.length} rows, expected ${expected.length}`
  const interpolated = query.timeBucket?.fill === 'linear'
  const columns = [...keysOf(query), ...(query.aggregates ?? []).map(nameOf)]
  for (const [i, row] of rows.entries())
    for (const name of columns)
      if (!alike(row[name], expected[i]?.[name], interpolated))
        return `row ${i}, ${name}: ${shown(row[name])}, expected ${shown(expected[i]?.[name])}`
  return undefined
}

/** Whole numbers to the last digit, unless they lie on a line between others; doubles to nine. */
function alike(a: unknown, b: unknown, interpolated: boolean): boolean {
  const isNumber = (value: unknown) => typeof value === 'number' || typeof value === 'bigint'
  if (!isNumber(a) || !isNumber(b)) return isDeepStrictEqual(a, b)
  if (typeof a === 'bigint' && typeof b === 'bigint' && !interpolated) return a === b
  const [left, right] = [Number(a), Number(b)]
  return Math.abs(left - right) <= 1e-9 * Math.max(1, Math.abs(left), Math.abs(right))
}
