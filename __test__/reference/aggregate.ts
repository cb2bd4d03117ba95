// Aggregated rows, as plainly as they can be said.
import type { Aggregate, EventQuery } from '../../index.js'
import { bucketStart, bucketsOf } from './bucket'
import { compareJson, compareText, equalJson, type Json } from './compare'
import { conditionTruth, type Locale } from './condition'
import { scalar } from './evaluate'
import { type FieldValue, fieldValue, isoText, micros, type StoredEvent } from './field'
import { filterTruth } from './filter'
import { byKeys } from './order'

/** A row of named values. A number that was computed is a double, one that was added up is exact where it can be. */
export interface AggregatedRow {
  cells: Map<string, FieldValue>
}

const json = (value: Json | undefined): FieldValue => ({ kind: 'json', value })
const time = (value: bigint): FieldValue => ({ kind: 'time', value })

/** The aggregated rows of a query, in the order of its keys and then of its groups. */
export function aggregate(query: EventQuery, events: readonly StoredEvent[], locale: Locale): AggregatedRow[] {
  const { timeBucket: bucket, timeWindow: window = {}, groupBy = [], aggregates = [] } = query
  const matching = events
    .filter(event => filterTruth(query.filter, event, locale) === true)
    .filter(({ timestamp }) => window.from === undefined || timestamp >= micros(window.from))
    .filter(({ timestamp }) => window.to === undefined || timestamp < micros(window.to))
    .sort(byKeys([{ field: 'timestamp' }, { field: 'id' }]))
  const groups: { key: Map<string, FieldValue>; events: StoredEvent[] }[] = []
  if (groupBy.length === 0 && !bucket) groups.push({ key: new Map(), events: matching })
  else
    for (const event of matching) {
      const key = new Map<string, FieldValue>()
      if (bucket) key.set('bucket', time(bucketStart(event.timestamp, bucket)))
      for (const field of groupBy) key.set(field, groupValue(event, field))
      const known = groups.find(group => sameKey(group.key, key))
      if (known) known.events.push(event)
      else groups.push({ key, events: [event] })
    }
  let rows = groups.map(({ key, events }) => ({
    cells: new Map([...key, ...aggregates.map(one => [nameOf(one), aggregated(one, events, locale)] as const)])
  }))
  if (bucket?.fill && bucket.fill !== 'none') rows = filled(query, rows)
  const { having } = query
  if (having) {
    const condition = 'where' in having ? having.where : having
    rows = rows.filter(row => conditionTruth(condition as never, row, locale) === true)
  }
  const keys = [...(bucket ? ['bucket'] : []), ...groupBy].map(field => ({ field }))
  return rows.sort(byKeys([...(query.orderBy ?? []), ...keys]))
}

/** Missing and JSON null share a group. */
function groupValue(event: StoredEvent, field: string): FieldValue {
  const found = fieldValue(event, field)
  return found.kind === 'json' && found.value === null ? json(undefined) : found
}

const sameKey = (a: Map<string, FieldValue>, b: Map<string, FieldValue>) =>
  [...a].every(([name, cell]) => same(cell, b.get(name) as FieldValue))

function same(a: FieldValue, b: FieldValue): boolean {
  if (a.value === undefined || b.value === undefined) return a.value === b.value
  return a.kind === 'json' ? equalJson(a.value as Json, b.value as Json) : a.value === b.value
}

export function nameOf(aggregate: Aggregate): string {
  if (aggregate.as !== undefined) return aggregate.as
  return aggregate.field === undefined ? aggregate.fn : `${aggregate.fn}_${aggregate.field.split('.').at(-1)}`
}

function aggregated(aggregate: Aggregate, all: readonly StoredEvent[], locale: Locale): FieldValue {
  const { where, field } = aggregate
  const events = where ? all.filter(event => conditionTruth(where, event, locale) === true) : all
  if (field === undefined) return json(events.length)
  const found = events.map(event => fieldValue(event, field))
  const values = found.filter(({ value }) => value !== undefined && value !== null)
  const numbers = values.filter(
    ({ kind, value }) => kind === 'json' && (typeof value === 'number' || typeof value === 'bigint')
  )
  const exact = numbers.map(({ value }) => value as number | bigint)
  const doubles = exact.map(Number)
  const sorted = [...values].sort(compareCells)
  switch (aggregate.fn) {
    case 'count':
      return json(values.length)
    case 'countDistinct':
    case 'approxCountDistinct':
      return json(sorted.filter((cell, i) => i === 0 || !same(sorted[i - 1], cell)).length)
    case 'sum':
      return json(exact.length === 0 ? undefined : sum(exact))
    case 'avg':
      return json(doubles.length === 0 ? undefined : mean(doubles))
    case 'variance':
      return json(variance(doubles))
    case 'stddev':
      return json(variance(doubles) === undefined ? undefined : Math.sqrt(variance(doubles) as number))
    case 'min':
    case 'max': {
      const isJson = found[0]?.kind === 'json'
      const candidates = (isJson ? numbers : values).sort(compareCells)
      return candidates.at(aggregate.fn === 'min' ? 0 : -1) ?? json(undefined)
    }
    case 'median':
      return json(percentile(doubles, 0.5))
    case 'percentile':
    case 'approxPercentile':
      return json(percentile(doubles, aggregate.percentile))
    case 'mode': {
      const frequency = (cell: FieldValue) => values.filter(other => same(cell, other)).length
      const most = Math.max(...sorted.map(frequency))
      return sorted.find(cell => frequency(cell) === most) ?? json(undefined)
    }
    case 'first':
      return found[0] ?? json(undefined)
    case 'last':
      return found.at(-1) ?? json(undefined)
  }
}

