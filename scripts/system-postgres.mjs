// The PostgreSQL whose programs are on the PATH, started for the tests alone: in a temporary folder,
// as a user that is not root, with a password, on a free port of the loopback address.
import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmod, chown, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)
const START_TIMEOUT = 30_000

/** PostgreSQL refuses to run as root. Of the usual accounts, the one that is there. */
async function unprivileged() {
  if (process.getuid?.() !== 0) return {}
  const accounts = (await readFile('/etc/passwd', 'utf8')).split('\n').map(line => line.split(':'))
  for (const name of ['postgres', 'nobody']) {
    const account = accounts.find(fields => fields[0] === name)
    if (account) return { uid: Number(account[2]), gid: Number(account[3]) }
  }
  throw new Error('PostgreSQL does not run as root, and there is neither a user postgres nor nobody')
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

/** The version of the programs on the PATH, or undefined where they are missing. */
export async function systemPostgresVersion() {
  try {
    const [{ stdout }] = await Promise.all([run('postgres', ['--version']), run('initdb', ['--version'])])
    return /(\d+)(?:\.\d+)*/.exec(stdout)?.[0]
  } catch {
    return undefined
  }
}

/** @returns {Promise<{ url: string, stop: () => Promise<void> }>} */
export async function startSystemPostgres() {
  const account = await unprivileged()
  const folder = await mkdtemp(join(tmpdir(), 'tamma-postgres-'))
  const data = join(folder, 'data')
  const password = randomBytes(12).toString('hex')
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('PG')))
  let server
  const stop = async () => {
    if (server && server.exitCode === null && server.signalCode === null) {
      const gone = once(server, 'close')
      server.kill('SIGINT')
      await gone
    }
    await rm(folder, { recursive: true, force: true })
  }

  try {
    const passwordFile = join(folder, 'password')
    await writeFile(passwordFile, password)
    if (account.uid !== undefined) {
      await chmod(folder, 0o700)
      for (const path of [folder, passwordFile]) await chown(path, account.uid, account.gid)
    }
    const cluster = ['-U', 'postgres', '-A', 'scram-sha-256', `--pwfile=${passwordFile}`, '-E', 'UTF8', '--locale=C']
    await run('initdb', ['-D', data, ...cluster, '--no-sync'], { ...account, env, cwd: folder })

    const port = await freePort()
    const settings = { fsync: 'off', max_connections: 200, listen_addresses: '127.0.0.1', unix_socket_directories: '' }
    const options = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
    server = spawn('postgres', ['-D', data, '-p', String(port), ...options], {
      ...account,
      env,
      cwd: folder,
      stdio: ['ignore', 'ignore', 'pipe']
    })
    let said = ''
    server.stderr.setEncoding('utf8').on('data', text => {
      said = (said + text).slice(-4_000)
    })
    const deadline = Date.now() + START_TIMEOUT
    while (!said.includes('ready to accept connections')) {
      if (server.exitCode !== null || Date.now() > deadline) throw new Error(`PostgreSQL did not start:\n${said}`)
      await sleep(50)
    }
    return { url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`, stop }
  } catch (error) {
    await stop()
    throw error
  }
}
