'use strict'

const { HELP } = require('./arguments.js')
const { commandNames, loadCommand } = require('./commands.js')

const PROGRAM = 'tamma-events'

/** @param {import('./style.js').Style} style */
function generalHelp(style) {
  const commands = commandNames().map(name => [name, loadCommand(name).summary])
  return [
    'Asks a PostgreSQL event log.',
    '',
    style.bold('Usage'),
    `  ${PROGRAM} COMMAND [options]`,
    '',
    style.bold('Commands'),
    ...columns(commands, style),
    '',
    style.bold('Options'),
    ...columns(
      [
        ['-h, --help', 'show this help, or that of a command'],
        ['-V, --version', 'show the version']
      ],
      style
    ),
    '',
    style.bold('Environment'),
    ...columns(
      [
        ['DATABASE_URL', 'the database, where neither --url nor --embedded says'],
        ['NO_COLOR', 'no colours'],
        ['DEBUG', 'errors with their stacks']
      ],
      style
    ),
    '',
    'Exit codes: 0 done, 1 failed, 2 not understood, 130 interrupted.',
    ''
  ].join('\n')
}

/**
 * @param {string} name
 * @param {import('./commands.js').Command} command
 * @param {import('./style.js').Style} style
 */
function commandHelp(name, command, style) {
  const options = Object.entries({ ...command.options, help: HELP }).map(
    ([option, { short, value, multiple, description }]) => [
      `${short ? `-${short}, ` : '    '}--${option}${value ? ` ${value}` : ''}`,
      multiple ? `${description} (repeatable)` : description
    ]
  )
  const lines = [
    `${command.summary}.`,
    '',
    style.bold('Usage'),
    ...command.usage.map(line => `  ${PROGRAM} ${name} ${line}`.trimEnd()),
    '',
    style.bold('Options'),
    ...columns(options, style)
  ]
  if (command.notes) lines.push('', command.notes)
  if (command.examples) {
    lines.push('', style.bold('Examples'))
    for (const [line, meaning] of command.examples)
      lines.push(`  ${style.dim(`# ${meaning}`)}`, `  ${PROGRAM} ${name} ${line}`.trimEnd())
  }
  return `${lines.join('\n')}\n`
}

function columns(rows, style) {
  const width = Math.max(...rows.map(([left]) => left.length))
  return rows.map(([left, right]) => `  ${style.cyan(left.padEnd(width))}  ${right}`)
}

module.exports = { PROGRAM, generalHelp, commandHelp }
