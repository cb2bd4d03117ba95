'use strict'

const { UsageError } = require('./arguments.js')

const PATH = /^[A-Za-z_]\w*(?:\.[^\s.=!<>~^@[\]"]+|\[\d+\]|\["(?:[^"\\]|\\.)*"\])*/
/** Longest first, as '<' also starts '<='. */
const SIGNS = {
  '!=': 'ne',
  '<>': 'ne',
  '<=': 'lte',
  '>=': 'gte',
  '==': 'eq',
  '^=': 'startsWith',
  '@>': 'contains',
  '=': 'eq',
  '<': 'lt',
  '>': 'gt',
  '~': 'regex'
}
const WORDS = [
  'eq',
  'ne',
  'lt',
  'lte',
  'gt',
  'gte',
  'in',
  'notIn',
  'between',
  'like',
  'ilike',
  'startsWith',
  'regex',
  'exists',
  'contains'
]
const TEXT_OPERATORS = new Set(['like', 'ilike', 'startsWith', 'regex'])
/** Fields that are never numbers, so that `tags.prId=12` means the text. */
const TEXT_FIELD = /^(?:id|type|timestamp|createdAt|tags\..+|tags\[.+)$/

/**
 * `data.n > 5`, `tags.area in ["src","lib"]`, `data.languages.rust exists`, or a condition of the
 * contract as JSON. It is read into the contract's form only: fields and values are checked where
 * every query is.
 * @param {string} text
 * @returns {import('../../index').QueryCondition}
 */
function parseCondition(text) {
  const source = text.trim()
  if (source.startsWith('{')) return json(source, text)
  const field = PATH.exec(source)?.[0]
  if (field === undefined) throw problem(text, 'expected FIELD OPERATOR VALUE')
  const rest = source.slice(field.length).trimStart()
  const sign = Object.keys(SIGNS).find(candidate => rest.startsWith(candidate))
  if (sign) return condition(text, field, SIGNS[sign], rest.slice(sign.length).trim())
  const word = /^\w+/.exec(rest)?.[0]
  if (!WORDS.includes(word)) {
    throw problem(text, `after ${field} expected one of ${Object.keys(SIGNS).join(' ')} or ${WORDS.join(', ')}`)
  }
  return condition(text, field, word, rest.slice(word.length).trim())
}

function condition(text, field, op, operand) {
  if (operand === '') {
    if (op === 'exists') return { field, op }
    throw problem(text, `after the operator expected a value; empty text is written ""`)
  }
  return { field, op, value: value(field, op, operand) }
}

/** JSON where it is JSON, else text. */
function value(field, op, operand) {
  const parsed = tryJson(operand)
  const wantsText = TEXT_OPERATORS.has(op) || (TEXT_FIELD.test(field) && op !== 'exists')
  if (!wantsText) return parsed === undefined ? operand : parsed
  if (Array.isArray(parsed)) return parsed.map(item => (typeof item === 'number' ? String(item) : item))
  return typeof parsed === 'string' || parsed === null ? parsed : operand
}

function tryJson(text) {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function json(source, text) {
  const parsed = tryJson(source)
  if (parsed === undefined) throw problem(text, 'it starts like JSON and is none')
  return parsed
}

function problem(text, reason) {
  return new UsageError(`--where ${text}: ${reason}`, 'query')
}

module.exports = { parseCondition }
