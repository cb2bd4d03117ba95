'use strict'

/**
 * The report: one page that needs nothing but itself. It has no script, and its policy forbids the
 * browser to load anything.
 */

const { latencyChart, loadChart } = require('./chart.js')
const { bytes, count, duration, escaped, table } = require('./html.js')

const STYLE = `
:root { color-scheme: light dark; --ink: #1c2330; --dim: #667085; --paper: #fff; --card: #f6f7f9; --line: #e3e6eb; --p50: #2f6fde; --p95: #d97706; --max: #b9c0cc; --bad: #d92d20; --good: #16803c }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --dim: #98a2b3; --paper: #12151b; --card: #1b2029; --line: #2b323e; --p50: #6ea0ff; --p95: #f5a742; --max: #4a5364; --bad: #ff7366; --good: #4ade80 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1180px; margin: 2rem auto; padding: 0 1.25rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2.25rem 0 .5rem } p, .dim { color: var(--dim); margin: .25rem 0 }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(140px, 1fr)); gap: .75rem; margin: 1.25rem 0 }
.tile { background: var(--card); border-radius: 8px; padding: .7rem .9rem } .tile b { display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums } .tile span { color: var(--dim); font-size: .85rem }
ul.problems { color: var(--bad); padding-left: 1.2rem } .good { color: var(--good) }
svg { width: 100%; height: auto; display: block } svg text { fill: var(--dim); font-size: 11px } .grid { stroke: var(--line) }
polyline { fill: none; stroke-width: 1.8; stroke-linejoin: round } polyline.p50 { stroke: var(--p50) } polyline.p95 { stroke: var(--p95) } polyline.max { stroke: var(--max) }
circle.p50 { fill: var(--p50) } circle.p95 { fill: var(--p95) } circle.max { fill: var(--max) } rect.runs { fill: var(--p50); opacity: .75 } rect.errors { fill: var(--bad) }
.key i { display: inline-block; width: .8rem; height: .8rem; border-radius: 3px; margin: 0 .35rem 0 1rem; vertical-align: -1px }
.scroll { overflow-x: auto } table { border-collapse: collapse; width: 100%; font-size: .88rem } th, td { text-align: left; padding: .4rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; white-space: nowrap }
th { color: var(--dim); font-weight: 600 } .n { text-align: right; font-variant-numeric: tabular-nums } td.code { white-space: normal; min-width: 220px } td.names { white-space: normal; min-width: 100px } td.bad { color: var(--bad); font-weight: 600 } code { font: .82rem/1.45 ui-monospace, monospace; overflow-wrap: anywhere }`

/** @typedef {import('../../index').FingerprintStats} FingerprintStats */
/** @typedef {import('../../index').QueryStats} QueryStats */
/**
 * @typedef {object} ReportData
 * @property {string} title
 * @property {string} about one line
 * @property {readonly string[]} problems
 * @property {readonly (readonly [string, string])[]} tiles names and values
 * @property {readonly import('./chart.js').Slot[]} slots
 * @property {number} slotSeconds
 * @property {readonly Omit<FingerprintStats, 'errors'>[]} fingerprints
 * @property {readonly Partial<QueryStats>[]} running
 * @property {readonly Partial<QueryStats>[]} slow
 * @property {readonly (import('../../index').PlanChange & { queryText?: string })[]} [changes] where plans are followed
 * @property {readonly import('../../index').IndexAnalysis[]} [indexes]
 * @property {import('../../index').CacheStats} [cache]
 * @property {readonly { at: string, by: string, action: string, index: string, reason: string }[]} [decisions]
 */

const QUERY = [
  { name: 'query id', of: row => row.queryId },
  { name: 'started', of: row => row.startedAt.replace('T', ' ').replace(/\.\d+Z$/, '') },
  { name: 'status', of: row => (row.error ? `${row.status}: ${row.error}` : row.status) },
  { name: 'time', kind: 'number', of: row => duration(row.executionTime) },
  { name: 'rows', kind: 'number', needs: 'rowsReturned', of: row => count(row.rowsReturned) },
  { name: 'statement', kind: 'code', of: row => row.queryText }
]
const FINGERPRINT = [
  { name: 'calls', kind: 'number', of: row => count(row.calls) },
  { name: 'total', kind: 'number', of: row => duration(row.totalTime) },
  { name: 'mean', kind: 'number', of: row => duration(row.meanTime) },
  { name: 'p95', kind: 'number', of: row => duration(row.p95) },
  { name: 'p99', kind: 'number', of: row => duration(row.p99) },
  { name: 'max', kind: 'number', of: row => duration(row.maxTime) },
  { name: 'rows', kind: 'number', of: row => count(row.rows) },
  { name: 'errors', kind: 'number', needs: 'errors', of: row => count(row.errors) },
  {
    name: 'from the cache',
    kind: 'number',
    needs: 'cacheHitRate',
    of: row => (row.cacheHitRate > 0 ? share(row.cacheHitRate) : '–')
  },
  {
    name: 'indexes',
    needs: 'indexesUsed',
    kind: 'names',
    of: row => row.indexesUsed.join(', ') || (row.planHashes?.length ? 'none' : '–')
  },
  {
    name: 'plans',
    kind: 'number',
    needs: 'planHashes',
    of: row => (row.planHashes.length > 0 ? count(row.planHashes.length) : '–')
  },
  { name: 'statement', kind: 'code', of: row => row.queryText }
]

