'use strict'

const { commandNames, loadCommand } = require('./commands.js')
const { parse, UsageError } = require('./arguments.js')
const { commandHelp, generalHelp } = require('./help.js')
const { Output } = require('./output.js')
const { reportFailure } = require('./failure.js')
const { styleFor } = require('./style.js')
const { version } = require('../../package.json')

/** What a shell expects of a program that a signal ended. */
const SIGNALS = { SIGINT: 130, SIGTERM: 143 }

/**
 * Runs one command and sets the exit code: 0 done, 1 failed, 2 not understood, 130 interrupted.
 * The process ends by itself once everything is closed, so no output is cut off.
 * @param {readonly string[]} argv without node and script
 */
async function main(argv) {
  const controller = new AbortController()
  const io = {
    out: new Output(process.stdout, controller),
    err: new Output(process.stderr, controller),
    style: styleFor(process.stdout),
    errStyle: styleFor(process.stderr)
  }
  let stoppedBy
  const stop = name => {
    // The second time somebody asks, closing in good order has taken too long for them.
    if (stoppedBy) process.exit(SIGNALS[name])
    stoppedBy = name
    controller.abort(new Error(name))
  }
  for (const name of Object.keys(SIGNALS)) process.on(name, stop)

  try {
    process.exitCode = (await dispatch(argv, io, controller.signal)) ?? 0
  } catch (error) {
    if (stoppedBy) io.err.line('interrupted')
    // Nobody reads any more, as in `tamma-events query | head`: there is nothing to complain about.
    else if (!io.out.closed) reportFailure(error, io)
    process.exitCode = error instanceof UsageError ? 2 : io.out.closed ? 0 : 1
  } finally {
    for (const name of Object.keys(SIGNALS)) process.off(name, stop)
  }
  if (stoppedBy) process.exitCode = SIGNALS[stoppedBy]
}

async function dispatch(argv, io, signal) {
  const [first, ...rest] = argv
  if (first === undefined) {
    await io.err.write(generalHelp(io.errStyle))
    return 2
  }
  if (first === '--version' || first === '-V') return void (await io.out.line(version))
  if (first === '--help' || first === '-h' || (first === 'help' && rest.length === 0)) {
    return void (await io.out.write(generalHelp(io.style)))
  }
  const name = first === 'help' ? rest[0] : first
  if (name.startsWith('-')) throw new UsageError(`a command comes first, not ${name}`)
  if (!commandNames().includes(name)) throw new UsageError(`there is no command '${name}'`)
  const command = loadCommand(name)
  const asked = first === 'help' ? { values: { help: true } } : parse(name, command, rest)
  if (asked.values.help) return void (await io.out.write(commandHelp(name, command, io.style)))
  return command.run({ ...asked, io, signal })
}

module.exports = { main }
