'use strict'

const { readFileSync } = require('node:fs')
const { UsageError, wholeNumber } = require('./arguments.js')
const { parseCondition } = require('./where.js')

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }
const LONG_UNITS = { millisecond: 'ms', second: 's', minute: 'm', min: 'm', hour: 'h', day: 'd', week: 'w' }

/** Flags that together say a query; `--json` says it alone. */
const QUERY_OPTIONS = Object.freeze({
  type: {
    type: 'string',
    multiple: true,
    value: 'TYPE',
    description: "event type, or 'CODE.*' for all below; any of them"
  },
  tag: { type: 'string', multiple: true, value: 'KEY=VALUE', description: 'tag; of one key any, of several keys all' },
  since: { type: 'string', value: 'TIME', description: "from this time on: 2024-05-01, an ISO time, or '7 days' ago" },
  until: { type: 'string', value: 'TIME', description: 'before this time' },
  where: {
    type: 'string',
    multiple: true,
    value: 'CONDITION',
    description: "'data.n > 5', or a condition as JSON; all of them"
  },
  select: {
    type: 'string',
    multiple: true,
    value: 'FIELDS',
    description: 'fields, with commas between: timestamp,tags.repo,data.n'
  },
  order: { type: 'string', multiple: true, value: 'FIELD[:desc]', description: 'order by this field' },
  limit: { type: 'string', value: 'N', description: 'at most so many rows' },
  offset: { type: 'string', value: 'N', description: 'leave out so many first' },
  after: { type: 'string', value: 'CURSOR', description: 'go on where an earlier answer was cut' },
  json: {
    type: 'string',
    value: 'QUERY',
    description: 'a whole EventQuery as JSON; @FILE reads it from a file, - from stdin'
  }
})

/**
 * The query that the flags say, in the contract's form. What it means is checked where every
 * query is; only what the flags' own notation needs is checked here.
 * @param {Record<string, any>} values
 * @returns {import('../../index').EventQuery}
 */
function eventQuery(values) {
  if (values.json !== undefined) return fromJson(values)
  const conditions = (values.where ?? []).map(parseCondition)
  const filter = {
    ...(values.type && { eventTypes: list(values.type) }),
    ...(values.tag && { tags: tags(values.tag) }),
    ...(values.since !== undefined && { startTime: time(values.since) }),
    ...(values.until !== undefined && { endTime: time(values.until) }),
    ...(conditions.length > 0 && { where: conditions.length === 1 ? conditions[0] : { and: conditions } })
  }
  const limit = wholeNumber(values, 'limit', 'query')
  const offset = wholeNumber(values, 'offset', 'query')
  return {
    filter,
    ...(values.select && { select: list(values.select) }),
    ...(values.order && { orderBy: list(values.order).map(order) }),
    ...(limit !== undefined && { limit }),
    ...(offset !== undefined && { offset }),
    ...(values.after !== undefined && { after: values.after })
  }
}

function fromJson(values) {
  const other = Object.keys(QUERY_OPTIONS).find(option => option !== 'json' && values[option] !== undefined)
  if (other) throw new UsageError(`--json says the whole query; put --${other} into it`, 'query')
  const text = textOf(values.json)
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new UsageError(`--json: ${error.message}`, 'query')
  }
}

function textOf(json) {
  const file = json === '-' ? 0 : json.startsWith('@') ? json.slice(1) : undefined
  if (file === undefined) return json
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new UsageError(`--json: ${error.message}`, 'query')
  }
}

/** Commas part items, but not inside brackets, where a path may have them: data["a,b"]. */
function list(values) {
  const items = values
    .flatMap(value => value.match(/(?:\[(?:"(?:[^"\\]|\\.)*"|[^\]])*\]|[^,[])+/g) ?? [])
    .map(item => item.trim())
  const some = items.filter(item => item !== '')
  if (some.length === 0) throw new UsageError('a list has nothing in it', 'query')
  return some
}

function tags(pairs) {
  const found = new Map()
  for (const pair of pairs) {
    const equals = pair.indexOf('=')
    if (equals < 1) throw new UsageError(`--tag is KEY=VALUE, not '${pair}'`, 'query')
    const key = pair.slice(0, equals)
    found.set(key, [...(found.get(key) ?? []), pair.slice(equals + 1)])
  }
  // fromEntries defines keys, so that one named __proto__ is a tag like any other.
  return Object.fromEntries(Array.from(found, ([key, values]) => [key, values.length === 1 ? values[0] : values]))
}

function order(item) {
  const [, field, direction] = /^(.+?)(?::(asc|desc))?$/.exec(item)
  return { field, ...(direction && { direction }) }
}

/** '7 days', '90m' and the like are that long ago; all else is for the query's own check. */
function time(text) {
  const ago = /^(\d+(?:\.\d+)?)\s*([a-z]+)$/.exec(text.trim())
  if (!ago) return text
  const unit = UNITS[ago[2]] ?? UNITS[LONG_UNITS[ago[2].replace(/s$/, '')]]
  const at = new Date(Date.now() - Number(ago[1]) * unit)
  if (Number.isNaN(at.getTime())) throw new UsageError(`'${text}' is not a time`, 'query')
  return at.toISOString()
}

module.exports = { QUERY_OPTIONS, eventQuery }
