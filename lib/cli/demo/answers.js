'use strict'

const { cell, tableLines } = require('../table.js')
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
  const kept = rows.map(row => Object.fromEntries(Object.entries(row).filter(([key]) => filled.has(key))))
  return tableLines(kept, { width: WIDTH, show: readable })
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
    { width: WIDTH }
  )
  if (lines.length > 0 && heading !== undefined) lines[0] = heading
  return heading === undefined ? lines.slice(1) : lines
}

/** '2024-05-01T12:34:56.000Z' as '2024-05-01 12:34:56', 196137 as '196,137'. */
function readable(value) {
  if (typeof value === 'number') return count(value)
  const time = typeof value === 'string' ? /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)\.\d+Z$/.exec(value) : null
  return time ? `${time[1]} ${time[2]}` : cell(value)
}

module.exports = { bars, rowsOf, steps }
