'use strict'

/**
 * One user's part in a running server, from the use lock to the last one's stop.
 *
 * Several in one process are several users: the kernel's locks belong to the open file, not to the process.
 */

const path = require('node:path')
const { removeDatabase, removeDirectory } = require('./directory.js')
const { Lock } = require('./lock.js')
const { stopPostmaster, stopPostmasterAtExit } = require('./postmaster.js')
const { sleep, until } = require('./wait.js')

/** Also keeps the locks of a caller who dropped the handle from being collected, and so released. */
const sessions = new Set()

/**
 * A process that exits without stopping still tells the server to stop, if it was the last user. It adds
 * nothing to signals: a killed process leaves its server to the next start, which joins it.
 */
function atExit() {
  for (const session of sessions) {
    try {
      session.leaveAtExit()
    } catch {
      // Exiting goes on; the next start finds the server.
    }
  }
}

class Session {
  #directory
  #use
  #leaving

  /** Whether no one else used the database when this session began. */
  alone
  /** Whether the last user removes the database. */
  temporary = false

  /**
   * @param {string} directory its start lock is held
   * @returns {Promise<Session>}
   */
  static begin(directory) {
    return until(() => {
      const probe = new Lock(directory, 'use.lock')
      const alone = probe.tryExclusive()
      probe.close()
      const use = new Lock(directory, 'use.lock')
      if (use.tryShared()) return new Session(directory, use, alone)
      use.close()
      return undefined
    }, `the last user of ${directory} to stop the server`)
  }

  constructor(directory, use, alone) {
    this.#directory = directory
    this.#use = use
    this.alone = alone
    if (sessions.size === 0) process.on('exit', atExit)
    sessions.add(this)
  }

  get data() {
    return path.join(this.#directory, 'data')
  }

  /**
   * Ends the session; the last user stops the server.
   * @param {Lock} [start] the start lock, where the caller holds it
   * @returns {Promise<boolean>} whether this stopped the server
   */
  leave(start) {
    this.#leaving ??= this.#leave(start).finally(() => {
      this.#use.close()
      sessions.delete(this)
      if (sessions.size === 0) process.off('exit', atExit)
    })
    return this.#leaving
  }

  async #leave(start) {
    this.#use.release()
    if (!this.#use.current()) return false
    const last = new Lock(this.#directory, 'use.lock')
    try {
      // A child process that another thread is starting holds copies of all locks until its exec.
      for (let turn = 0; !last.tryExclusive(); turn++) {
        if (turn === 3) return false
        await sleep(5)
      }
      if (!this.#use.current()) return false // someone else was the last, and removed the database
      const stopped = await stopPostmaster(this.data)
      if (this.temporary) await this.#remove(start)
      return stopped
    } finally {
      last.close()
    }
  }

  async #remove(held) {
    await removeDatabase(this.#directory)
    const start = held ?? new Lock(this.#directory, 'start.lock')
    try {
      // Someone who is starting needs the directory; they find it empty.
      if (held || start.tryExclusive()) removeDirectory(this.#directory)
    } finally {
      if (!held) start.close()
    }
  }

  leaveAtExit() {
    this.#use.release()
    if (!this.#use.current()) return
    const last = new Lock(this.#directory, 'use.lock')
    try {
      if (last.tryExclusive()) stopPostmasterAtExit(this.data)
    } finally {
      last.close()
    }
  }
}

module.exports = { Session }
