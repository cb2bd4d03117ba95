'use strict'

const { tableLines } = require('../table.js')
const { count, padEnd, padStart, printable, truncate, widthOf } = require('../text.js')

const BAR = 32
const WIDTH = 92

/** Counts with a bar beside them. */
function bars(rows, label, value) {
  const most = Math.max(...rows.map(row => row[value]))
  const labels = rows.map(row => truncate(printable(String(row[label])), 32))
  const labelWidth = Math.max(0, ...labels.map(widthOf))
  const valueWidth = Math.max(0, ...rows.map(row => count(row[value]).length))
  return rows.map((row, at) => {
    const bar = '▇'.repeat(Math.max(1, Math.round((row[value] / most) * BAR)))
    return `${padEnd(labels[at], labelWidth)}  ${padStart(count(row[value]), valueWidth)}  ${bar}`
  })
}

/** Columns that no row fills are left out. */
function rowsOf(rows) {
  const filled = new Set(rows.flatMap(row => Object.keys(row).filter(key => row[key] !== null)))
  const kept = rows.map(row =>
    Object.fromEntries(
      Object.entries(row)
        .filter(([key]) => filled.has(key))
        .map(([key, value]) => [key, readable(value)])
    )
  )
  return tableLines(kept, WIDTH)
}

/** Events, one a line: when, what, and the tags that say most. */
function steps(events, heading) {
  const lines = tableLines(
    events.map(({ timestamp, type, tags, data }) => ({
      when: readable(timestamp),
      type,
      about:
        data.subject ??
        [tags.version ?? (tags.prId && `#${tags.prId}`), tags.area, tags.branch, tags.actorType]
          .filter(Boolean)
          .join(' · ')
    })),
    WIDTH
  )
  if (lines.length > 0 && heading !== undefined) lines[0] = heading
  return heading === undefined ? lines.slice(1) : lines
}

/** '2024-05-01T12:34:56.000Z' as '2024-05-01 12:34:56'. */
function readable(value) {
  return typeof value === 'string' ? value.replace(/^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)\.\d+Z$/, '$1 $2') : value
}

module.exports = { bars, rowsOf, steps }