function compareCells(a: FieldValue, b: FieldValue): number {
  if (a.kind === 'json') return compareJson(a.value as Json, b.value as Json)
  if (a.kind === 'time') return Number((a.value as bigint) - (b.value as bigint))
  return compareText(a.value as string, b.value as string)
}

const isWhole = (n: number | bigint) => typeof n === 'bigint' || Number.isSafeInteger(n)
/** Exact where all are whole. */
const sum = (numbers: readonly (number | bigint)[]): Json =>
  numbers.every(isWhole)
    ? numbers.reduce<bigint>((total, n) => total + BigInt(n), 0n)
    : numbers.map(Number).reduce((total, n) => total + n, 0)
const mean = (numbers: readonly number[]) => numbers.reduce((total, n) => total + n, 0) / numbers.length

/** Of a sample; unknown for one. */
function variance(numbers: readonly number[]): number | undefined {
  if (numbers.length < 2) return undefined
  const middle = mean(numbers)
  return numbers.reduce((total, n) => total + (n - middle) ** 2, 0) / (numbers.length - 1)
}

/** Continuous: on the line between the two values around it. */
function percentile(numbers: readonly number[], share: number): number | undefined {
  if (numbers.length === 0) return undefined
  const sorted = [...numbers].sort((a, b) => a - b)
  const place = share * (sorted.length - 1)
  const below = sorted[Math.floor(place)]
  return below + (sorted[Math.ceil(place)] - below) * (place - Math.floor(place))
}

/** A row for each bucket of the window and each group seen in it. */
function filled(
  { timeBucket, timeWindow, groupBy = [], aggregates = [] }: EventQuery,
  rows: AggregatedRow[]
): AggregatedRow[] {
  const bucket = timeBucket as NonNullable<typeof timeBucket>
  const starts = bucketsOf(micros(timeWindow?.from ?? ''), micros(timeWindow?.to ?? ''), bucket)
  const keyOf = (row: AggregatedRow) => new Map(groupBy.map(field => [field, row.cells.get(field) as FieldValue]))
  const groups =
    groupBy.length === 0
      ? [new Map<string, FieldValue>()]
      : rows.map(keyOf).filter((key, i, all) => all.findIndex(other => sameKey(key, other)) === i)
  return groups.flatMap(key => {
    const own = rows.filter(row => sameKey(key, row.cells))
    const startOf = (row: AggregatedRow) => (row.cells.get('bucket') as { value: bigint }).value
    return starts.map(start => {
      const there = own.find(row => startOf(row) === start)
      if (there) return there
      const before = own.filter(row => startOf(row) < start).sort((a, b) => Number(startOf(b) - startOf(a)))[0]
      const behind = own.filter(row => startOf(row) > start).sort((a, b) => Number(startOf(a) - startOf(b)))[0]
      const cells = new Map([['bucket', time(start)] as const, ...key])
      for (const one of aggregates) {
        const name = nameOf(one)
        const [left, right] = [before?.cells.get(name), behind?.cells.get(name)]
        cells.set(
          name,
          fillOf(
            one,
            bucket.fill,
            left,
            right,
            () => Number(start - startOf(before)) / Number(startOf(behind) - startOf(before))
          )
        )
      }
      return { cells }
    })
  })
}

function fillOf(
  one: Aggregate,
  fill: string | undefined,
  before: FieldValue | undefined,
  behind: FieldValue | undefined,
  share: () => number
): FieldValue {
  if (one.fn === 'count' || one.fn === 'countDistinct' || one.fn === 'approxCountDistinct') return json(0)
  if (fill === 'previous') return before ?? json(undefined)
  if (!isNumeric(one)) return json(undefined)
  if (fill === 'zero') return json(0)
  if (fill !== 'linear' || before?.value === undefined || behind?.value === undefined) return json(undefined)
  const [left, right] = [Number(before.value), Number(behind.value)]
  return json(left + (right - left) * share())
}

/** Zero and the line between two values are for numbers. */
const isNumeric = ({ fn, field = '' }: Aggregate) =>
  !['mode', 'first', 'last'].includes(fn) && (!['min', 'max'].includes(fn) || /^(data|metadata)\b/u.test(field))

/** A cell as a row shows it. */
export function shownCell({ kind, value }: FieldValue): unknown {
  if (value === undefined) return null
  return kind === 'time' ? isoText(value) : scalar(value as Json)
}
