// A query over a list of events, as plainly as it can be said.
import type { EventQuery, QueryOrderBy } from '../../index.js'
import type { Json, JsonObject } from './compare'
import type { Locale } from './condition'
import { fieldValue, isoText, type StoredEvent } from './field'
import { filterTruth } from './filter'
import { byKeys, totalOrder } from './order'

/** The events that a query answers with, in order; without a limit their order may be partial. */
export function evaluate(query: EventQuery, events: readonly StoredEvent[], locale: Locale): StoredEvent[] {
  const { offset = 0, limit = Number.POSITIVE_INFINITY } = query
  const matching = events.filter(event => filterTruth(query.filter, event, locale) === true)
  return matching.sort(orderOf(query)).slice(offset, offset + limit)
}

export const isPaged = (query: EventQuery) =>
  query.limit !== undefined || query.offset !== undefined || query.after !== undefined

export const orderOf = (query: EventQuery) => (isPaged(query) ? totalOrder : byKeys)(sortKeys(query))

/** A name that a field was selected under wins over a column. */
function sortKeys({ orderBy = [], selectAs = {} }: EventQuery): QueryOrderBy[] {
  return orderBy.map(key => (Object.hasOwn(selectAs, key.field) ? { ...key, field: selectAs[key.field] } : key))
}

/** The row of an event: the whole of it, or the fields selected under the names they have. */
export function rowOf(event: StoredEvent, { select, selectAs }: EventQuery): Record<string, unknown> {
  const paths = select ?? (selectAs ? [] : ['id', 'type', 'timestamp', 'tags', 'metadata', 'data'])
  const fields = [...paths.map(path => [path, path]), ...Object.entries(selectAs ?? {})]
  return Object.fromEntries(fields.map(([name, field]) => [name, shown(event, field)]))
}

function shown(event: StoredEvent, field: string): unknown {
  const { kind, value } = fieldValue(event, field)
  if (value === undefined) return null
  if (kind === 'time') return isoText(value)
  return kind === 'json' && /[.[]/u.test(field) ? scalar(value) : document(value as Json)
}

/** With `bigint: 'bigint'`, an integer that is selected itself comes as it is. */
export function scalar(value: Json): unknown {
  if (typeof value === 'bigint') return value
  const beyond = typeof value === 'number' && Number.isInteger(value) && Math.abs(value) > 2 ** 53
  return beyond ? integer(value) : document(value)
}

/** PostgreSQL keeps the decimal digits that a double is written with. */
function integer(value: number): bigint {
  const [, sign, whole, fraction = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:e\+(\d+))?$/u.exec(String(value))!
  return BigInt(`${sign}${whole}${fraction}${'0'.repeat(Number(exponent) - fraction.length)}`)
}

/** Inside a document numbers are what `JSON.parse` makes of them. */
function document(value: Json): unknown {
  if (typeof value === 'bigint') return Number(value)
  if (Array.isArray(value)) return value.map(document)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value as JsonObject).map(([key, member]) => [key, document(member)]))
}
