'use strict'

/** Reports of processes, from the few rows that the core gives. */

const { setOwn } = require('../wire.js')

/** By code point, as PostgreSQL's "C" has it; JavaScript's own order is that of UTF-16 units. */
function compareText(a, b) {
  const [left, right] = [[...a], [...b]]
  const at = left.findIndex((character, i) => character !== right[i])
  if (at === -1) return left.length - right.length
  return at >= right.length ? 1 : left[at].codePointAt(0) - right[at].codePointAt(0)
}

/** Adds up; a type may be called `__proto__`. */
function add(counts, key, count) {
  if (count > 0) setOwn(counts, key, (Object.hasOwn(counts, key) ? counts[key] : 0) + count)
}

/**
 * @param {{ from: string | null, to: string, count: number, ends: number, medianMs: number | null }[]} pairs
 *   events that follow each other; the first of a case follows null
 */
function flowReport(pairs) {
  const [counts, starts, ends] = [new Map(), {}, {}]
  const edges = []
  let cases = 0
  const ordered = pairs.toSorted?.(byCount) ?? [...pairs].sort(byCount)
  for (const { from, to, count, ends: last, medianMs } of ordered) {
    counts.set(to, (counts.get(to) ?? 0) + count)
    add(ends, to, last)
    if (from === null) {
      add(starts, to, count)
      cases += count
    } else {
      edges.push({ from, to, count, medianMs })
    }
  }
  const activities = Array.from(counts, ([type, count]) => ({ type, count }))
  activities.sort((a, b) => b.count - a.count || compareText(a.type, b.type))
  return { activities, edges, starts, ends, cases }
}

function byCount(a, b) {
  return b.count - a.count || compareText(a.from ?? '', b.from ?? '') || compareText(a.to, b.to)
}

/** @param {{ path: string[], count: number, medianDurationMs: number, cases: number }[]} rows */
function variantReport(rows, limit) {
  const cases = rows[0]?.cases ?? 0
  const variants = rows.map(({ cases: all, ...variant }) => ({ ...variant, share: variant.count / all }))
  return { variants: limit === 0 ? [] : variants, cases }
}

module.exports = { flowReport, variantReport }
