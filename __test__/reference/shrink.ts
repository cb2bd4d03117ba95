// Makes a failing query smaller, so that what is wrong with it can be seen.
import type { EventFilter, EventQuery, QueryCondition } from '../../index.js'

/** The smallest query found by leaving parts out, one at a time, that still fails. */
export async function shrink(query: EventQuery, fails: (query: EventQuery) => Promise<boolean>): Promise<EventQuery> {
  let smallest = query
  for (let budget = 150; budget > 0; ) {
    let smaller: EventQuery | undefined
    for (const candidate of smallerQueries(smallest)) {
      if (budget-- <= 0 || (await fails(candidate))) {
        smaller = budget > 0 ? candidate : undefined
        break
      }
    }
    if (smaller === undefined) return smallest
    smallest = smaller
  }
  return smallest
}

function* smallerQueries(query: EventQuery): Generator<EventQuery> {
  const { filter, ...rest } = query
  for (const key of Object.keys(rest)) yield without(query, key as keyof EventQuery)
  for (const key of Object.keys(filter)) yield { ...query, filter: without(filter, key as keyof EventFilter) }
  if (filter.where)
    for (const where of smallerConditions(filter.where)) yield { ...query, filter: { ...filter, where } }
  for (const key of ['orderBy', 'select'] as const) {
    const list = query[key] ?? []
    if (list.length > 1) for (const i of list.keys()) yield { ...query, [key]: list.filter((_, at) => at !== i) }
  }
}

function without<T extends object>(object: T, key: keyof T): T {
  const { [key]: _, ...rest } = object
  return rest as T
}

/** Its parts, and itself with smaller parts. */
export function* smallerConditions(condition: QueryCondition): Generator<QueryCondition> {
  if ('not' in condition) {
    yield condition.not
    for (const inner of smallerConditions(condition.not)) yield { not: inner }
    return
  }
  for (const key of ['and', 'or'] as const) {
    const arms = (condition as Record<string, readonly QueryCondition[] | undefined>)[key]
    if (arms === undefined) continue
    yield* arms
    const join = (list: QueryCondition[]) => ({ [key]: list }) as unknown as QueryCondition
    for (const [i, arm] of arms.entries()) {
      if (arms.length > 1) yield join(arms.filter((_, at) => at !== i))
      for (const smaller of smallerConditions(arm)) yield join(arms.map((other, at) => (at === i ? smaller : other)))
    }
  }
}
