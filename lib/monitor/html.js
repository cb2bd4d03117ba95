'use strict'

/** HTML by hand: everything that is shown goes through `escaped`. */

const ENTITIES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

/** @param {unknown} value */
function escaped(value) {
  return String(value).replace(/[&<>"']/g, character => ENTITIES[character])
}

const integers = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 })

/** @param {number} value */
const count = value => integers.format(value)

/** '0.42 ms', '17 ms', '3.4 s'. @param {number} ms */
function duration(ms) {
  if (ms < 10) return `${ms.toFixed(2)} ms`
  if (ms < 1000) return `${ms.toFixed(0)} ms`
  if (ms < 120_000) return `${(ms / 1000).toFixed(1)} s`
  return `${(ms / 60_000).toFixed(1)} min`
}

/** '512 B', '1.2 MB'. @param {number} value */
function bytes(value) {
  const unit = ['B', 'kB', 'MB', 'GB', 'TB'].findIndex((_, i) => value < 1000 ** (i + 1) || i === 4)
  return `${unit === 0 ? value : (value / 1000 ** unit).toFixed(1)} ${['B', 'kB', 'MB', 'GB', 'TB'][unit]}`
}

/**
 * @template Row
 * @param {readonly Row[]} rows
 * @param {readonly { name: string, of: (row: Row) => string, kind?: 'number' | 'code' | 'names', tone?: (row: Row) => string | undefined }[]} columns `of` gives text, not HTML
 */
function table(rows, columns) {
  const head = columns.map(({ name, kind }) => `<th${kind === 'number' ? ' class="n"' : ''}>${escaped(name)}</th>`)
  const cell = ({ of, kind, tone }, row) => {
    const text = escaped(of(row))
    if (kind === 'code') return `<td class="code"><code>${text}</code></td>`
    const named = [kind === 'number' && 'n', kind === 'names' && 'names', tone?.(row)].filter(Boolean).join(' ')
    return `<td${named === '' ? '' : ` class="${named}"`}>${text}</td>`
  }
  const body = rows.map(row => `<tr>${columns.map(column => cell(column, row)).join('')}</tr>`)
  return `<div class="scroll"><table><thead><tr>${head.join('')}</tr></thead><tbody>\n${body.join('\n')}\n</tbody></table></div>`
}

module.exports = { escaped, count, duration, bytes, table }
