'use strict'

const { oneOf, UsageError, wholeNumber } = require('../arguments.js')
const { CONNECTION_OPTIONS, withClient } = require('../connection.js')
const { bytes } = require('../../monitor/html.js')
const { tableLines } = require('../table.js')
const { count, duration, plural, printable } = require('../text.js')

/** What can be done, each by a flag of its own. */
const ACTIONS = ['invalidate', 'table', 'key', 'all', 'warm', 'prune']

/** @type {import('../commands.js').Command} */
module.exports = {
  summary: 'Shows the answers that the database keeps, and forgets, warms or prunes them',
  usage: [
    '[--limit N] [--format table|json] [options]',
    '--invalidate GLOB | --table NAME | --key KEY | --all [options]',
    '--warm | --prune [options]'
  ],
  options: {
    invalidate: { type: 'string', value: 'GLOB', description: 'forget what has such a key or cache tag' },
    table: { type: 'string', value: 'NAME', description: 'forget the answers read from a table' },
    key: { type: 'string', value: 'KEY', description: 'forget what is kept under a key' },
    all: { type: 'boolean', description: 'forget all answers from the event table' },
    warm: { type: 'boolean', description: 'bring the answers of most use up to date' },
    prune: { type: 'boolean', description: 'remove what has expired' },
    redis: { type: 'string', value: 'URL', description: 'where processes share answers, to forget them there too' },
    limit: { type: 'string', value: 'N', description: 'at most so many answers (default: 20)' },
    format: { type: 'string', short: 'f', value: 'FORMAT', description: 'table (default) or json' },
    ...CONNECTION_OPTIONS
  },
  notes: [
    'Clients with cache: { persistent: true } keep answers in the table query_cache. What is forgotten here is',
    'forgotten in all processes that cache, in their memory too.'
  ].join('\n'),
  examples: [
    ['', 'what is kept, the most used first'],
    ["--invalidate 'dashboard:*'", 'forget by cache tag, everywhere']
  ],

  async run({ values, io, signal }) {
    const format = oneOf(values, 'format', ['table', 'json'], 'cache')
    const limit = wholeNumber(values, 'limit', 'cache') ?? 20
    const actions = ACTIONS.filter(action => values[action] !== undefined)
    if (actions.length > 1) throw new UsageError(`--${actions[0]} and --${actions[1]} exclude each other`, 'cache')
    for (const option of ['invalidate', 'table', 'key', 'redis'])
      if (values[option] === '') throw new UsageError(`--${option} needs a value`, 'cache')
    const connect = {
      cache: { persistent: values.warm === true },
      ...(values.redis !== undefined && { redis: values.redis })
    }
    await withClient(values, { signal, command: 'cache', connect }, async client => {
      if (actions.length === 1) return await act(client, actions[0], values, io)
      const seen = await entries(client, limit, signal)
      if (format === 'json') return await io.out.line(JSON.stringify(seen, null, 2))
      await show(seen, io)
    })
  }
}

async function act({ cache }, action, values, io) {
  const value = values[action]
  if (action === 'warm') {
    await cache.warmup()
    const { hits, deltas, misses } = await cache.getCacheStats()
    return await io.err.line(
      `warmed ${plural(hits + deltas + misses, 'answer')}: ${count(hits)} true, ${count(deltas)} brought up to date, ${count(misses)} read anew`
    )
  }
  if (action === 'prune') {
    await cache.optimize()
    return await io.err.line('removed what had expired')
  }
  if (values.redis !== undefined) await connected(cache)
  const forget = {
    invalidate: () => cache.invalidateByPattern(value),
    table: () => cache.invalidateByTable(value),
    key: () => cache.delete(value),
    all: () => cache.clear()
  }
  await forget[action]()
  const { peers, redis } = await cache.getCacheStats()
  if (peers.untold > 0) throw new Error('the other processes could not be told: the database did not answer')
  if (redis.enabled && redis.errors > 0) throw new Error('Redis could not be told: it did not answer in time')
  await io.err.line('forgotten, here and in the other processes')
}

/** Redis is connected to in the background: a command waits a moment for it. */
async function connected(cache) {
  const { setTimeout: sleep } = require('node:timers/promises')
  for (let i = 0; i < 100; i++) {
    if ((await cache.getCacheStats()).redis.connected) return
    await sleep(50)
  }
  throw new Error('Redis cannot be reached')
}

/** What the table keeps. */
async function entries(client, limit, signal) {
  try {
    const { rows } = await client.sql`
      SELECT query_key AS key, (result_data->>'rows')::float8 AS rows, pg_column_size(result_data) AS bytes,
        (result_data->>'cost')::float8 AS cost, hit_count AS hits,
        hit_count * (result_data->>'cost')::float8 AS saved, result_data->'tags' AS tags,
        extract(epoch FROM now() - coalesce(last_accessed, created_at))::float8 AS idle,
        expires_at <= now() AS expired, result_data->>'query' AS query
      FROM query_cache ORDER BY saved DESC NULLS LAST, last_accessed DESC LIMIT ${limit}::int`.execute({ signal })
    const { rows: totals } = await client.sql`
      SELECT count(*)::int AS entries, coalesce(sum(pg_column_size(result_data)), 0)::float8 AS bytes,
        coalesce(sum(hit_count), 0)::float8 AS hits, count(*) FILTER (WHERE expires_at <= now())::int AS expired
      FROM query_cache`.execute({ signal })
    return { ...totals[0], top: rows }
  } catch (error) {
    if (error.sqlState !== '42P01') throw error
    throw new Error('there is no query_cache in this database: connect({ migrate: true }) makes it', { cause: error })
  }
}

async function show({ top, ...all }, { out, style }) {
  const width = out.isTTY ? (out.columns ?? 80) : 200
  const lines = [
    style.bold(
      `${plural(all.entries, 'answer')}, ${bytes(all.bytes)}, taken up ${plural(all.hits, 'time')}, ${count(all.expired)} expired`
    ),
    ...tableLines(
      top.map(one => ({
        hits: count(one.hits),
        saved: duration(one.saved ?? 0),
        cost: duration(one.cost ?? 0),
        rows: count(one.rows ?? 0),
        size: bytes(one.bytes),
        idle: duration(one.idle * 1000),
        key: one.key,
        tags: printable((Array.isArray(one.tags) ? one.tags : []).join(', ')),
        query: printable(one.query ?? '')
      })),
      { width }
    )
  ]
  await out.write(`${lines.join('\n')}\n`)
}
