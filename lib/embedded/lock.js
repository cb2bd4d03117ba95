'use strict'

/**
 * The lock files of a database directory. The kernel holds the locks and drops them when a process
 * dies, however it dies, so that no lock is ever stale.
 *
 * `start.lock`, exclusive: someone is starting or joining the server, or removing the database.
 * `use.lock`, shared: someone uses the server, for as long as they do. Who gets it exclusively is alone.
 *
 * A temporary database is removed with its lock files. Someone who waits for the lock of a removed
 * file gets it, and finds out by `current()` that it protects nothing any more.
 */

const fs = require('node:fs')
const path = require('node:path')
const { FileLock } = require('../../native/binding.js')
const { isRoot } = require('./user.js')

/** Makes the file if it is missing, for the directory's owner: root's file would shut the owner out. */
function makeFile(file) {
  let descriptor
  try {
    descriptor = fs.openSync(file, 'wx', 0o600)
  } catch (error) {
    if (error.code === 'EEXIST') return
    throw error
  }
  try {
    if (isRoot()) {
      const { uid, gid } = fs.statSync(path.dirname(file))
      fs.fchownSync(descriptor, uid, gid)
    }
  } finally {
    fs.closeSync(descriptor)
  }
}

class Lock {
  #file
  #descriptor
  #lock

  /** @param {string} directory @param {'start.lock' | 'use.lock'} name */
  constructor(directory, name) {
    this.#file = path.join(directory, name)
    makeFile(this.#file)
    // As long as this is open, no other file gets the inode number by which `current` compares.
    this.#descriptor = fs.openSync(this.#file, 'r')
    try {
      this.#lock = FileLock.open(this.#file)
    } catch (error) {
      fs.closeSync(this.#descriptor)
      throw error
    }
  }

  tryExclusive() {
    return this.#lock.tryExclusive()
  }

  tryShared() {
    return this.#lock.tryShared()
  }

  /** Whether the file still has its name: ask after the lock was taken. */
  current() {
    const named = fs.statSync(this.#file, { bigint: true, throwIfNoEntry: false })
    const ours = fs.fstatSync(this.#descriptor, { bigint: true })
    return named !== undefined && named.ino === ours.ino && named.dev === ours.dev
  }

  /** Lets the lock go; `current` may still be asked. */
  release() {
    this.#lock.close()
  }

  /** A second call does nothing. */
  close() {
    this.#lock.close()
    if (this.#descriptor !== undefined) fs.closeSync(this.#descriptor)
    this.#descriptor = undefined
  }
}

module.exports = { Lock }
