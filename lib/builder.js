'use strict'

/**
 * The fluent builder: collects an `EventQuery`, step by step. Each call gives a new builder, so a
 * prefix can be shared. Nothing is judged before the query is run or shown: the core then checks
 * the whole of it, and errors name paths of `toQuery()`.
 */

const { EventsError, unwrap } = require('./errors.js')
const { merged } = require('./filters.js')
const { exportRows } = require('./export.js')
const { explain } = require('./plan.js')
const { Call, execute } = require('./run.js')
const { RowStream } = require('./stream.js')
const { copied, encodeQuery } = require('./wire.js')

const DEFAULT_BATCH = 1000

class QueryBuilder {
  /** The connection to the core, shared by all builders of a client. */
  #client
  #parts
  #query
  #refusal
  #call

  constructor(client, parts = [], query = {}, refusal = undefined) {
    this.#client = client
    this.#parts = parts
    this.#query = query
    this.#refusal = refusal
  }

  #with(member, value) {
    const query = Object.assign({}, this.#query) // a spread makes objects that are slow to add to
    query[member] = value
    return this.#of(query)
  }

  #of(query, parts = this.#parts) {
    return new QueryBuilder(this.#client, parts, query, this.#refusal)
  }

  #add(member, items) {
    const { [member]: before = [] } = this.#query
    // What is no list stays, for the core to refuse.
    return this.#with(member, Array.isArray(before) ? before.concat(items) : before)
  }

  select(fields) {
    if (Array.isArray(fields))
      return fields.length === 0 ? this.#with('select', []) : this.#add('select', copied(fields))
    if (fields === null || typeof fields !== 'object') return this.#with('select', fields)
    const named = this.#query.selectAs ?? {}
    for (const [name, field] of Object.entries(fields)) {
      if (Object.hasOwn(named, name) && named[name] !== field)
        return this.#refused(`selectAs.${name}`, 'is taken by another field')
    }
    return this.#with('selectAs', { ...named, ...fields })
  }

  /** A builder whose every run fails: this call contradicts an earlier one. */
  #refused(path, problem) {
    const builder = this.#of(this.#query)
    builder.#refusal = { path, problem }
    return builder
  }

  where(first, op, ...value) {
    const part = op === undefined && value.length === 0 ? copied(first) : condition(first, op, value)
    return this.#of(this.#query, this.#parts.concat([part]))
  }

  from(table) {
    return this.#with('from', table)
  }

  join(table, condition) {
    return this.#add('joins', [isPlain(condition) ? { table, ...copied(condition) } : condition])
  }

  groupBy(fields) {
    const isList = Array.isArray(fields) && fields.length > 0
    return isList ? this.#add('groupBy', copied(fields)) : this.#with('groupBy', fields)
  }

  having(first, op, ...value) {
    const part = op === undefined && value.length === 0 ? copied(first) : condition(first, op, value)
    const { having: before } = this.#query
    return this.#with('having', before === undefined ? part : { and: [before, part] })
  }

  count(field, as) {
    return this.#aggregate('count', field, as)
  }

  sum(field, as) {
    return this.#aggregate('sum', field, as)
  }

  avg(field, as) {
    return this.#aggregate('avg', field, as)
  }

  min(field, as) {
    return this.#aggregate('min', field, as)
  }

  max(field, as) {
    return this.#aggregate('max', field, as)
  }

  #aggregate(fn, field, as) {
    const aggregate = { fn, field, as }
    for (const member of ['field', 'as']) if (aggregate[member] === undefined) delete aggregate[member]
    return this.#add('aggregates', [aggregate])
  }

  aggregate(aggregate) {
    return this.#add('aggregates', [copied(aggregate)])
  }

  timeWindow(window) {
    return this.#with('timeWindow', copied(window))
  }

  timeBucket(interval, options = {}) {
    return this.#with('timeBucket', isPlain(options) ? { interval, ...copied(options) } : options)
  }

  sequence(sequence) {
    return this.#with('sequence', copied(sequence))
  }

  pattern(pattern) {
    return this.#with('pattern', copied(pattern))
  }

  orderBy(field, direction) {
    const key = direction !== null && typeof direction === 'object' ? { field, ...direction } : { field, direction }
    for (const member of ['direction', 'nulls']) if (key[member] === undefined) delete key[member]
    return this.#add('orderBy', [key])
  }

  limit(count) {
    return this.#with('limit', count)
  }

  offset(count) {
    return this.#with('offset', count)
  }

  after(cursor) {
    if (cursor !== undefined) return this.#with('after', cursor)
    const { after: _, ...rest } = this.#query
    return this.#of(rest)
  }

  since(token) {
    return this.#with('since', token ?? null)
  }

  hint(hint) {
    const { hints } = this.#query
    if (hints !== undefined && !isObject(hints)) return this
    return this.#with('hints', isObject(hint) ? { ...hints, ...copied(hint) } : hint)
  }

  cache(hint = true) {
    return this.hint({ cache: typeof hint === 'number' || typeof hint === 'string' ? { maxStaleness: hint } : hint })
  }

  parallel(workers) {
    return this.hint(workers === undefined ? { parallel: true } : { parallel: true, workers })
  }

  timeout(milliseconds) {
    return this.hint({ timeout: milliseconds })
  }

  /** The call to the core; made once, since a builder never changes. */
  #compiled() {
    this.#call ??= new Call(this.#client.native, encodeQuery(this.#written()), { bigints: this.#client.bigints })
    return this.#call
  }

  async execute(options) {
    return await execute(this.#compiled(), options)
  }

  async executeFirst(options) {
    const { rows } = await this.limit(Math.min(1, this.#query.limit ?? 1)).execute(options)
    return rows[0]
  }

  executeStream(options) {
    return new RowStream(() => this.#compiled(), options)
  }

  executeBatches(options) {
    const size = options?.batchSize ?? this.#query.hints?.batchSize ?? DEFAULT_BATCH
    return new RowStream(() => this.#compiled(), options, size)
  }

  async explain(options) {
    return await explain(this.#compiled(), options)
  }

  async export(options) {
    const { text } = this.#compiled()
    return await exportRows(this.#client.exporter, `"query":${text}`, options)
  }

  toQuery() {
    return copied(this.#written())
  }

  /** The query, of which parts are shared with other builders. */
  #written() {
    if (this.#refusal !== undefined) {
      const { path, problem } = this.#refusal
      throw new EventsError('INVALID_QUERY', `${path}: ${problem}`, { path })
    }
    return Object.assign({ filter: merged(this.#parts) }, this.#query)
  }

  toSQL() {
    return unwrap(this.#client.native.compile(this.#compiled().text))
  }
}

const isObject = value => value !== null && typeof value === 'object'
const isPlain = value => isObject(value) && !Array.isArray(value)

/** A condition of the three-argument form. `exists` may go without a value. */
function condition(field, op, value) {
  if (value.length > 1)
    throw new EventsError('INVALID_QUERY', 'where takes a field, an operator and one value', { path: 'where' })
  const given = value.length === 1 && !(op === 'exists' && value[0] === undefined)
  return given ? { field, op, value: copied(value[0]) } : { field, op }
}

module.exports = { QueryBuilder }
