'use strict'

/**
 * The server's main process: found by its pid file, started, and stopped.
 *
 * `postmaster.pid` tells the pid (line 1), the port (line 4) and the state (line 8). It survives crashes,
 * and its pid may belong to another program by then. It is never deleted here: by its later lines
 * PostgreSQL recognises that processes of a crashed server still use the data.
 */

const { spawnSync } = require('node:child_process')
const crypto = require('node:crypto')
const fs = require('node:fs')
const path = require('node:path')
const { findPackage, program } = require('./binaries.js')
const { answers, freePort } = require('./port.js')
const { startDetached } = require('./programs.js')
const { sleep, until } = require('./wait.js')

/** No process has it: beyond every system's largest pid. */
const DEAD = '2147483646'
const WINDOWS = process.platform === 'win32'

/** @param {string} data @returns {{ pid: number, port: number, state: string } | undefined} */
function readPidFile(data) {
  let lines
  try {
    lines = fs.readFileSync(path.join(data, 'postmaster.pid'), 'utf8').split('\n')
  } catch (error) {
    if (error.code === 'ENOENT') return undefined
    throw error
  }
  return { pid: Number.parseInt(lines[0], 10) || 0, port: Number(lines[3]), state: (lines[7] ?? '').trim() }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

function isSameFile(a, b) {
  const [x, y] = [a, b].map(file => fs.statSync(file, { bigint: true, throwIfNoEntry: false }))
  return x !== undefined && y !== undefined && x.ino === y.ino && x.dev === y.dev
}

/** Whether the process is the server of this data directory, and not another that got its pid. */
function isPostmaster(pid, data) {
  if (pid <= 0 || !isAlive(pid)) return false
  if (WINDOWS) {
    const { stdout } = spawnSync('tasklist', ['/FI', `PID eq ${pid}`, '/NH'], { encoding: 'utf8', windowsHide: true })
    return /^postgres\.exe/im.test(stdout)
  }
  if (process.platform !== 'linux') {
    const { stdout } = spawnSync('ps', ['-ww', '-o', 'command=', '-p', String(pid)], { encoding: 'utf8' })
    return stdout.includes(`postgres -D ${data} `)
  }
  try {
    const args = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
    if (path.basename(args[0]) !== 'postgres') return false
    // The working directory tells it too where the directory was renamed under a running server.
    return args.includes(data) || isSameFile(`/proc/${pid}/cwd`, data)
  } catch {
    return false // ended meanwhile, or not ours to look at
  }
}

/** The running server of this data directory, in any state. */
function findPostmaster(data) {
  const found = readPidFile(data)
  return found && isPostmaster(found.pid, data) ? found : undefined
}

/**
 * Waits until the running server is ready, or gone.
 *
 * A server that was killed or told to stop a moment ago may still have its process, its port and 'ready' in
 * its pid file. It gives an answer only if it lives, and writes 'stopping' before it answers if it was told.
 * @returns {Promise<{ pid: number, port: number } | undefined>}
 */
async function readyPostmaster(data) {
  const isReady = server => server?.state === 'ready'
  const { server } = await until(async () => {
    const server = findPostmaster(data)
    if (server === undefined) return { server }
    return isReady(server) && (await answers(server.port)) && isReady(readPidFile(data)) && { server }
  }, `the server in ${data} to be ready`)
  return server
}

/** PostgreSQL refuses to start where the pid file names a living process, whatever that is. */
function disownPidFile(data) {
  const file = path.join(data, 'postmaster.pid')
  const found = readPidFile(data)
  if (found === undefined || (found.pid > 0 && !isAlive(found.pid))) return
  const text = fs.readFileSync(file, 'utf8')
  const { uid, gid } = fs.statSync(data)
  const changed = `${file}.${crypto.randomBytes(6).toString('hex')}`
  fs.writeFileSync(changed, found.pid > 0 ? text.replace(/^\d+/, DEAD) : `${DEAD}\n`, { flag: 'wx', mode: 0o600 })
  if (!WINDOWS && process.getuid() === 0) fs.chownSync(changed, uid, gid)
  fs.renameSync(changed, file)
}

/** On Windows pg_ctl gives up administrator rights, with which the server refuses to run. */
function launch({ data, log, binaries, user, port }) {
  const settings = ['-p', String(port), '-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories=']
  const [name, args] = WINDOWS
    ? ['pg_ctl', ['start', '-D', data, '-o', settings.join(' ')]]
    : ['postgres', ['-D', data, ...settings]]
  return startDetached({ file: program(binaries, name), args, cwd: path.dirname(data), user }, log)
}

/**
 * Starts the server; the start lock is held and none was found. Where the port is taken, by another
 * program or in the moment since it was found free, another one is used.
 * @param {{ data: string, log: string, binaries: string, user: import('./user.js').User | undefined, port?: number }} options
 * @returns {Promise<{ server: { pid: number, port: number }, launched: boolean }>}
 */
async function startPostmaster(options) {
  const { data } = options
  const lastPort = readPidFile(data)?.port // clients of a crashed server find its successor there
  const ports = [options.port, lastPort].filter(port => port > 0)
  const end = performance.now() + 10_000
  for (;;) {
    disownPidFile(data)
    const outcome = launch({ ...options, port: ports.shift() ?? (await freePort()) })
    const ready = await until(() => {
      if (outcome.failed) return outcome
      const server = readPidFile(data)
      return server?.state === 'ready' && isAlive(server.pid) && { server }
    }, 'PostgreSQL to start')
    if (ready.server) return { server: ready.server, launched: true }

    // A starter that was killed may have left a server on its way up, too young then to be found.
    const server = await readyPostmaster(data)
    if (server) return { server, launched: false }
    // The second: processes of a crashed server, which end by themselves.
    const passing = /Address already in use|pre-existing shared memory block/.test(outcome.failed.message)
    if (!passing || performance.now() > end) throw outcome.failed
    await sleep(50)
  }
}

/** SIGINT: the server ends its sessions, writes everything out and goes. */
function interrupt(pid) {
  if (WINDOWS) {
    spawnSync(program(findPackage().folder, 'pg_ctl'), ['kill', 'INT', String(pid)], { windowsHide: true })
    return
  }
  try {
    process.kill(pid, 'SIGINT')
  } catch (error) {
    if (error.code !== 'ESRCH') throw error // ESRCH: it went by itself
  }
}

/** @returns {Promise<boolean>} whether there was a server to stop; it is gone */
async function stopPostmaster(data) {
  const server = findPostmaster(data)
  if (server === undefined) return false
  interrupt(server.pid)
  await until(() => !isPostmaster(server.pid, data), `the server in ${data} to stop`)
  return true
}

/** For a process that is exiting, and cannot wait for the server to go. */
function stopPostmasterAtExit(data) {
  const server = findPostmaster(data)
  if (server !== undefined) interrupt(server.pid)
}

module.exports = { readyPostmaster, startPostmaster, stopPostmaster, stopPostmasterAtExit }
