'use strict'

/**
 * The data directory (PostgreSQL calls it a cluster): made by initdb under another name and renamed, so
 * that it is whole or absent.
 *
 * The server listens on 127.0.0.1, which every user of the machine can reach. A random password of this
 * cluster keeps them out; it lies in the data directory, which only the server's user can read.
 */

const crypto = require('node:crypto')
const fs = require('node:fs')
const path = require('node:path')
const { EventsError } = require('../errors.js')
const { program } = require('./binaries.js')
const { sweep, unfinished } = require('./directory.js')
const { run } = require('./programs.js')

const PASSWORD = 'tamma-password'
/** Marks a temporary cluster. */
const TEMPORARY = 'tamma-temporary'

/** Statements and keys would put event data into the log. What remains tells why a start failed. */
const SETTINGS = {
  log_min_messages: 'log',
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
  log_checkpoints: 'off'
}
/** What a crash would cost is thrown away anyway. */
const TEMPORARY_SETTINGS = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }

function unreadable(data, cause) {
  return new EventsError(
    'CONNECTION_FAILED',
    `the database in ${data} belongs to another user, or cannot be read: ${cause.message}`,
    { path: 'embedded.directory', cause }
  )
}

/**
 * What the data directory holds; undefined where there is none yet.
 * @param {string} data
 * @returns {{ major: number, temporary: boolean } | undefined}
 */
function inspectCluster(data) {
  let entries
  try {
    entries = fs.readdirSync(data)
    if (entries.includes('PG_VERSION')) {
      return {
        major: Number.parseInt(fs.readFileSync(path.join(data, 'PG_VERSION'), 'utf8'), 10),
        temporary: entries.includes(TEMPORARY)
      }
    }
  } catch (error) {
    if (error.code === 'ENOENT') return undefined
    throw unreadable(data, error)
  }
  if (entries.length === 0) return undefined
  throw new EventsError('CONNECTION_FAILED', `${data} is not empty, and not a data directory of PostgreSQL`, {
    path: 'embedded.directory'
  })
}

/** @param {string} data */
const passwordOf = data => {
  try {
    return fs.readFileSync(path.join(data, PASSWORD), 'utf8')
  } catch (error) {
    if (error.code !== 'ENOENT') throw unreadable(data, error)
    throw new EventsError(
      'CONNECTION_FAILED',
      `${path.join(data, PASSWORD)} is missing, so that no one can sign in to this database`,
      { path: 'embedded.directory' }
    )
  }
}

/**
 * Makes the cluster `<directory>/data`. The start lock is held.
 * @param {{ directory: string, binaries: string, user: import('./user.js').User | undefined,
 *   temporary: boolean }} options
 */
async function createCluster({ directory, binaries, user, temporary }) {
  const folder = unfinished(directory)
  const [made, password, marker] = ['data', PASSWORD, TEMPORARY].map(name => path.join(folder, name))
  const give = file => user && fs.chownSync(file, user.uid, user.gid)
  fs.mkdirSync(folder, { mode: 0o700 })
  try {
    fs.writeFileSync(password, crypto.randomBytes(24).toString('base64url'), { mode: 0o600 })
    give(password)
    if (temporary) fs.writeFileSync(marker, '', { mode: 0o600 })
    if (temporary) give(marker)
    give(folder) // last: from here on its new owner could replace what is in it
    const settings = Object.entries({ ...SETTINGS, ...(temporary ? TEMPORARY_SETTINGS : {}) })
    await run({
      file: program(binaries, 'initdb'),
      args: [
        ...['-D', made, '-U', 'postgres', '-A', 'scram-sha-256', '--pwfile', password, '-E', 'UTF8'],
        ...['--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--no-instructions'],
        ...(temporary ? ['--no-sync'] : []),
        ...settings.flatMap(([name, value]) => ['-c', `${name}=${value}`])
      ],
      cwd: directory,
      user
    })
    fs.renameSync(password, path.join(made, PASSWORD))
    if (temporary) fs.renameSync(marker, path.join(made, TEMPORARY))
    const data = path.join(directory, 'data')
    if (fs.existsSync(data)) fs.rmdirSync(data) // an empty one
    fs.renameSync(made, data)
  } finally {
    await sweep(directory)
  }
}

module.exports = { inspectCluster, createCluster, passwordOf }
