'use strict'

/**
 * On which machine, and in which container, a database's server was started. File locks reach across
 * containers that share a directory; process ids and 127.0.0.1 do not. Without this, a second container
 * would see a dead pid, start a second server on the same files and destroy them.
 */

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

/** Names the running kernel and the process table. */
function here() {
  try {
    const boot = fs.readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
    return `${boot} ${fs.readlinkSync('/proc/self/ns/pid')}`
  } catch {
    return os.hostname()
  }
}

const file = directory => path.join(directory, 'machine')

/** @param {string} directory */
function startedElsewhere(directory) {
  try {
    return fs.readFileSync(file(directory), 'utf8') !== here()
  } catch (error) {
    if (error.code === 'ENOENT') return false
    throw error
  }
}

/** @param {string} directory */
function recordMachine(directory) {
  fs.rmSync(file(directory), { force: true })
  fs.writeFileSync(file(directory), here(), { flag: 'wx' })
}

module.exports = { startedElsewhere, recordMachine }
