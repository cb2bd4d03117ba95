'use strict'

/** Charts over time as inline SVG: lines on a logarithmic scale, and bars. */

const { count, duration, escaped } = require('./html.js')

const WIDTH = 960
const LEFT = 64
const RIGHT = 12
const TOP = 10
const BOTTOM = 26

/** @typedef {{ at: string, runs: number, errors: number, p50: number, p95: number, max: number }} Slot */

/** Where times stand from left to right; one slot alone stands in the middle of an hour. */
function timeScale(slots, slotSeconds) {
  const first = Date.parse(slots[0].at)
  const span = Math.max(Date.parse(slots[slots.length - 1].at) + slotSeconds * 1000 - first, 60_000)
  return {
    x: at => LEFT + ((at - first) / span) * (WIDTH - LEFT - RIGHT),
    ticks: Array.from({ length: 5 }, (_, i) => first + (span * i) / 4),
    span
  }
}

const clock = (at, span) =>
  new Date(at)
    .toISOString()
    .slice(span > 86_400_000 ? 5 : 11, span > 86_400_000 ? 16 : 19)
    .replace('T', ' ')

function frame(height, { ticks, x, span }, rows, label, body) {
  const lines = rows.map(
    ({ y, text }) =>
      `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y.toFixed(1)}" y2="${y.toFixed(1)}"/>` +
      `<text x="${LEFT - 8}" y="${(y + 4).toFixed(1)}" text-anchor="end">${escaped(text)}</text>`
  )
  const anchor = i => (i === 0 ? 'start' : i === ticks.length - 1 ? 'end' : 'middle')
  const times = ticks.map(
    (at, i) => `<text x="${x(at).toFixed(1)}" y="${height - 8}" text-anchor="${anchor(i)}">${clock(at, span)}</text>`
  )
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escaped(label)}"><title>${escaped(label)}</title>\n${[...lines, ...times, ...body].join('\n')}\n</svg>`
}

/** Latency: the median, the 95th percentile and the longest of each slot. */
function latencyChart(slots, slotSeconds) {
  const height = 240
  const time = timeScale(slots, slotSeconds)
  const values = slots.flatMap(slot => [slot.p50, slot.p95, slot.max]).filter(value => value > 0)
  const low = Math.floor(Math.log10(Math.min(...values, 1)))
  const high = Math.max(Math.ceil(Math.log10(Math.max(...values, 1))), low + 1)
  const y = ms => TOP + (1 - (Math.log10(Math.max(ms, 10 ** low)) - low) / (high - low)) * (height - TOP - BOTTOM)
  const rows = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i)).map(ms => ({
    y: y(ms),
    text: ms < 1 ? `${Math.round(ms * 1000)} µs` : duration(ms).replace(/\.0+ /, ' ')
  }))
  const middle = slot => time.x(Date.parse(slot.at) + slotSeconds * 500)
  const series = ['max', 'p95', 'p50'].flatMap(key => {
    const points = slots.map(slot => `${middle(slot).toFixed(1)},${y(slot[key]).toFixed(1)}`)
    const dots = slots.length > 120 ? [] : slots.map(slot => dot(middle(slot), y(slot[key]), key, slot))
    return [`<polyline class="${key}" points="${points.join(' ')}"/>`, ...dots]
  })
  return frame(height, time, rows, 'Latency over time', series)
}

const dot = (x, y, key, slot) =>
  `<circle class="${key}" cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="2.5"><title>${clock(Date.parse(slot.at), 0)}: ${key} ${duration(slot[key])}</title></circle>`

/** Queries of each slot, and those among them that did not get to their last row. */
function loadChart(slots, slotSeconds) {
  const height = 150
  const time = timeScale(slots, slotSeconds)
  const most = Math.max(...slots.map(slot => slot.runs), 1)
  const y = n => TOP + (1 - n / most) * (height - TOP - BOTTOM)
  const rows = [...new Set([0, Math.round(most / 2), most])].map(n => ({ y: y(n), text: count(n) }))
  const width = Math.max(time.x(Date.parse(slots[0].at) + slotSeconds * 1000) - time.x(Date.parse(slots[0].at)) - 1, 1)
  const bar = (slot, n, kind) =>
    n === 0
      ? ''
      : `<rect class="${kind}" x="${time.x(Date.parse(slot.at)).toFixed(1)}" y="${y(n).toFixed(1)}" width="${width.toFixed(1)}" height="${Math.max(y(0) - y(n), 1).toFixed(1)}"><title>${clock(Date.parse(slot.at), 0)}: ${count(n)} ${kind}</title></rect>`
  const bars = slots.flatMap(slot => [bar(slot, slot.runs, 'runs'), bar(slot, slot.errors, 'errors')])
  return frame(height, time, rows, `Queries each ${slotSeconds} seconds`, bars.filter(Boolean))
}

module.exports = { latencyChart, loadChart }
