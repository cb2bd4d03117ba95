'use strict'

/**
 * The caller's values as JSON text for the core, checked on the way: what JSON would drop or bend
 * (undefined, NaN, lone surrogates, functions) is refused with its path, and what JSON has no type
 * for is marked. A mark is an object whose only key begins with U+0000, which no key of a
 * caller's may contain.
 */

const { types } = require('node:util')
const { EventsError } = require('./errors.js')

const MAX_DEPTH = 100
/** Beyond what the core takes: it says where the limit is, this stops at what contains itself. */
const MAX_EVENT_DEPTH = 1100
/** Steps of a path in an error. */
const SHOWN_STEPS = 48

function shownPath(trail) {
  let text = ''
  for (const step of trail.slice(0, SHOWN_STEPS)) {
    if (typeof step === 'number') text += `[${step}]`
    else text += text === '' ? step : `.${step}`
  }
  return trail.length > SHOWN_STEPS ? `${text}…` : text
}

/** Whether it is an object as `{}` writes it: nothing that the slower questions are about. */
function isLiteral(value) {
  return Object.getPrototypeOf(value) === Object.prototype && value.toJSON === undefined
}

/** Walks a value; gives it back as it was where JSON can say it, else a copy with marks. */
class Encoder {
  constructor(code, root, maxDepth = MAX_DEPTH) {
    this.code = code
    this.trail = root
    this.maxDepth = maxDepth
  }

  fail(problem) {
    const path = shownPath(this.trail)
    throw new EventsError(this.code, path === '' ? problem : `${path}: ${problem}`, { path: path || undefined })
  }

  value(value) {
    switch (typeof value) {
      case 'string':
        if (!value.isWellFormed()) this.fail('contains half of a surrogate pair, which is no character')
        return value
      case 'boolean':
        return value
      case 'number':
        if (!Number.isFinite(value)) this.fail(`is ${value}, which JSON cannot say`)
        return value
      case 'bigint':
        return { '\0n': value.toString() }
      case 'object':
        return value === null ? null : this.object(value)
      case 'undefined':
        return this.fail('is undefined: leave it out, or give a value')
      default:
        return this.fail(`is a ${typeof value}`)
    }
  }

  object(value) {
    if (this.trail.length > this.maxDepth) this.fail('is nested too deep, or contains itself')
    if (Array.isArray(value)) return this.list(value)
    if (isLiteral(value)) return this.members(value)
    if (types.isDate(value)) {
      if (Number.isNaN(value.getTime())) this.fail('is an invalid Date')
      return { '\0t': value.toISOString() }
    }
    if (typeof value.toJSON === 'function') {
      const plain = value.toJSON()
      // Once, as JSON.stringify has it: an object may give itself.
      return plain === null || typeof plain !== 'object' ? this.value(plain) : this.plain(plain)
    }
    return this.plain(value)
  }

  plain(value) {
    if (Array.isArray(value)) return this.list(value)
    if (
      types.isMap(value) ||
      types.isSet(value) ||
      types.isBoxedPrimitive(value) ||
      ArrayBuffer.isView(value) ||
      types.isPromise(value)
    ) {
      this.fail('must be a plain value')
    }
    return this.members(value)
  }

  list(items) {
    let copy = items
    for (let i = 0; i < items.length; i++) {
      this.trail.push(i)
      const item = this.value(items[i])
      this.trail.pop()
      if (item !== items[i] && copy === items) copy = items.slice()
      if (copy !== items) copy[i] = item
    }
    return copy
  }

  members(object) {
    let copy = object
    for (const key of Object.keys(object)) {
      this.trail.push(key)
      if (key.includes('\0')) this.fail('has U+0000 in its key, which PostgreSQL cannot store')
      if (!key.isWellFormed()) this.fail('has half of a surrogate pair in its key')
      const value = object[key]
      const wired = this.value(value)
      this.trail.pop()
      if (wired !== value && copy === object) copy = { ...object }
      if (copy !== object) setOwn(copy, key, wired)
    }
    return copy
  }
}

/** Sets a member even where it is called `__proto__`. */
function setOwn(object, key, value) {
  if (key === '__proto__') {
    Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true })
  } else {
    object[key] = value
  }
}

/** A query, or a part of one, as JSON text. */
function encodeQuery(query, root = []) {
  const wired = new Encoder('INVALID_QUERY', root).value(query)
  const named = root.length === 0 ? query?.selectAs : undefined
  if (named === undefined) return JSON.stringify(wired)
  if (named === null || typeof named !== 'object' || Array.isArray(named) || types.isDate(named)) {
    throw new EventsError('INVALID_QUERY', 'selectAs: must be an object of names and fields', { path: 'selectAs' })
  }
  // The core's objects have no order, and a row's keys should have the caller's.
  return JSON.stringify({ ...wired, selectAs: Object.entries(wired.selectAs) })
}

/** Text of one JSON value of an event, where `undefined` members are left out as JSON does. */
class EventEncoder extends Encoder {
  members(object) {
    const defined = Object.values(object).includes(undefined)
      ? Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined))
      : object
    return super.members(defined)
  }

  object(value) {
    // Inside an event a Date is its ISO text, as JSON.stringify has it.
    if (types.isDate(value) && !Number.isNaN(value.getTime())) return value.toISOString()
    return super.object(value)
  }

  value(value) {
    if (typeof value === 'bigint') this.fail('is a bigint, which JSON cannot say: pass a number or a string')
    return super.value(value)
  }
}

/** Events as JSON text. */
function encodeEvents(events, root = ['events']) {
  return JSON.stringify(new EventEncoder('INVALID_EVENT', root, MAX_EVENT_DEPTH).value(events))
}

/**
 * A deep copy of what a caller handed over, so that later changes do not reach it. What contains
 * itself is left as it is there: the encoder refuses it.
 */
function copied(value, above = []) {
  if (value === null || typeof value !== 'object' || above.length > MAX_DEPTH || above.includes(value)) return value
  const inside = [...above, value]
  if (Array.isArray(value)) return value.map(item => copied(item, inside))
  if (types.isDate(value)) return new Date(value.getTime())
  const prototype = Object.getPrototypeOf(value)
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) return value
  const copy = {}
  for (const key of Object.keys(value)) setOwn(copy, key, copied(value[key], inside))
  return copy
}

/** What JSON has no type for, as the core marks it. */
function unmarked(_key, value) {
  if (value === null || typeof value !== 'object') return value
  if (Object.hasOwn(value, '\0t')) return new Date(value['\0t'])
  if (Object.hasOwn(value, '\0n')) return BigInt(value['\0n'])
  return value
}

/** A query as the core gives it back, as callers write it. */
function decodeQuery(wired) {
  const query = JSON.parse(JSON.stringify(wired), unmarked)
  return Array.isArray(query.selectAs) ? { ...query, selectAs: Object.fromEntries(query.selectAs) } : query
}

module.exports = { encodeQuery, encodeEvents, decodeQuery, copied, setOwn }
