// Pipelines, as plainly as they can be said: each stage over a list of rows.
import type { Aggregate, Computed, PipelineStage, QueryCondition, QueryOrderBy } from '../../index.js'
import { bucketStart } from './bucket'
import type { Json } from './compare'
import { conditionTruth, type Locale } from './condition'
import { type FieldValue, fieldValue, isoText, micros, type Readable, type StoredEvent } from './field'
import { filterTruth } from './filter'
import { byKeys } from './order'

/** A row between stages: an event with cells beside, or cells alone. `order` tells rows apart and orders them. */
interface Row {
  event?: StoredEvent
  cells: Map<string, FieldValue>
  /** Hidden: what rows are told apart by, in the natural order. */
  keys: FieldValue[]
}

const json = (value: Json | undefined): FieldValue => ({ kind: 'json', value })
const number = (value: number | null | undefined): FieldValue => json(value ?? undefined)
type Expression = string | { literal: unknown } | Computed

export class PipelineReference {
  private rows: Row[]
  /** The order that rows are in; undefined for the natural one. */
  private sorted = false
  private bucket = false

  constructor(
    events: readonly StoredEvent[],
    private readonly locale: Locale
  ) {
    this.rows = events.map(event => ({
      event,
      cells: new Map(),
      keys: [
        { kind: 'time', value: event.timestamp },
        { kind: 'id', value: event.id }
      ]
    }))
  }

  /** Over rows that are no events, in their order. */
  static over(rows: readonly Map<string, FieldValue>[], locale: Locale) {
    const reference = new PipelineReference([], locale)
    reference.rows = rows.map((cells, i) => ({ cells, keys: [number(i)] }))
    reference.sorted = true
    return reference
  }

  run(stages: readonly PipelineStage[]): Record<string, unknown>[] {
    for (const stage of stages) this.stage(stage)
    return this.rows.map(shown)
  }

  /** Whether rows come in a known order. */
  get ordered() {
    return this.sorted
  }

  private stage(stage: PipelineStage) {
    if ('match' in stage) return this.match(stage.match as never)
    if ('having' in stage) return this.match(stage.having as never)
    if ('bucket' in stage) {
      const { bucket } = stage
      this.bucket = true
      for (const row of this.rows)
        row.cells.set('bucket', { kind: 'time', value: bucketStart(read(row, 'timestamp').value as bigint, bucket) })
      return
    }
    if ('group' in stage) return this.group(stage.group)
    if ('project' in stage) {
      this.bucket = false
      this.rows = this.rows.map(row => ({
        keys: row.keys,
        cells: new Map(Object.entries(stage.project).map(([name, value]) => [name, evaluate(value as Expression, row)]))
      }))
      return
    }
    if ('window' in stage) return this.window(stage.window)
    if ('outliers' in stage) return this.outliers(stage.outliers)
    if ('sort' in stage) {
      this.naturally()
      this.sort(stage.sort)
      this.sorted = true
      return
    }
    if ('limit' in stage || 'offset' in stage) {
      if (!this.sorted) this.naturally()
      this.sorted = true
      this.rows = 'limit' in stage ? this.rows.slice(0, stage.limit) : this.rows.slice(stage.offset)
      return
    }
    throw new Error(`the reference knows no stage ${Object.keys(stage)}`)
  }

  private match(condition: QueryCondition & Record<string, unknown>) {
    const isCondition = ['field', 'and', 'or', 'not'].some(key => key in condition)
    this.rows = this.rows.filter(row => {
      const readable = readableOf(row)
      if (isCondition) return conditionTruth(condition, readable, this.locale) === true
      const { where, ...rest } = condition
      if (where !== undefined && conditionTruth(where as never, readable, this.locale) !== true) return false
      return row.event === undefined || filterTruth(rest as never, row.event, this.locale) === true
    })
  }

  private naturally() {
    this.rows = [...this.rows].sort((a, b) => compareCells(a.keys, b.keys))
  }

  /** Stable: what is equal stays as it was. */
  private sort(keys: readonly QueryOrderBy[]) {
    const compare = byKeys(keys)
    this.rows = this.rows
      .map(row => ({ row, readable: readableOf(row) }))
      .sort((a, b) => compare(a.readable, b.readable))
      .map(({ row }) => row)
  }

