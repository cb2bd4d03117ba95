'use strict'

const { truncate, padEnd, padStart, printable, widthOf } = require('./text.js')

/** Widths are taken from the first rows; a later cell that is wider just takes more room. */
const MEASURED_ROWS = 1000
const GAP = '  '
const NARROWEST = 8

/**
 * Rows as aligned columns, written as they come.
 * @param {AsyncIterable<readonly Record<string, unknown>[]>} batches
 * @param {{ out: { write(text: string): Promise<void>, columns?: number, isTTY: boolean }, style: import('./style.js').Style }} io
 * @returns {Promise<number>} how many rows
 */
async function writeTable(batches, { out, style }) {
  let rows = 0
  let layout
  let waiting = []
  const flush = async () => {
    if (waiting.length === 0) return
    if (!layout) {
      layout = layoutOf(waiting, out.isTTY ? (out.columns ?? 80) : Number.POSITIVE_INFINITY)
      await out.write(`${style.bold(header(layout))}\n`)
    }
    const lines = waiting.map(row => line(layout, row))
    waiting = []
    await out.write(`${lines.join('\n')}\n`)
  }
  for await (const batch of batches) {
    rows += batch.length
    waiting = waiting.concat(batch)
    if (layout || waiting.length >= MEASURED_ROWS) await flush()
  }
  await flush()
  return rows
}

/**
 * The same for rows that are all at hand, without a stream.
 * @param {readonly Record<string, unknown>[]} rows
 * @param {{ width?: number, show?: (value: unknown) => string }} [options]
 * @returns {string[]}
 */
function tableLines(rows, { width = Number.POSITIVE_INFINITY, show = cell } = {}) {
  if (rows.length === 0) return []
  const layout = layoutOf(rows, width, show)
  return [header(layout), ...rows.map(row => line(layout, row))]
}

function layoutOf(all, available, show = cell) {
  const rows = all.slice(0, MEASURED_ROWS)
  const names = [...new Set(rows.flatMap(row => Object.keys(row)))]
  const columns = names.map(name => ({
    name,
    show,
    numeric: rows.every(row => row[name] === null || row[name] === undefined || typeof row[name] === 'number'),
    width: Math.max(widthOf(printable(name)), ...rows.map(row => widthOf(show(row[name]))))
  }))
  shrink(columns, available - GAP.length * (columns.length - 1))
  return columns
}

/** Takes from the widest columns first, so that short ones stay whole. */
function shrink(columns, available) {
  let over = columns.reduce((sum, { width }) => sum + width, 0) - available
  while (over > 0) {
    const widths = columns.map(({ width }) => width).sort((a, b) => b - a)
    const widest = widths[0]
    if (widest <= NARROWEST) return
    const next = Math.max(widths.find(width => width < widest) ?? NARROWEST, NARROWEST)
    const wide = columns.filter(({ width }) => width === widest)
    const each = Math.max(1, Math.min(widest - next, Math.ceil(over / wide.length)))
    for (const column of wide) column.width -= each
    over -= each * wide.length
  }
}

function header(columns) {
  return join(
    columns,
    columns.map(({ name }) => printable(name))
  )
}

function line(columns, row) {
  return join(
    columns,
    columns.map(({ name, show }) => show(row[name]))
  )
}

function join(columns, cells) {
  return cells
    .map((text, at) => {
      const { numeric, width } = columns[at]
      const short = truncate(text, width)
      return numeric ? padStart(short, width) : padEnd(short, width)
    })
    .join(GAP)
    .trimEnd()
}

/** Text as it is, the rest as JSON; flat objects as `key=value`, which is how tags are read. */
function cell(value) {
  if (value === null || value === undefined) return ''
  if (typeof value === 'string') return printable(value)
  if (typeof value === 'object' && !Array.isArray(value)) {
    return Object.entries(value)
      .map(
        ([key, inner]) =>
          `${printable(key)}=${typeof inner === 'string' ? printable(inner) : printable(JSON.stringify(inner))}`
      )
      .join(' ')
  }
  return printable(JSON.stringify(value))
}

module.exports = { writeTable, tableLines, cell }
