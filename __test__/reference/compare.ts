// How values compare: JSON by type and then as jsonb does, text by code point.

/** JSON as PostgreSQL keeps it: an integer that a double would round is a bigint. */
export type Json = null | boolean | number | bigint | string | Json[] | JsonObject
export interface JsonObject {
  [key: string]: Json
}

/** In the order of jsonb. */
const TYPES = ['null', 'string', 'number', 'boolean', 'array', 'object'] as const
export type JsonType = (typeof TYPES)[number]

export function jsonType(value: Json): JsonType {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  const type = typeof value
  return type === 'bigint' ? 'number' : (type as JsonType)
}

const sign = (difference: number) => Math.sign(difference)

/** Numbers and bigints compare with each other by their exact values. */
function compareScalars<T extends number | bigint | boolean>(a: T, b: T) {
  return a < b ? -1 : a > b ? 1 : 0
}

export function compareText(a: string, b: string): number {
  if (a === b) return 0
  const [left, right] = [Array.from(a), Array.from(b)]
  for (let i = 0; i < left.length && i < right.length; i++) {
    const difference = left[i].codePointAt(0)! - right[i].codePointAt(0)!
    if (difference !== 0) return sign(difference)
  }
  return sign(left.length - right.length)
}

/** The order of jsonb: by type, then containers by size, then by what is in them. */
export function compareJson(a: Json, b: Json): number {
  // For historical reasons an empty array that is not inside something sorts before all else.
  const [emptyA, emptyB] = [isEmptyArray(a), isEmptyArray(b)]
  if (emptyA || emptyB) return Number(emptyB) - Number(emptyA)
  return compareInside(a, b)
}

const isEmptyArray = (value: Json) => Array.isArray(value) && value.length === 0

function compareInside(a: Json, b: Json): number {
  const [typeA, typeB] = [jsonType(a), jsonType(b)]
  if (typeA !== typeB) return sign(TYPES.indexOf(typeA) - TYPES.indexOf(typeB))
  switch (typeA) {
    case 'null':
      return 0
    case 'string':
      return compareText(a as string, b as string)
    case 'array':
      return compareLists(a as Json[], b as Json[])
    case 'object':
      return compareLists(pairs(a as JsonObject), pairs(b as JsonObject))
    default:
      return compareScalars(a as number, b as number)
  }
}

function compareLists(a: readonly Json[], b: readonly Json[]): number {
  if (a.length !== b.length) return sign(a.length - b.length)
  for (let i = 0; i < a.length; i++) {
    const order = compareInside(a[i], b[i])
    if (order !== 0) return order
  }
  return 0
}

/** Key, value, key, value… as jsonb stores them: short keys first. */
function pairs(object: JsonObject): Json[] {
  const bytes = (key: string) => Buffer.from(key)
  const keys = Object.keys(object).sort(
    (a, b) => bytes(a).length - bytes(b).length || Buffer.compare(bytes(a), bytes(b))
  )
  return keys.flatMap(key => [key, object[key]])
}

export const equalJson = (a: Json, b: Json) => compareInside(a, b) === 0

const isObject = (value: Json): value is JsonObject => jsonType(value) === 'object'
const isContainer = (value: Json) => Array.isArray(value) || isObject(value)

/** `left @> right` */
export function containsJson(left: Json, right: Json): boolean {
  // The one exception: a list contains a scalar that is an element of it, at the top only.
  if (Array.isArray(left) && !isContainer(right)) return left.some(element => includes(element, right))
  return includes(left, right)
}

function includes(left: Json, right: Json): boolean {
  if (Array.isArray(right)) {
    return Array.isArray(left) && right.every(wanted => left.some(element => includes(element, wanted)))
  }
  if (isObject(right)) {
    return (
      isObject(left) && Object.keys(right).every(key => Object.hasOwn(left, key) && includes(left[key], right[key]))
    )
  }
  return !isContainer(left) && equalJson(left, right)
}
