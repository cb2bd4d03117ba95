// The order of events.
import type { QueryOrderBy } from '../../index.js'
import { compareJson, compareText, type Json } from './compare'
import { type FieldValue, fieldValue, type Readable } from './field'

export type Comparator = (a: Readable, b: Readable) => number

/** By the keys given, one after the other; 0 where none of them tells two events apart. */
export function byKeys(keys: readonly QueryOrderBy[]): Comparator {
  const comparators = keys.map(byKey)
  return (a, b) => {
    for (const compare of comparators) {
      const order = compare(a, b)
      if (order !== 0) return order
    }
    return 0
  }
}

/** Where rows are cut or continued the order is total: (timestamp, id), or the id behind the keys. */
export function totalOrder(keys: readonly QueryOrderBy[] = []): Comparator {
  const given = keys.length === 0 ? [{ field: 'timestamp' }] : keys
  return byKeys([...given, { field: 'id' }])
}

/** Missing values are greatest, as in PostgreSQL, unless `nulls` says where they go. */
function byKey({ field, direction = 'asc', nulls }: QueryOrderBy): Comparator {
  const backwards = direction === 'desc'
  const nullsFirst = nulls === undefined ? backwards : nulls === 'first'
  return (a, b) => {
    const [left, right] = [fieldValue(a, field), fieldValue(b, field)]
    const [noLeft, noRight] = [left.value === undefined, right.value === undefined]
    if (noLeft && noRight) return 0
    if (noLeft || noRight) return noLeft === nullsFirst ? -1 : 1
    const order = compareKnown(left.kind, left.value, right.value)
    return backwards ? -order : order
  }
}

function compareKnown(kind: FieldValue['kind'], a: unknown, b: unknown): number {
  if (kind === 'text' || kind === 'id') return compareText(a as string, b as string)
  if (kind === 'time') return (a as bigint) < (b as bigint) ? -1 : (a as bigint) > (b as bigint) ? 1 : 0
  return compareJson(a as Json, b as Json)
}
