'use strict'

/** Matches of sequences and patterns, from the flat arrays of the core. */

const { events, revived } = require('./rows.js')
const { setOwn } = require('./wire.js')

/** An object of names and values in the same order. */
function object(names, values, bigints) {
  const made = {}
  for (let i = 0; i < names.length; i++) setOwn(made, names[i], bigints ? revived(values[i]) : values[i])
  return made
}

const SEQUENCE_WIDTH = 6

/** Makes the matches of a sequence, as its header describes them. */
function sequences({ key, steps, open }, bigints) {
  return flat => {
    const rows = new Array(flat.length / SEQUENCE_WIDTH)
    for (let row = 0, i = 0; row < rows.length; row++, i += SEQUENCE_WIDTH) {
      const all = events(flat[i + 1])
      const named = {}
      for (const [name, from, to] of steps) setOwn(named, name, all.slice(from, to))
      const match = {
        key: object(key, flat[i], bigints),
        steps: named,
        events: all,
        startedAt: flat[i + 2],
        endedAt: flat[i + 3],
        durationMs: flat[i + 4]
      }
      if (open) match.open = flat[i + 5]
      rows[row] = match
    }
    return rows
  }
}

/** What makes the matches that a header describes. */
function matches(header, bigints) {
  return sequences(header, bigints)
}

module.exports = { matches }
