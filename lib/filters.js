'use strict'

/**
 * Several event filters as one. A member that only one filter has is kept as it is; of one that
 * several have, all but one become conditions, for all must hold and a filter has each member once.
 *
 * Nothing is refused here: the core says what is wrong, and where. So a member that conditions
 * would bend into something well-formed stays a member, whatever the order of the filters.
 */

const { setOwn } = require('./wire.js')

const TAGS = { issueIds: 'issueId', prIds: 'prId', userIds: 'userId', providers: 'provider', platforms: 'platform' }

const among = (field, value) => ({ field, op: 'in', value })
const isObject = value => value !== null && typeof value === 'object' && !Array.isArray(value)
const isList = (value, isItem) => Array.isArray(value) && value.length > 0 && value.every(isItem)
const isString = value => typeof value === 'string'

/** `startTime` and `endTime` as one member: the core checks them together. */
const TIME = Symbol('time')

/**
 * What each member means as conditions, and when it is `sound`: where that is left out, the
 * conditions are refused whenever the member is.
 */
const MEMBERS = new Map([
  ['eventIds', { conditions: ids => [among('id', ids)] }],
  ['eventTypes', { conditions: types => [{ or: types.map(ofType) }], sound: types => isList(types, isTypeOrPrefix) }],
  ['tags', { conditions: tags => Object.entries(tags).map(ofTag), sound: areTags }],
  [TIME, { conditions: inTime, sound: ({ startTime, endTime }) => !(new Date(startTime) > new Date(endTime)) }],
  ['anyOf', { conditions: items => [{ or: items.map(ofItem) }], sound: items => isList(items, isItem) }]
])
for (const [member, tag] of Object.entries(TAGS))
  MEMBERS.set(member, { conditions: values => [among(`tags.${tag}`, values)] })

function isTypeOrPrefix(type) {
  return isString(type) && /^[^*]+(\.\*)?$/u.test(type)
}

function ofType(type) {
  return type.endsWith('.*')
    ? { field: 'type', op: 'startsWith', value: type.slice(0, -1) }
    : { field: 'type', op: 'eq', value: type }
}

function areTags(tags) {
  return isObject(tags) && Object.keys(tags).every(key => key !== '')
}

function ofTag([key, value]) {
  return { field: `tags.${key}`, op: Array.isArray(value) ? 'in' : 'eq', value }
}

function inTime(time) {
  return Object.entries(time).map(([key, value]) => ({
    field: 'timestamp',
    op: key === 'startTime' ? 'gte' : 'lt',
    value
  }))
}

function isItem(item) {
  if (!isObject(item) || Object.keys(item).some(key => key !== 'types' && key !== 'tags')) return false
  const { types, tags } = item
  return (
    (!('types' in item) || isList(types, type => isString(type) && !type.endsWith('.*'))) &&
    (!('tags' in item) || isList(tags, tag => isString(tag) && tag.indexOf(':') > 0))
  )
}

function ofItem({ types, tags = [] }) {
  const parts = types === undefined ? [] : [among('type', types)]
  for (const tag of tags) {
    const colon = tag.indexOf(':')
    parts.push(ofTag([tag.slice(0, colon), tag.slice(colon + 1)]))
  }
  return parts.length === 0 ? { field: 'id', op: 'exists' } : { and: parts }
}

const CONDITION_KEYS = ['field', 'op', 'and', 'or', 'not']

/** Whether an object is a condition and not an event filter. */
function isCondition(value) {
  return value !== null && typeof value === 'object' && CONDITION_KEYS.some(key => Object.hasOwn(value, key))
}

/** The members of a filter, with its times as one. */
function* membersOf(filter) {
  const times = Object.entries(filter).filter(([key]) => key === 'startTime' || key === 'endTime')
  if (times.length > 0) yield [TIME, Object.fromEntries(times)]
  for (const [key, value] of Object.entries(filter)) if (key !== 'startTime' && key !== 'endTime') yield [key, value]
}

/** One filter of many parts, each a filter or a condition. */
function merged(parts) {
  if (parts.every(isCondition)) return parts.length === 0 ? {} : { where: allOf(parts) }
  const kept = new Map()
  const conditions = []
  for (const part of parts) {
    if (isCondition(part)) {
      conditions.push(part)
      continue
    }
    if (!isObject(part)) return part
    for (const [member, value] of membersOf(part)) {
      if (member === 'where') conditions.push(value)
      else add(member, value)
    }
  }
  if (conditions.length > 0) kept.set('where', allOf(conditions))
  const filter = { ...kept.get(TIME) }
  for (const [member, value] of kept) if (member !== TIME) setOwn(filter, member, value)
  return filter

  function add(member, value) {
    const meaning = MEMBERS.get(member)
    if (!kept.has(member) || meaning === undefined) return kept.set(member, value)
    const before = kept.get(member)
    const isSound = meaning.sound ?? (() => true)
    if (member === TIME && isDisjoint(before, value) && isSound({ ...before, ...value })) {
      kept.set(TIME, { ...before, ...value })
    } else if (isSound(value)) {
      conditions.push(...meaning.conditions(value))
    } else if (isSound(before)) {
      conditions.push(...meaning.conditions(before))
      kept.set(member, value)
    }
  }
}

const allOf = conditions => (conditions.length === 1 ? conditions[0] : { and: conditions })
const isDisjoint = (a, b) => Object.keys(a).every(key => !Object.hasOwn(b, key))

module.exports = { merged, isCondition }
