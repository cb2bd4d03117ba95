'use strict'

/**
 * Where a database lives.
 *
 * Without a directory from the caller, a database that is kept lives with the user's other application
 * data, under a name made of the project's folder. That is not inside the project, where a watcher, a
 * linter or a container build would walk through the server's files, and not in node_modules, which
 * `npm ci` deletes. A temporary database, and any database where the home folder is missing, not ours
 * or closed to the server's user (root's home usually is), lives under the system's temporary folder.
 */

const crypto = require('node:crypto')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { EventsError } = require('../errors.js')
const { isRoot, serverUser, closedFolder } = require('./user.js')

/** Lies in a directory that was made for a temporary database, and goes with it. */
const CREATED = 'created'

const unusable = message => new EventsError('CONNECTION_FAILED', message, { path: 'embedded.directory' })

/** The nearest folder upwards with a package.json: runs from its subfolders share one database. */
function projectRoot() {
  const start = process.cwd()
  for (let folder = start; ; folder = path.dirname(folder)) {
    if (fs.existsSync(path.join(folder, 'package.json'))) return folder
    if (folder === path.dirname(folder)) return start
  }
}

function projectName() {
  const root = fs.realpathSync(projectRoot())
  const hash = crypto.createHash('sha256').update(root).digest('hex').slice(0, 12)
  return `${path.basename(root).replace(/[^\w.-]/g, '_') || 'root'}-${hash}`
}

/** The user's application data folder; undefined where there is no home. */
function dataHome() {
  let home
  try {
    home = os.homedir()
  } catch {
    return undefined
  }
  if (!path.isAbsolute(home)) return undefined
  if (process.platform === 'win32') return process.env.LOCALAPPDATA || path.join(home, 'AppData', 'Local')
  if (process.platform === 'darwin') return path.join(home, 'Library', 'Application Support')
  const xdg = process.env.XDG_DATA_HOME
  return xdg && path.isAbsolute(xdg) ? xdg : path.join(home, '.local', 'share')
}

/** Makes the folder and its missing parents; answers the first one made. */
function make(folder) {
  if (!isRoot()) return fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
  const passable = 0o711 // for the server's user, whatever the umask is
  const first = fs.mkdirSync(folder, { recursive: true, mode: passable })
  if (first !== undefined) {
    for (let made = folder; made.length >= first.length; made = path.dirname(made)) fs.chmodSync(made, passable)
  }
  return first
}

/** A home that belongs to someone else (sudo keeps HOME, containers have HOME=/) is not ours to fill. */
function isOurs(folder) {
  if (process.platform === 'win32') return true
  const stat = fs.statSync(folder, { throwIfNoEntry: false })
  if (stat) return stat.uid === process.getuid()
  return folder !== path.dirname(folder) && isOurs(path.dirname(folder))
}

function homeDirectory(name) {
  const base = dataHome()
  if (base === undefined || !isOurs(base)) return undefined
  const directory = path.join(withoutLinks(base), 'tamma-events', name)
  if (closedFolder(directory, serverUser(directory)) !== undefined) return undefined
  try {
    make(path.dirname(directory))
    fs.accessSync(path.dirname(directory), fs.constants.W_OK)
    return directory
  } catch {
    return undefined // read-only, or full: the temporary folder may still do
  }
}

/** Everyone may make folders in the temporary folder: one that is not ours could be a trap. */
function temporaryDirectory(name) {
  const uid = process.platform === 'win32' ? '' : `-${process.getuid()}`
  const base = path.join(fs.realpathSync(os.tmpdir()), `tamma-events${uid}`)
  make(base)
  const stat = fs.lstatSync(base)
  const safe = stat.isDirectory() && (uid === '' || (stat.uid === process.getuid() && (stat.mode & 0o022) === 0))
  if (safe) return path.join(base, name)
  throw unusable(`${base} is another user's, or open to one: pass a directory for the embedded database`)
}

/** The path without symbolic links, also where its last folders are still missing. */
function withoutLinks(folder) {
  if (fs.existsSync(folder) || folder === path.dirname(folder)) return fs.realpathSync(folder)
  return path.join(withoutLinks(path.dirname(folder)), path.basename(folder))
}

function choose(wanted, persistent) {
  if (wanted !== undefined) return withoutLinks(path.resolve(wanted))
  const name = projectName()
  if (persistent === false) return temporaryDirectory(`${name}-temporary`)
  return homeDirectory(name) ?? temporaryDirectory(name)
}

/** Root's own closed directory, from mkdtemp for instance, is opened for passing through; no folder above it is. */
function letPass(directory, user) {
  if (closedFolder(directory, user) === directory && isOurs(directory)) {
    fs.chmodSync(directory, fs.statSync(directory).mode | 0o011)
  }
  const closed = closedFolder(directory, user)
  if (closed === undefined) return
  throw unusable(
    `PostgreSQL runs as uid ${user.uid} here, because it refuses to run as root, and that user may not enter ${closed}: allow it (chmod o+x ${closed}), or choose another directory than ${directory}`
  )
}

/**
 * The directory of the database: absolute, without symbolic links, and made where it was missing.
 * @param {string | undefined} wanted
 * @param {boolean | undefined} persistent
 * @returns {string}
 */
function openDirectory(wanted, persistent) {
  const directory = choose(wanted, persistent)
  letPass(directory, serverUser(directory))
  if (fs.existsSync(path.join(directory, 'PG_VERSION'))) {
    throw unusable(
      `${directory} is itself a data directory of PostgreSQL: pass a directory of its own, in which the data is kept beside locks and log`
    )
  }
  const created = make(directory) !== undefined
  fs.accessSync(directory, fs.constants.W_OK)
  if (created && persistent === false) fs.writeFileSync(path.join(directory, CREATED), '')
  return directory
}

/** The name of something unfinished: complete things are renamed out of it, and doomed ones into it. */
const unfinished = directory => path.join(directory, `unfinished-${crypto.randomBytes(6).toString('hex')}`)

const remove = file => fs.promises.rm(file, { recursive: true, force: true, maxRetries: 3 })

/**
 * Removes what was left by someone who was killed half-way.
 * @param {string} directory its start lock is held
 */
async function sweep(directory) {
  for (const name of fs.readdirSync(directory).filter(name => name.startsWith('unfinished-'))) {
    // An initdb whose parent was killed may still be writing; the next start sweeps again.
    await remove(path.join(directory, name)).catch(() => {})
  }
}

/**
 * Removes the database, and nothing that someone else put beside it.
 * @param {string} directory its use lock is held, exclusively or by someone who is starting
 */
async function removeDatabase(directory) {
  const data = path.join(directory, 'data')
  // By one rename, so that whoever is killed here leaves no half of a database.
  if (fs.existsSync(data)) fs.renameSync(data, unfinished(directory))
  const ours = name => name === 'server.log' || name === 'machine' || /^(unfinished|binaries)-/.test(name)
  for (const name of fs.readdirSync(directory).filter(ours)) await remove(path.join(directory, name))
}

/**
 * Removes the locks too, and the directory where it was made for the database.
 * @param {string} directory both of its locks are held exclusively
 */
function removeDirectory(directory) {
  const created = fs.existsSync(path.join(directory, CREATED))
  // start.lock last: from then on the directory may be another's.
  for (const name of [CREATED, 'use.lock', 'start.lock']) fs.rmSync(path.join(directory, name), { force: true })
  if (!created) return
  try {
    fs.rmdirSync(directory)
  } catch (error) {
    if (!['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes(error.code)) throw error
  }
}

module.exports = { openDirectory, unfinished, sweep, removeDatabase, removeDirectory }
