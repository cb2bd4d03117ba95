'use strict'

const { readdirSync } = require('node:fs')
const path = require('node:path')

/**
 * A command is a file in `commands/` and nothing else: dispatch, help and completion of options
 * are read off what it exports.
 * @typedef {object} Command
 * @property {string} summary one line
 * @property {readonly string[]} usage what follows the program's name
 * @property {Record<string, Option>} options
 * @property {readonly (readonly [string, string])[]} [examples] what follows the program's name, and what it does
 * @property {string} [notes]
 * @property {(given: { values: Record<string, any>, io: object, signal: AbortSignal }) => Promise<number | void>} run
 *   answers the exit code, 0 by default
 *
 * @typedef {{ type: 'string' | 'boolean', multiple?: boolean, short?: string, value?: string, description: string }} Option
 */

const directory = path.join(__dirname, 'commands')

/** @returns {string[]} */
function commandNames() {
  return readdirSync(directory)
    .filter(file => file.endsWith('.js'))
    .map(file => file.slice(0, -'.js'.length))
    .sort()
}

/** @param {string} name one of `commandNames()` @returns {Command} */
function loadCommand(name) {
  return require(path.join(directory, `${name}.js`))
}

module.exports = { commandNames, loadCommand }