  private group({ by = [], aggregates }: { by?: readonly string[]; aggregates: readonly Aggregate[] }) {
    const names = [...new Set([...(this.bucket ? ['bucket'] : []), ...by])]
    const groups: { key: FieldValue[]; rows: Row[] }[] = names.length === 0 ? [{ key: [], rows: [] }] : []
    for (const row of this.rows) {
      const key = names.map(name => withoutNull(read(row, name)))
      const known = groups.find(group => compareCells(group.key, key) === 0)
      if (known) known.rows.push(row)
      else groups.push({ key, rows: [row] })
    }
    this.rows = groups.map(({ key, rows }) => ({
      keys: key,
      cells: new Map([
        ...names.map((name, i) => [name, key[i]] as const),
        ...aggregates.map(one => [one.as as string, this.aggregate(one, rows)] as const)
      ])
    }))
    this.sorted = this.bucket
    this.bucket = false
    if (this.sorted) this.naturally()
  }

  private aggregate(one: Aggregate, all: Row[]): FieldValue {
    const { where } = one
    const rows = where ? all.filter(row => conditionTruth(where, readableOf(row), this.locale) === true) : all
    if (one.field === undefined) return number(rows.length)
    const { field } = one
    const cells = rows.map(row => withoutNull(read(row, field))).filter(cell => cell.value !== undefined)
    const values = rows.map(row => asNumber(read(row, field))).filter(value => value !== null)
    const sum = values.reduce((total, value) => total + value, 0)
    switch (one.fn) {
      case 'count':
        return number(cells.length)
      case 'countDistinct':
        return number(
          cells.filter((cell, i) => cells.findIndex(other => compareCells([other], [cell]) === 0) === i).length
        )
      case 'sum':
        return number(values.length === 0 ? null : sum)
      case 'avg':
        return number(values.length === 0 ? null : sum / values.length)
      case 'min':
        return number(values.length === 0 ? null : Math.min(...values))
      case 'max':
        return number(values.length === 0 ? null : Math.max(...values))
      case 'median':
        return number(percentile(values, 0.5))
      default:
        throw new Error(`the reference knows no ${one.fn}`)
    }
  }

  private window(call: Extract<PipelineStage, { window: unknown }>['window']) {
    const { partitionBy = [], orderBy, size = 1, field = '' } = call
    const parts: { key: FieldValue[]; rows: Row[] }[] = []
    const before = [...this.rows]
    const wasSorted = this.sorted
    if (orderBy) {
      this.naturally()
      this.sort(orderBy)
    } else if (!this.sorted) this.naturally()
    for (const row of this.rows) {
      const key = partitionBy.map(name => withoutNull(read(row, name)))
      const known = parts.find(part => compareCells(part.key, key) === 0)
      if (known) known.rows.push(row)
      else parts.push({ key, rows: [row] })
    }
    const found = new Map<Row, FieldValue>()
    for (const { rows } of parts) {
      const values = call.field === undefined ? [] : rows.map(row => asNumber(read(row, field)))
      let smooth: number | null = null
      const alpha = call.alpha ?? 2 / (size + 1)
      const order = byKeys(orderBy ?? [])
      for (const [i, row] of rows.entries()) {
        const [x, last] = [values[i] ?? null, i > 0 ? (values[i - 1] ?? null) : null]
        const delta = x === null || last === null ? null : x - last
        const upTo = (from: number) => values.slice(Math.max(0, from), i + 1).filter(v => v !== null)
        const total = (list: number[]) => list.reduce((sum, v) => sum + v, 0)
        switch (call.function) {
          case 'lag':
          case 'lead': {
            const other = rows[call.function === 'lag' ? i - size : i + size]
            found.set(row, other ? read(other, field) : ({ ...read(row, field), value: undefined } as FieldValue))
            break
          }
          case 'rowNumber':
            found.set(row, number(i + 1))
            break
          case 'rank':
            found.set(
              row,
              number(orderBy ? rows.findIndex(other => order(readableOf(other), readableOf(row)) === 0) + 1 : i + 1)
            )
            break
          case 'runningSum':
            found.set(row, number(upTo(0).length === 0 ? null : total(upTo(0))))
            break
          case 'movingAvg': {
            const list = upTo(i - size + 1)
            found.set(row, number(list.length === 0 ? null : total(list) / list.length))
            break
          }
          case 'ewma':
            if (x !== null) smooth = smooth === null ? x : alpha * x + (1 - alpha) * smooth
            found.set(row, number(smooth))
            break
          case 'delta':
            found.set(row, number(delta))
            break
          case 'rate': {
            const seconds = i > 0 ? Number(timeOf(row, orderBy) - timeOf(rows[i - 1], orderBy)) / 1e6 : 0
            found.set(row, number(delta === null || seconds === 0 ? null : delta / seconds))
            break
          }
        }
      }
    }
    this.rows = before
    this.sorted = wasSorted
    for (const row of this.rows) row.cells.set(call.as, found.get(row) as FieldValue)
  }

