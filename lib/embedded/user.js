'use strict'

/**
 * Which user the server runs as. PostgreSQL refuses to run as root, so that root has to give it
 * another user; everyone else runs it as themselves.
 */

const fs = require('node:fs')
const path = require('node:path')
const { EventsError } = require('../errors.js')

/** In this order; `_postgres` is macOS. */
const ACCOUNTS = ['postgres', '_postgres', 'nobody']

/** @typedef {{ uid: number, gid: number }} User */

/** @returns {{ name: string, uid: number, gid: number }[]} */
function accounts() {
  const lines = fs.readFileSync('/etc/passwd', 'utf8').split('\n')
  return lines
    .map(line => line.split(':'))
    .filter(fields => Number(fields[2]) > 0)
    .map(([name, , uid, gid]) => ({ name, uid: Number(uid), gid: Number(gid) }))
}

const isRoot = () => process.platform !== 'win32' && process.getuid() === 0

/**
 * The user for the database in `directory`; undefined means the caller itself. Whoever owns the data
 * has to run it. Where there is none yet, the directory's owner is preferred, so that root does not
 * leave files of another user in somebody's directory.
 * @param {string} directory need not exist yet
 * @returns {User | undefined}
 */
function serverUser(directory) {
  if (!isRoot()) return undefined
  const data = fs.statSync(path.join(directory, 'data'), { throwIfNoEntry: false })
  if (data) {
    if (data.uid !== 0) return { uid: data.uid, gid: data.gid }
    throw new EventsError(
      'CONNECTION_FAILED',
      `PostgreSQL refuses to run as root, and root owns ${path.join(directory, 'data')}: give it to another user (chown -R)`
    )
  }
  const known = accounts()
  const owner = fs.statSync(directory, { throwIfNoEntry: false })?.uid
  // initdb looks its user's name up, so that an owner without an account cannot make the database.
  const account =
    known.find(({ uid }) => uid === owner) ?? ACCOUNTS.map(name => known.find(k => k.name === name)).find(Boolean)
  if (account) return { uid: account.uid, gid: account.gid }
  throw new EventsError(
    'CONNECTION_FAILED',
    'PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as: start the process as another user, or pass a url'
  )
}

/**
 * Whether the file's mode gives the user these permissions (a bit set of 4 read, 2 write, 1 execute).
 * @param {fs.Stats} stat
 * @param {User} user
 * @param {number} permissions
 */
function allows(stat, user, permissions) {
  const shift = stat.uid === user.uid ? 6 : stat.gid === user.gid ? 3 : 0
  return ((stat.mode >> shift) & permissions) === permissions
}

/**
 * The first folder on the way down to `folder`, itself included, that the user may not enter.
 * Folders that do not exist yet are not in the way.
 * @param {string} folder absolute
 * @param {User | undefined} user
 * @returns {string | undefined}
 */
function closedFolder(folder, user) {
  if (user === undefined) return undefined
  const parent = path.dirname(folder)
  const above = parent === folder ? undefined : closedFolder(parent, user)
  if (above !== undefined) return above
  const stat = fs.statSync(folder, { throwIfNoEntry: false })
  return stat && !allows(stat, user, 1) ? folder : undefined
}

module.exports = { isRoot, serverUser, allows, closedFolder }
