'use strict'

const { parseArgs } = require('node:util')

/** What was typed can't be understood: exit code 2. */
class UsageError extends Error {
  /** @param {string} message @param {string} [command] whose help to point to */
  constructor(message, command) {
    super(message)
    this.name = 'UsageError'
    this.command = command
  }
}

const HELP = { type: 'boolean', short: 'h', description: 'show this help' }

/**
 * @param {string} name
 * @param {import('./commands.js').Command} command
 * @param {readonly string[]} args
 */
function parse(name, command, args) {
  const options = {}
  for (const [option, { type, multiple, short }] of Object.entries({ ...command.options, help: HELP })) {
    options[option] = { type, ...(multiple && { multiple }), ...(short && { short }) }
  }
  try {
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: false })
  } catch (error) {
    if (!error.code?.startsWith('ERR_PARSE_ARGS')) throw error
    throw new UsageError(plain(error), name)
  }
}

/** Node's messages explain how to write positional arguments, of which there are none here. */
function plain(error) {
  const unexpected = /^Unexpected argument '(.*?)'\./s.exec(error.message)
  if (unexpected) return `unexpected argument '${unexpected[1]}'`
  const unknown = /^Unknown option '(.*?)'/s.exec(error.message)
  if (unknown) return `there is no option ${unknown[1]}`
  const ambiguous = /^Option '(--[^'\s]+).*argument is ambiguous/s.exec(error.message)
  if (ambiguous) return `${ambiguous[1]} needs a value; one that starts with a dash is written ${ambiguous[1]}=-VALUE`
  const missing = /^Option '(?:-\w, )?(--\S+) <value>' argument missing/.exec(error.message)
  return missing ? `${missing[1]} needs a value` : error.message
}

/** A flag that is one of a few words. */
function oneOf(values, option, allowed, command) {
  const value = values[option] ?? allowed[0]
  if (!allowed.includes(value)) {
    throw new UsageError(`--${option} is one of ${allowed.join(', ')}, not '${value}'`, command)
  }
  return value
}

/** A flag that is a whole number from 0. */
function wholeNumber(values, option, command) {
  const value = values[option]
  if (value === undefined) return undefined
  if (!/^\d{1,15}$/.test(value)) throw new UsageError(`--${option} is a whole number, not '${value}'`, command)
  return Number(value)
}

module.exports = { HELP, UsageError, parse, oneOf, wholeNumber }
