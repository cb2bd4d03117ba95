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

const PATTERN_WIDTH = 8

/** Makes the matches of a pattern, as its header describes them. */
function patterns({ key, variables, measures, rowMeasures }, bigints) {
  return flat => {
    const rows = new Array(flat.length / PATTERN_WIDTH)
    for (let row = 0, i = 0; row < rows.length; row++, i += PATTERN_WIDTH) {
      const [at] = events(flat[i + 2])
      const match = {
        key: object(key, flat[i], bigints),
        matchNumber: flat[i + 1],
        matched: flat[i + 1] !== null,
        at,
        events: events(flat[i + 3]),
        classifiers: flat[i + 4].map(variable => variables[variable]),
        measures: object(measures, flat[i + 5], bigints)
      }
      if (rowMeasures) match.rowMeasures = flat[i + 6].map(values => object(measures, values, bigints))
      match.durationMs = flat[i + 7]
      rows[row] = match
    }
    return rows
  }
}

/** What makes the matches that a header describes. */
function matches(header, bigints) {
  return header.kind === 'sequence' ? sequences(header, bigints) : patterns(header, bigints)
}

module.exports = { matches }
