// Fields: what a path names, and its value in an event.
import type { Json, JsonObject } from './compare'

/** An event as the reference holds it; `createdAt` is a column that rows show when it is selected. */
export interface StoredEvent {
  id: string
  type: string
  /** Microseconds since 1970. */
  timestamp: bigint
  createdAt: bigint
  tags: Record<string, string>
  metadata: JsonObject
  data: JsonObject
}

/** A value with the way it compares; `value` is undefined where the event has none. */
export type FieldValue =
  | { kind: 'id'; value: string }
  | { kind: 'text'; value: string | undefined }
  | { kind: 'time'; value: bigint | undefined }
  | { kind: 'json'; value: Json | undefined }

/** What conditions and orders read: an event, or a row of named values. */
export type Readable = StoredEvent | { cells: ReadonlyMap<string, FieldValue> }

export function fieldValue(event: Readable, field: string): FieldValue {
  if ('cells' in event) {
    const cell = event.cells.get(field)
    if (cell === undefined) throw new Error(`the reference knows no column ${field}`)
    return cell
  }
  switch (field) {
    case 'id':
      return { kind: 'id', value: event.id }
    case 'type':
      return { kind: 'text', value: event.type }
    case 'timestamp':
    case 'createdAt':
      return { kind: 'time', value: event[field] }
    case 'tags':
    case 'metadata':
    case 'data':
      return { kind: 'json', value: event[field] }
  }
  if (field.startsWith('tags.')) {
    const key = field.slice('tags.'.length)
    return { kind: 'text', value: Object.hasOwn(event.tags, key) ? event.tags[key] : undefined }
  }
  const { column, steps } = path(field)
  return { kind: 'json', value: steps.reduce(step, event[column] as Json | undefined) }
}

interface Path {
  column: 'metadata' | 'data'
  steps: readonly (string | number)[]
}

const STEP = /\.([^.[]+)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]/suy
const paths = new Map<string, Path>()

/** `.key`, `[n]` and `["any.key"]` behind the column, as keys and indexes. */
function path(field: string): Path {
  const known = paths.get(field)
  if (known !== undefined) return known
  const [column] = /^(?:metadata|data)(?=[.[])/u.exec(field) ?? []
  if (column === undefined) throw new Error(`the reference knows no field ${field}`)
  const steps: (string | number)[] = []
  STEP.lastIndex = column.length
  while (STEP.lastIndex < field.length) {
    const match = STEP.exec(field)
    if (match === null) throw new Error(`the reference cannot read the path ${field}`)
    const [, key, index, quoted] = match
    steps.push(key ?? (index === undefined ? (JSON.parse(quoted) as string) : Number(index)))
  }
  const made = { column: column as Path['column'], steps }
  paths.set(field, made)
  return made
}

/** Keys are of objects and indexes of lists; all else leads nowhere. */
function step(value: Json | undefined, by: string | number): Json | undefined {
  if (typeof by === 'number') return Array.isArray(value) ? value[by] : undefined
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  return Object.hasOwn(value, by) ? value[by] : undefined
}

/** ISO 8601 with a zone, or a date alone, as microseconds since 1970. */
export function micros(time: string | Date): bigint {
  const text = time instanceof Date ? time.toISOString() : time
  const [, seconds, fraction = '', zone = 'Z'] =
    /^(\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d)?)?)(?:\.(\d{1,6}))?(Z|[+-]\d\d:\d\d)?$/u.exec(text) ?? []
  if (seconds === undefined) throw new Error(`the reference cannot read the time ${text}`)
  const whole = Date.parse(seconds.length === 10 ? seconds : `${seconds}${zone}`)
  return BigInt(whole) * 1000n + BigInt(fraction.padEnd(6, '0'))
}

/** As rows show it: 3 fraction digits, or 6 where there are microseconds. */
export function isoText(at: bigint): string {
  const below = ((at % 1000n) + 1000n) % 1000n
  const text = new Date(Number((at - below) / 1000n)).toISOString()
  return below === 0n ? text : text.replace('Z', `${below.toString().padStart(3, '0')}Z`)
}