const share = part => `${Math.round(part * 1000) / 10} %`
const short = hash => hash.slice(0, 8)
const mean = value => (value > 0 ? duration(value) : '–')
const CHANGE = [
  { name: 'noticed', of: row => row.at.slice(0, 19).replace('T', ' ') },
  { name: 'cause', kind: 'names', of: row => (row.detail ? `${row.cause}: ${row.detail}` : row.cause) },
  { name: 'mean', kind: 'number', of: row => `${mean(row.meanBefore)} → ${mean(row.meanAfter)}` },
  { name: 'regression', kind: 'names', of: verdict, tone: row => (row.regression ? 'bad' : undefined) },
  { name: 'plan', of: row => `${short(row.from)} → ${short(row.to)}` },
  { name: 'statement', kind: 'code', of: row => row.queryText ?? row.fingerprint }
]

/** What the runs have shown so far. */
function verdict({ regression, meanAfter, pinned }) {
  const runs = regression ? 'yes' : meanAfter > 0 ? 'none shown' : 'no run since'
  return pinned ? `${runs}; pinned now` : runs
}

const INDEX = [
  { name: 'index', of: row => row.name },
  { name: 'size', kind: 'number', of: row => bytes(row.sizeBytes) },
  { name: 'scans', kind: 'number', of: row => count(row.scans) },
  { name: 'last used', of: row => row.lastUsed?.slice(0, 16).replace('T', ' ') ?? '' },
  { name: 'empty', kind: 'number', of: row => `${Math.round(row.bloatRatio * 100)} %` },
  { name: 'verdict', of: row => row.verdict },
  { name: 'why', of: row => row.reasons.join('; ') },
  { name: 'definition', kind: 'code', of: row => row.definition }
]
const DECISION = [
  { name: 'when', of: row => row.at.slice(0, 19).replace('T', ' ') },
  { name: 'by', of: row => row.by },
  { name: 'what', of: row => row.action },
  { name: 'index', of: row => row.index },
  { name: 'why', kind: 'code', of: row => row.reason }
]

const KEY =
  '<p class="key"><i style="background:var(--p50)"></i>median<i style="background:var(--p95)"></i>95th percentile<i style="background:var(--max)"></i>longest</p>'

/** The columns that there is something for. */
const columnsOf = (columns, [first]) => columns.filter(({ needs }) => needs === undefined || first[needs] !== undefined)

function section(title, rows, body, none) {
  return `<h2>${escaped(title)}</h2>\n${rows.length === 0 ? `<p>${escaped(none)}</p>` : body()}`
}

const TIER = [
  { name: 'tier', of: row => row.name },
  { name: 'hits', kind: 'number', of: row => count(row.hits) },
  { name: 'misses', kind: 'number', of: row => count(row.misses) },
  { name: 'errors', kind: 'number', of: row => count(row.errors), tone: row => (row.errors > 0 ? 'bad' : undefined) },
  { name: 'state', kind: 'names', of: row => row.state }
]

/** What the cache kept, and what that was good for. */
function cacheSection(cache) {
  const { hits, deltas, misses, redis, table: kept, peers } = cache
  const asked = hits + deltas + misses
  const figures = [
    ['from the cache', share(cache.hitRate)],
    ['true · brought up to date · read anew', [hits, deltas, misses].map(count).join(' · ')],
    ['database time saved', `${duration(cache.savedTime)} (${share(cache.costSavingsRatio)})`],
    ['answers in memory', count(cache.entries)],
    ['memory · limit', `${bytes(cache.memoryBytes)} · ${bytes(cache.maxMemoryBytes)}`],
    [
      'made room · too large · forgotten',
      [cache.evictions, cache.rejected, cache.invalidations].map(count).join(' · ')
    ],
    ['waited for another', count(cache.coalesced)],
    ['refreshed ahead', count(cache.refreshes)]
  ]
  const tiers = [
    redis.enabled && { ...redis, name: 'Redis', state: redis.connected ? 'connected' : 'not connected' },
    kept.enabled && { ...kept, name: 'query_cache', state: kept.problem ?? `${count(kept.written)} written` }
  ].filter(Boolean)
  const tile = ([name, value]) => `<div class="tile"><b>${escaped(value)}</b><span>${escaped(name)}</span></div>`
  const body = () =>
    `<div class="tiles">\n${figures.map(tile).join('\n')}\n</div>\n${tiers.length > 0 ? table(tiers, TIER) : ''}` +
    `<p>${peers.listening ? 'Hears what other processes forget.' : 'Does not hear what other processes forget.'}</p>`
  return section('Cache', asked > 0 ? [cache] : [], body, 'No query has asked for it.')
}