  private outliers({
    field,
    method,
    threshold = { mad: 3.5, iqr: 1.5, zscore: 3 }[method]
  }: Extract<PipelineStage, { outliers: unknown }>['outliers']) {
    const values = this.rows.map(row => asNumber(read(row, field))).filter(value => value !== null)
    const mean = values.reduce((sum, v) => sum + v, 0) / values.length
    const deviation = Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / (values.length - 1))
    const median = percentile(values, 0.5) ?? 0
    const distances = values.map(v => Math.abs(v - median))
    const [mad, ad] = [percentile(distances, 0.5) ?? 0, distances.reduce((sum, v) => sum + v, 0) / values.length]
    const [q1, q3] = [percentile(values, 0.25) ?? 0, percentile(values, 0.75) ?? 0]
    const score = (x: number) => {
      if (method === 'zscore') return deviation > 1e-9 ? (x - mean) / deviation : 0
      if (method === 'mad') return mad > 0 ? (0.6745 * (x - median)) / mad : ad > 0 ? (x - median) / (1.253314 * ad) : 0
      if (q1 === q3) return 0
      return x > q3 ? (x - q3) / (q3 - q1) : x < q1 ? (x - q1) / (q3 - q1) : 0
    }
    this.rows = this.rows.filter(row => {
      const x = asNumber(read(row, field))
      if (x === null) return false
      row.cells.set('score', number(score(x)))
      row.cells.set('expected', number(method === 'zscore' ? mean : median))
      return Math.abs(score(x)) > threshold
    })
  }
}

function timeOf(row: Row, orderBy: readonly QueryOrderBy[] | undefined): bigint {
  const first = orderBy?.[0]?.field
  const cell = first !== undefined && read(row, first).kind === 'time' ? read(row, first) : row.keys[0]
  return cell.value as bigint
}

function percentile(values: number[], share: number): number | null {
  if (values.length === 0) return null
  const sorted = [...values].sort((a, b) => a - b)
  const at = share * (sorted.length - 1)
  const low = sorted[Math.floor(at)]
  return low + (at - Math.floor(at)) * (sorted[Math.ceil(at)] - low)
}

function read(row: Row, name: string): FieldValue {
  const cell = row.cells.get(name)
  if (cell !== undefined) return cell
  if (row.event !== undefined) return fieldValue(row.event, name)
  throw new Error(`the reference knows no column ${name}`)
}

/** A view of a row for conditions and orders: its own cells, and those of its event. */
function readableOf(row: Row): Readable {
  const { cells } = row
  return { cells: { get: (name: string) => cells.get(name) ?? (row.event && fieldValue(row.event, name)) } as never }
}

const withoutNull = (cell: FieldValue): FieldValue =>
  cell.kind === 'json' && cell.value === null ? json(undefined) : cell

function compareCells(a: readonly FieldValue[], b: readonly FieldValue[]): number {
  const cells = (list: readonly FieldValue[]) => ({ cells: new Map(list.map((cell, i) => [String(i), cell])) })
  return byKeys(a.map((_, i) => ({ field: String(i) })))(cells(a), cells(b))
}

