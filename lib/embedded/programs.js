'use strict'

/** Running the server's programs: as which user, in which environment, and why one failed. */

const { spawn } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { EventsError } = require('../errors.js')

/** The caller's environment may hold secrets, and PG* or locale variables that mean something to PostgreSQL. */
function environment() {
  const kept = ['PATH', 'LD_LIBRARY_PATH', 'DYLD_LIBRARY_PATH', 'SystemRoot', 'ComSpec', 'TEMP', 'TMP']
  const env = Object.fromEntries(kept.filter(name => name in process.env).map(name => [name, process.env[name]]))
  return { ...env, LC_ALL: 'C', TZ: 'UTC' }
}

/** A program that exists but 'is not found' lacks its loader: these binaries need glibc, and Alpine has musl. */
function cannotRun(file, cause) {
  const why =
    cause.code === 'ENOENT' && fs.existsSync(file)
      ? 'it is made for a system with glibc, which this one is not'
      : cause.message
  return new EventsError('CONNECTION_FAILED', `cannot run ${file}: ${why}. Where it cannot run, pass a url`, { cause })
}

/**
 * @typedef {object} Program
 * @property {string} file
 * @property {string[]} args
 * @property {string} cwd
 * @property {import('./user.js').User | undefined} user
 */

/**
 * @param {Program} program
 * @param {import('node:child_process').SpawnOptions} options
 * @param {(failed: EventsError | undefined) => void} done called once, at the program's end
 */
function start({ file, args, cwd, user }, options, done) {
  const child = spawn(file, args, { ...options, ...user, cwd, env: environment(), windowsHide: true })
  child.once('error', cause => done(cannotRun(file, cause)))
  child.once('close', (code, signal) => {
    const how = signal ? `was killed by ${signal}` : `ended with exit code ${code}`
    done(code === 0 ? undefined : new EventsError('CONNECTION_FAILED', `${path.basename(file)} ${how}`))
  })
  return child
}

/**
 * Runs a program to its end; what it wrote to stderr explains a failure.
 * @param {Program} program
 * @returns {Promise<void>}
 */
function run(program) {
  return new Promise((resolve, reject) => {
    let text = ''
    const child = start(program, { stdio: ['ignore', 'ignore', 'pipe'] }, failed => {
      if (failed === undefined) resolve()
      else reject(because(failed, text))
    })
    child.stderr?.setEncoding('utf8').on('data', chunk => {
      text += chunk
    })
  })
}

/**
 * Starts a program that outlives this process and does not keep it alive.
 * @param {Program} program
 * @param {string} log the file that gets its output
 * @returns {{ ended: boolean, failed: EventsError | undefined }} filled in when it ends
 */
function startDetached(program, log) {
  fs.rmSync(log, { force: true })
  const descriptor = fs.openSync(log, 'ax', 0o600) // never through a link that someone else placed
  try {
    const outcome = { ended: false, failed: undefined }
    const child = start(program, { stdio: ['ignore', descriptor, descriptor], detached: true }, failed => {
      outcome.ended = true
      outcome.failed ??= failed && because(failed, fs.readFileSync(log, 'utf8'))
    })
    child.unref()
    return outcome
  } finally {
    fs.closeSync(descriptor)
  }
}

/** The lines that tell why; the whole output is the cause. */
function because(failed, output) {
  const text = output.trim()
  if (text === '') return failed
  const lines = text.split('\n')
  const telling = lines.filter(line => /FATAL|PANIC|error:|could not/.test(line))
  const why = (telling.length > 0 ? telling : lines.slice(-3)).map(line =>
    line.replace(/^.*?(?=(FATAL|PANIC|LOG): )/, '')
  )
  return new EventsError(failed.code, `${failed.message}: ${why.join(' ')}`, {
    cause: new Error(text, { cause: failed })
  })
}

module.exports = { run, startDetached }
