'use strict'

/**
 * Several event filters as one. A member that only one filter has is kept as it is; one that
 * several have becomes conditions, for both must hold and a filter has each member once.
 * Malformed members are passed on as they are: the core says what is wrong with them.
 */

const TAGS = { issueIds: 'issueId', prIds: 'prId', userIds: 'userId', providers: 'provider', platforms: 'platform' }

const among = (field, value) => ({ field, op: 'in', value })

const AS_CONDITIONS = {
  eventIds: ids => [among('id', ids)],
  eventTypes: types => (Array.isArray(types) ? [anyType(types)] : [among('type', types)]),
  tags: tags => Object.entries(tags ?? {}).map(([key, value]) => tagCondition(key, value)),
  startTime: value => [{ field: 'timestamp', op: 'gte', value }],
  endTime: value => [{ field: 'timestamp', op: 'lt', value }],
  where: condition => [condition],
  anyOf: items => (Array.isArray(items) ? [{ or: items.map(queryItem) }] : [among('type', items)])
}
for (const [member, tag] of Object.entries(TAGS)) AS_CONDITIONS[member] = values => [among(`tags.${tag}`, values)]

function anyType(types) {
  return {
    or: types.map(type =>
      typeof type === 'string' && type.endsWith('.*')
        ? { field: 'type', op: 'startsWith', value: type.slice(0, -1) }
        : { field: 'type', op: 'eq', value: type }
    )
  }
}

function tagCondition(key, value) {
  return { field: `tags.${key}`, op: Array.isArray(value) ? 'in' : 'eq', value }
}

function queryItem(item) {
  const { types, tags } = item ?? {}
  const parts = []
  if (types !== undefined) parts.push(among('type', types))
  for (const tag of tags ?? []) {
    const at = String(tag).indexOf(':')
    parts.push(tagCondition(String(tag).slice(0, at), String(tag).slice(at + 1)))
  }
  return parts.length === 0 ? { field: 'id', op: 'exists' } : { and: parts }
}

const CONDITION_KEYS = ['field', 'op', 'and', 'or', 'not']

/** Whether an object is a condition and not an event filter. */
function isCondition(value) {
  return value !== null && typeof value === 'object' && CONDITION_KEYS.some(key => Object.hasOwn(value, key))
}

/** One filter of many parts, each a filter or a condition. */
function merged(parts) {
  const filter = {}
  const conditions = []
  for (const part of parts) {
    if (isCondition(part)) {
      conditions.push(part)
      continue
    }
    if (part === null || typeof part !== 'object' || Array.isArray(part)) return part
    for (const [member, value] of Object.entries(part)) {
      if (member === 'where' && value !== undefined) conditions.push(value)
      else if (Object.hasOwn(filter, member) && AS_CONDITIONS[member]) conditions.push(...AS_CONDITIONS[member](value))
      else filter[member] = value
    }
  }
  if (conditions.length === 1) filter.where = conditions[0]
  else if (conditions.length > 1) filter.where = { and: conditions }
  return filter
}

module.exports = { merged, isCondition }