const asNumber = (cell: FieldValue): number | null => (typeof cell.value === 'number' ? cell.value : null)
const asString = (cell: FieldValue): string | null => (typeof cell.value === 'string' ? cell.value : null)

function anyText(cell: FieldValue): string {
  if (cell.value === undefined || cell.value === null) return ''
  if (cell.kind === 'time') return isoText(cell.value as bigint)
  return String(cell.value)
}

function evaluate(expression: Expression, row: Row): FieldValue {
  if (typeof expression === 'string') return read(row, expression)
  if ('literal' in expression) {
    const { literal } = expression
    if (literal instanceof Date) return { kind: 'time', value: micros(literal) }
    if (typeof literal === 'string') return { kind: 'text', value: literal }
    return json((literal ?? undefined) as Json | undefined)
  }
  const cells = expression.args.map(arg => evaluate(arg as Expression, row))
  const values = cells.map(asNumber)
  const numeric = (compute: (...all: number[]) => number | null) =>
    number(values.includes(null) ? null : compute(...(values as number[])))
  switch (expression.op) {
    case 'add':
      return numeric((...all) => all.reduce((a, b) => a + b))
    case 'mul':
      return numeric((...all) => all.reduce((a, b) => a * b))
    case 'sub':
      return numeric((a, b) => a - b)
    case 'div':
      return numeric((a, b) => (b === 0 ? null : a / b))
    case 'mod':
      return numeric((a, b) => (b === 0 ? null : a % b))
    case 'abs':
      return numeric(Math.abs)
    case 'floor':
      return numeric(Math.floor)
    case 'ceil':
      return numeric(Math.ceil)
    case 'round':
      return numeric((a, digits = 0) => (Math.sign(a) * Math.round(Math.abs(a) * 10 ** digits)) / 10 ** digits)
    case 'ln':
      return numeric(a => (a > 0 ? Math.log(a) : null))
    case 'coalesce': {
      const present = cells.map(withoutNull).find(cell => cell.value !== undefined) ?? json(undefined)
      const kinds = new Set(cells.map(cell => cell.kind))
      if (kinds.size === 1 || present.value === undefined) return present
      return json(present.kind === 'time' ? isoText(present.value as bigint) : (present.value as Json))
    }
    case 'concat':
      return { kind: 'text', value: cells.map(anyText).join('') }
    case 'lower':
      return { kind: 'text', value: asString(cells[0])?.toLowerCase() }
    case 'upper':
      return { kind: 'text', value: asString(cells[0])?.toUpperCase() }
    case 'length': {
      const text = asString(cells[0])
      return number(text === null ? null : [...text].length)
    }
    case 'epochMs':
      return number(cells[0].value === undefined ? null : Number(cells[0].value as bigint) / 1000)
    case 'duration':
      return number(
        cells.some(cell => cell.value === undefined)
          ? null
          : Number((cells[1].value as bigint) - (cells[0].value as bigint)) / 1000
      )
  }
}

function shown(row: Row): Record<string, unknown> {
  const event = row.event && {
    id: row.event.id,
    type: row.event.type,
    timestamp: isoText(row.event.timestamp),
    tags: row.event.tags,
    metadata: row.event.metadata,
    data: row.event.data
  }
  const cells = Array.from(row.cells, ([name, { kind, value }]) => [
    name,
    value === undefined ? null : kind === 'time' ? isoText(value as bigint) : value
  ])
  return { ...event, ...Object.fromEntries(cells) }
}

/** Whether two results are the same; numbers may differ in their last digits. */
export function sameRows(a: unknown, b: unknown): boolean {
  if (typeof a === 'number' && typeof b === 'number')
    return a === b || Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(a), Math.abs(b))
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, i) => sameRows(item, b[i]))
  if (a !== null && b !== null && typeof a === 'object' && typeof b === 'object') {
    const [left, right] = [Object.keys(a).sort(), Object.keys(b).sort()]
    return left.join('\0') === right.join('\0') && left.every(key => sameRows((a as never)[key], (b as never)[key]))
  }
  return a === b
}
