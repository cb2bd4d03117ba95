'use strict'

const { EventsError } = require('../errors.js')

/** How each member of an EventQuery is said to a builder, which checks what it is given. */
const MEMBERS = {
  filter: (builder, filter) => builder.where(filter),
  from: (builder, table) => builder.from(table),
  joins: each((builder, { table, ...condition }) => builder.join(table, condition)),
  select: (builder, fields) => builder.select(fields),
  groupBy: (builder, fields) => builder.groupBy(fields),
  aggregates: each((builder, aggregate) => builder.aggregate(aggregate)),
  timeWindow: (builder, window) => builder.timeWindow(window),
  timeBucket: (builder, { interval, ...options }) => builder.timeBucket(interval, options),
  having: (builder, condition) => builder.having(condition),
  orderBy: each((builder, { field, ...order }) => builder.orderBy(field, order)),
  limit: (builder, count) => builder.limit(count),
  offset: (builder, count) => builder.offset(count),
  after: (builder, cursor) => builder.after(cursor),
  pattern: (builder, pattern) => builder.pattern(pattern),
  sequence: (builder, sequence) => builder.sequence(sequence),
  hints: (builder, hints) => builder.hint(hints)
}

/** For a member that is a list, which a builder takes one by one. */
function each(add) {
  return (builder, items, path) => {
    if (!Array.isArray(items)) throw invalid(path, 'must be a list')
    return items.reduce((before, item, at) => {
      if (item === null || typeof item !== 'object') throw invalid(`${path}[${at}]`, 'must be an object')
      return add(before, item)
    }, builder)
  }
}

/**
 * An EventQuery as a builder, which also streams batches.
 * @param {import('../../index').EventsClient} client
 * @param {import('../../index').EventQuery} query
 */
function builderOf(client, query) {
  if (query === null || typeof query !== 'object' || Array.isArray(query)) {
    throw new EventsError('INVALID_QUERY', 'a query is an object')
  }
  let builder = client.query()
  for (const [member, value] of Object.entries(query)) {
    if (member === 'id') continue
    if (!Object.hasOwn(MEMBERS, member)) throw invalid(member, 'is no member of a query')
    if (member === 'timeBucket' && (value === null || typeof value !== 'object'))
      throw invalid(member, 'must be an object')
    builder = MEMBERS[member](builder, value, member)
  }
  return builder
}

function invalid(path, reason) {
  return new EventsError('INVALID_QUERY', `${path} ${reason}`, { path })
}

module.exports = { builderOf }