/** @param {ReportData} data */
function page({
  title,
  about,
  problems,
  tiles,
  slots,
  slotSeconds,
  fingerprints,
  running,
  slow,
  changes,
  indexes,
  decisions = [],
  cache
}) {
  const tile = ([name, value]) => `<div class="tile"><b>${escaped(value)}</b><span>${escaped(name)}</span></div>`
  const health =
    problems.length === 0
      ? '<p class="good">No problems.</p>'
      : `<ul class="problems">${problems.map(problem => `<li>${escaped(problem)}</li>`).join('')}</ul>`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${escaped(title)}</h1>
<p>${escaped(about)}</p>
${health}
<div class="tiles">
${tiles.map(tile).join('\n')}
</div>
${section('Latency over time (UTC)', slots, () => `${latencyChart(slots, slotSeconds)}\n${KEY}`, 'No query has ended yet.')}
${slots.length === 0 ? '' : `<h2>Queries each ${slotSeconds} seconds</h2>\n${loadChart(slots, slotSeconds)}`}
${section('What took the most time', fingerprints, () => table(fingerprints, columnsOf(FINGERPRINT, fingerprints)), 'No query has ended yet.')}
${changes === undefined ? '' : section('Plans that changed', changes, () => table(changes, CHANGE), 'No plan has changed.')}
${section('Running now', running, () => table(running, columnsOf(QUERY, running)), 'Nothing runs.')}
${section('The slowest', slow, () => table(slow, QUERY), 'No query was slow.')}
${cache === undefined ? '' : cacheSection(cache)}
${indexes === undefined ? '' : section('Indexes', indexes, () => table(indexes, INDEX), 'There are none.')}
${decisions.length === 0 ? '' : section('What was decided about indexes', decisions, () => table(decisions, DECISION), '')}
</body>
</html>
`
}

/** How much of each list is shown. */
const SHOWN = 25

/**
 * The report of a client, from what its monitor holds.
 * @param {{ history: any, fingerprints: FingerprintStats[], running: QueryStats[], slow: QueryStats[], changes: import('../../index').PlanChange[], texts: Map<string, string>, pool: import('../../index').PoolStats, health: import('../../index').HealthReport, indexes?: import('../../index').IndexAnalysis[], decisions?: ReportData['decisions'], cache?: import('../../index').CacheStats }} seen
 */
function clientReport({
  history,
  fingerprints,
  texts,
  running,
  slow,
  changes,
  pool,
  health,
  indexes,
  decisions,
  cache
}) {
  const { totals, latency, slots, slotSeconds } = history
  const ended = totals.done + totals.cancelled + totals.timeout + totals.failed
  return page({
    title: 'Queries of an event log',
    about: `${new Date().toISOString()} · process ${process.pid} · PostgreSQL ${health.postgres.version || 'not reached'}`,
    problems: health.problems,
    tiles: [
      ['queries', count(ended)],
      ['failed, late or cancelled', count(ended - totals.done)],
      [`slower than ${duration(history.slowQueryThreshold)}`, count(totals.slow)],
      ['median', duration(latency.p50)],
      ['95th percentile', duration(latency.p95)],
      ['99th percentile', duration(latency.p99)],
      ['rows', count(totals.rows)],
      ['result', bytes(totals.bytes)],
      ['running · waiting', `${count(running.length)} · ${count(pool.waiting)}`],
      ['connections used · idle · most', `${pool.inUse} · ${pool.idle} · ${pool.maxSize}`],
      ['wait for a connection, p95', duration(pool.acquireP95)],
      ['statements', count(history.fingerprints.kept)],
      ...(health.capabilities.plans ? [['read by an index', `${Math.round(health.optimalIndexRatio * 100)} %`]] : []),
      [
        'plans changed · for the worse',
        `${count(changes.length)} · ${count(changes.filter(one => one.regression).length)}`
      ]
    ],
    slots,
    slotSeconds,
    fingerprints: fingerprints.slice(0, SHOWN),
    running: running.slice(0, SHOWN),
    slow: slow.slice(0, SHOWN),
    changes: changes.slice(0, SHOWN).map(change => ({ ...change, queryText: texts.get(change.fingerprint) })),
    indexes,
    decisions,
    cache
  })
}

module.exports = { SHOWN, page, clientReport }
