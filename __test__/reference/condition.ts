// Conditions in three-valued logic: true, false, or null for unknown.
import type { QueryCondition } from '../../index.js'
import { compareJson, compareText, containsJson, equalJson, type Json, type JsonObject, jsonType } from './compare'
import { type FieldValue, fieldValue, micros, type Readable } from './field'

export type Truth = boolean | null

/** What the database's own collation decides: which letters `ilike` takes for the same. */
export interface Locale {
  lower(text: string): string
}
export const C_LOCALE: Locale = { lower: text => text.replace(/[A-Z]/gu, letter => letter.toLowerCase()) }
export const UNICODE_LOCALE: Locale = { lower: text => text.toLowerCase() }

export const not = (truth: Truth): Truth => (truth === null ? null : !truth)

export function all(truths: readonly Truth[]): Truth {
  if (truths.includes(false)) return false
  return truths.includes(null) ? null : true
}

export function any(truths: readonly Truth[]): Truth {
  if (truths.includes(true)) return true
  return truths.includes(null) ? null : false
}

export function conditionTruth(condition: QueryCondition, event: Readable, locale: Locale): Truth {
  if ('and' in condition) return all(condition.and.map(arm => conditionTruth(arm, event, locale)))
  if ('or' in condition) return any(condition.or.map(arm => conditionTruth(arm, event, locale)))
  if ('not' in condition) return not(conditionTruth(condition.not, event, locale))
  const found = fieldValue(event, condition.field)
  if (condition.op === 'exists') return (found.value !== undefined) === (condition.value ?? true)
  if (found.value === undefined) return null
  // The column of types has a collation of its own.
  return test(found, condition.op, condition.value, condition.field === 'type' ? C_LOCALE : locale)
}

type Known = FieldValue & { value: NonNullable<unknown> | null }

function test(found: FieldValue, op: string, operand: unknown, locale: Locale): Truth {
  const known = found as Known
  const compare = (other: unknown) => comparison(known, other)
  switch (op) {
    case 'eq':
      return equals(known, operand)
    case 'ne':
      return !equals(known, operand)
    case 'in':
      return (operand as unknown[]).some(other => equals(known, other))
    case 'notIn':
      return !(operand as unknown[]).some(other => equals(known, other))
    case 'lt':
      return holds(compare(operand), order => order < 0)
    case 'lte':
      return holds(compare(operand), order => order <= 0)
    case 'gt':
      return holds(compare(operand), order => order > 0)
    case 'gte':
      return holds(compare(operand), order => order >= 0)
    case 'between': {
      const [low, high] = operand as [unknown, unknown]
      return all([holds(compare(low), order => order >= 0), holds(compare(high), order => order <= 0)])
    }
    case 'contains':
      return containsJson(known.value as Json, jsonOperand(operand))
  }
  // What is left are tests of text.
  if (typeof known.value !== 'string') return null
  const pattern = operand as string
  switch (op) {
    case 'like':
      return likePattern(pattern).test(known.value)
    case 'ilike':
      return likePattern(locale.lower(pattern)).test(locale.lower(known.value))
    case 'startsWith':
      return known.value.startsWith(pattern)
    case 'regex':
      return new RegExp(pattern, 'su').test(known.value)
  }
  throw new Error(`the reference knows no operator ${op}`)
}

const holds = (order: number | null, wanted: (order: number) => boolean): Truth =>
  order === null ? null : wanted(order)

function equals({ kind, value }: Known, operand: unknown): boolean {
  if (kind === 'json') return equalJson(value as Json, jsonOperand(operand))
  if (kind === 'time') return value === micros(operand as string | Date)
  return value === (kind === 'id' ? idOperand(operand) : operand)
}

/** The order of a value and an operand; null where they are of two JSON types. */
function comparison({ kind, value }: Known, operand: unknown): number | null {
  if (kind === 'id') return compareText(value as string, idOperand(operand))
  if (kind === 'text') return compareText(value as string, operand as string)
  if (kind === 'time') return Number((value as bigint) - micros(operand as string | Date))
  const other = jsonOperand(operand)
  return jsonType(value as Json) === jsonType(other) ? compareJson(value as Json, other) : null
}

/** Ids are compared as UUIDs, whose text is in lower case. */
const idOperand = (operand: unknown) => (operand as string).toLowerCase()

/** A Date against JSON is its ISO text, at any depth. */
export function jsonOperand(operand: unknown): Json {
  if (operand instanceof Date) return operand.toISOString()
  if (Array.isArray(operand)) return operand.map(jsonOperand)
  if (typeof operand !== 'object' || operand === null) return operand as Json
  return Object.fromEntries(Object.entries(operand).map(([key, value]) => [key, jsonOperand(value)])) as JsonObject
}

/** PostgreSQL's LIKE as a regular expression: `%`, `_`, and the backslash that takes their meaning away. */
function likePattern(pattern: string): RegExp {
  const source = pattern.replace(/\\(.)|[\s\S]/gsu, (part, escaped?: string) => {
    if (escaped !== undefined) return literal(escaped)
    return part === '%' ? '.*' : part === '_' ? '.' : literal(part)
  })
  return new RegExp(`^${source}$`, 'su')
}

export const literal = (text: string) => text.replace(/[\\^$.*+?()[\]{}|/]/gu, '\\$&')
