// One query, asked of the database and of the reference.
import { isDeepStrictEqual } from 'node:util'
import type { EventFilter, EventQuery, QueryCondition } from '../../index.js'
import { all, conditionTruth } from './condition'
import { evaluate, isPaged, orderOf, rowOf } from './evaluate'
import type { StoredEvent } from './field'
import { filterTruth } from './filter'
import type { Random } from './random'
import type { Subject } from './subject'

type Row = Record<string, unknown>

/** What differs between the database's answer and the reference's; undefined where nothing does. */
export async function checkQuery(subject: Subject, given: EventQuery, random: Random): Promise<string | undefined> {
  // Rows are told apart by their id.
  const query = withId(given)
  const { offset = 0, limit = Number.POSITIVE_INFINITY } = query
  const matching = evaluate(
    { ...query, offset: isPaged(query) ? 0 : undefined, limit: undefined },
    subject.events,
    subject.locale
  )
  const expected = matching.slice(offset, offset + limit)
  if (random.chance(0.25)) return difference(query, await streamed(subject, query, random), expected)
  const { rows, rowCount, nextCursor } = await subject.client.optimizer.executeQuery<Row>(query)
  if (rowCount !== rows.length) return `rowCount is ${rowCount} for ${rows.length} rows`
  const wrong = difference(query, rows, expected)
  if (wrong) return wrong
  if (query.limit !== undefined) return checkPages(subject, query, nextCursor, matching.slice(offset + limit), random)
  return nextCursor && 'a result that is not cut has a cursor'
}

function withId(query: EventQuery): EventQuery {
  const { select, selectAs } = query
  if ((!select && !selectAs) || select?.includes('id')) return query
  return { ...query, select: [...(select ?? []), 'id'] }
}

async function streamed({ client }: Subject, query: EventQuery, random: Random): Promise<Row[]> {
  const rows: Row[] = []
  if (random.chance(0.5)) {
    for await (const row of client.optimizer.executeQueryStream<Row>(query)) rows.push(row)
    return rows
  }
  const batchSize = 1 + random.int(300)
  for await (const batch of built(client.query(), query).executeBatches({ batchSize }))
    rows.push(...(batch as unknown as Row[]))
  return rows
}

/** The same query by the builder's calls. */
function built(builder: ReturnType<Subject['client']['query']>, query: EventQuery) {
  let next = builder.where(query.filter)
  for (const { field, ...key } of query.orderBy ?? []) next = next.orderBy(field as 'id', key)
  if (query.limit !== undefined) next = next.limit(query.limit)
  if (query.offset !== undefined) next = next.offset(query.offset)
  if (query.select) next = next.select(query.select as ['id']) as unknown as typeof next
  if (query.selectAs) next = next.select(query.selectAs as Record<string, 'id'>) as unknown as typeof next
  return next
}

/** Follows the cursors to the end, by pages of other sizes. */
async function checkPages(
  subject: Subject,
  given: EventQuery,
  first: string | undefined,
  behind: StoredEvent[],
  random: Random
) {
  const { offset: _, limit: size = 0, ...query } = given
  let left = behind
  let cursor = first
  let pages = 0
  while (cursor !== undefined) {
    const limit = pages++ < 4 ? 1 + random.int(size + 3) : subject.events.length
    const page: { rows: Row[]; nextCursor?: string } = await subject.client.optimizer.executeQuery<Row>({
      ...query,
      limit,
      after: cursor
    })
    const wrong = difference({ ...query, limit }, page.rows, left.slice(0, limit))
    if (wrong) return `page ${pages + 1}: ${wrong}`
    left = left.slice(limit)
    cursor = page.nextCursor
  }
  return left.length > 0 && size > 0 ? `page ${pages + 1}: no cursor, and ${left.length} events are left` : undefined
}

function difference(query: EventQuery, rows: readonly Row[], expected: readonly StoredEvent[]): string | undefined {
  if (rows.length !== expected.length)
    return `${rows.length} rows, expected ${expected.length}: ${oddOnes(rows, expected)}`
  const events = new Map(expected.map(event => [event.id, event]))
  const order = orderOf(query)
  let before: StoredEvent | undefined
  for (const [i, row] of rows.entries()) {
    const event = isPaged(query) ? expected[i] : events.get(row.id as string)
    if (event === undefined) return `row ${i} is ${row.id}, which does not match`
    const wanted = rowOf(event, query)
    if (!isDeepStrictEqual(row, wanted)) return `row ${i} is ${shown(row)}, expected ${shown(wanted)}`
    if (before !== undefined && order(before, event) > 0)
      return `row ${i} (${row.id}) stands behind one that is greater`
    events.delete(event.id)
    before = event
  }
  return undefined
}

/** Some of those that only one side has. */
function oddOnes(rows: readonly Row[], expected: readonly StoredEvent[]): string {
  const [got, wanted] = [new Set(rows.map(row => row.id)), new Set<unknown>(expected.map(event => event.id))]
  const extra = [...got].filter(id => !wanted.has(id)).slice(0, 3)
  const missing = expected.filter(event => !got.has(event.id)).slice(0, 3)
  return shown({ extra, missing })
}

/**
 * Ternary logic partitioning: `p`, `not p` and the rest make up all events, each for those events for which the
 * reference calls `p` true, false and unknown.
 */
export async function checkPartition(subject: Subject, condition: QueryCondition): Promise<string | undefined> {
  const ids = async (where: QueryCondition) => {
    const { rows } = await subject.client.optimizer.executeQuery<{ id: string }>({ filter: { where }, select: ['id'] })
    return new Set(rows.map(row => row.id))
  }
  const [holds, fails] = await Promise.all([ids(condition), ids({ not: condition })])
  for (const event of subject.events) {
    const truth = conditionTruth(condition, event, subject.locale)
    const answered = holds.has(event.id) ? (fails.has(event.id) ? 'both' : true) : fails.has(event.id) ? false : null
    if (answered !== truth) return `is ${answered} for ${shown(event)}, expected ${truth}`
  }
  return undefined
}

/** Several filters by several calls of `where`: all of them hold. */
export async function checkMerged(
  subject: Subject,
  filters: readonly (EventFilter | QueryCondition)[]
): Promise<string | undefined> {
  const builder = filters.reduce((built, filter) => built.where(filter), subject.client.query())
  const { rows } = await builder.select(['id']).execute()
  const truth = (filter: EventFilter | QueryCondition, event: StoredEvent) =>
    'field' in filter || 'and' in filter || 'or' in filter || 'not' in filter
      ? conditionTruth(filter, event, subject.locale)
      : filterTruth(filter, event, subject.locale)
  const expected = subject.events.filter(event => all(filters.map(filter => truth(filter, event))) === true)
  const got = new Set(rows.map(row => row.id))
  if (got.size === expected.length && expected.every(event => got.has(event.id))) return undefined
  return `${got.size} rows, expected ${expected.length}: ${oddOnes(rows, expected)}`
}

export const shown = (value: unknown) =>
  JSON.stringify(value, (_, member) => (typeof member === 'bigint' ? `${member}n` : member))
