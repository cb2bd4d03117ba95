'use strict'

/** From the flat arrays of the core to rows. */

const { setOwn } = require('./wire.js')

const EVENT_WIDTH = 6

function events(flat) {
  const rows = new Array(flat.length / EVENT_WIDTH)
  for (let row = 0, i = 0; row < rows.length; row++, i += EVENT_WIDTH) {
    rows[row] = {
      id: flat[i],
      type: flat[i + 1],
      timestamp: flat[i + 2],
      tags: flat[i + 3],
      metadata: flat[i + 4],
      data: flat[i + 5]
    }
  }
  return rows
}

/** Integers beyond 2^53 come marked by a leading U+0000, which no string of PostgreSQL's has. */
function revived(value) {
  return typeof value === 'string' && value.charCodeAt(0) === 0 ? BigInt(value.slice(1)) : value
}

/** Makes rows of the given columns out of flat arrays. */
function factory(columns, bigints) {
  const width = columns.length
  const set = columns.includes('__proto__') ? setOwn : undefined
  return flat => {
    const rows = new Array(width === 0 ? 0 : flat.length / width)
    for (let row = 0, i = 0; row < rows.length; row++) {
      const made = {}
      for (let c = 0; c < width; c++, i++) {
        const value = bigints ? revived(flat[i]) : flat[i]
        if (set === undefined) made[columns[c]] = value
        else set(made, columns[c], value)
      }
      rows[row] = made
    }
    return rows
  }
}

/** Reads the batches of one run; the first names the columns. */
class RowReader {
  #make = events
  #bigints

  /** @param {boolean} bigints whether marked integers become `bigint` */
  constructor(bigints) {
    this.#bigints = bigints
  }

  /** The rows of a parsed batch. */
  rows(batch) {
    if (batch.matches !== undefined) this.#make = require('./matches.js').matches(batch.matches, this.#bigints)
    else if (batch.columns !== undefined) this.#make = factory(batch.columns, this.#bigints)
    return this.#make(batch.rows)
  }
}

module.exports = { RowReader, events, revived }
