'use strict'

/**
 * Rows of kept answers that were parsed once and are given again. The core numbers rows that it sends a second
 * time; they are kept here as they were parsed, and from then on the core sends their number alone. Callers may do
 * with their results what they like, so each gets objects of its own: copying takes a fifth of the time of parsing.
 */

const { NativeRows } = require('./native.js')

/** Characters of JSON whose rows are kept, of all clients together; in memory they take about four times as much. */
const MOST = 2 << 20

/** By number, those that were asked for longest ago first. */
const held = new Map()
let size = 0
/** Let go, and still there for what is already on its way. */
const leaving = new Map()

/** Rows that the core took for kept are not: another copy of this module in the same thread has them. */
class Unkept extends Error {
  constructor(id) {
    super('rows that are not kept')
    this.id = id
  }
}

/** A value of JSON that shares nothing with another. */
function copied(value) {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(copied)
  const copy = { ...value }
  for (const key in copy) {
    const inner = copy[key]
    // A key of `Object.prototype` that somebody has added is not one of the value's own.
    if (typeof inner === 'object' && inner !== null && Object.hasOwn(copy, key)) copy[key] = copied(inner)
  }
  return copy
}

const isPlain = value => typeof value !== 'object' || value === null

function letGo() {
  const ids = []
  for (const [id, entry] of held) {
    if (size <= MOST) break
    held.delete(id)
    size -= entry.size
    leaving.set(id, entry)
    ids.push(id)
  }
  NativeRows.letGo(ids)
  setImmediate(() => {
    for (const id of ids) leaving.delete(id)
  })
}

function keep({ keep: id, end: _, ...batch }, length) {
  const plain = batch.rows.every(isPlain)
  if (held.has(id)) return
  held.set(id, { ...batch, rows: plain ? batch.rows : copied(batch.rows), plain, size: length })
  size += length
  NativeRows.keep(id)
  if (size > MOST) letGo()
}

function recalled({ kept: id, end }) {
  let entry = held.get(id)
  if (entry === undefined) {
    entry = leaving.get(id)
    if (entry === undefined) throw new Unkept(id)
  } else {
    held.delete(id)
    held.set(id, entry)
  }
  const { plain, size: _, rows, ...batch } = entry
  return { ...batch, rows: plain ? rows : rows.map(copied), end }
}

/** A parsed batch with its rows, whose text was so long. */
function withRows(batch, length) {
  if (batch.kept !== undefined) return recalled(batch)
  if (batch.keep !== undefined) keep(batch, length)
  return batch
}

/** Runs again what met rows that are not kept, now that the core knows. */
async function again(error, run) {
  if (!(error instanceof Unkept)) throw error
  NativeRows.letGo([error.id])
  return await run()
}

module.exports = { again, withRows }
