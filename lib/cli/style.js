'use strict'

const CODES = { bold: [1, 22], dim: [2, 22], red: [31, 39], green: [32, 39], yellow: [33, 39], cyan: [36, 39] }

/**
 * @typedef {Record<'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan', (text: string) => string>} Style
 */

/** Colours for a terminal that wants them (https://no-color.org), else none. @returns {Style} */
function styleFor(stream, env = process.env) {
  const coloured = Boolean(stream.isTTY) && !env.NO_COLOR && env.TERM !== 'dumb'
  return Object.fromEntries(
    Object.entries(CODES).map(([name, [on, off]]) => [
      name,
      coloured ? text => `\x1b[${on}m${text}\x1b[${off}m` : text => text
    ])
  )
}

module.exports = { styleFor }
