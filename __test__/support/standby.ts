// A standby of an embedded server: a cold copy of its data that goes on by streaming. Linux only.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { join } from 'node:path'
import pg from 'pg'
import { until } from './wait'

export interface Server {
  url: string
  port: number
  pid: number
  stop(): Promise<boolean>
}
const { startEmbedded } = createRequire(import.meta.url)('../../lib/embedded') as {
  startEmbedded(options: { directory: string; port?: number }): Promise<Server>
}

export async function freePort() {
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as { port: number }
  listener.close()
  await once(listener, 'close')
  return port
}

export class Standby {
  private child: ChildProcess | undefined

  private constructor(
    readonly primary: Server,
    readonly port: number,
    private readonly copy: string,
    private readonly binary: string
  ) {}

  /** Stops the server of `directory`, copies it into `copy`, and starts both. */
  static async of(server: Server, directory: string, copy: string) {
    const { port } = server
    const binary = readlinkSync(`/proc/${server.pid}/exe`)
    const { password, username } = new URL(server.url)
    await server.stop()
    execFileSync('cp', ['-a', join(directory, 'data'), copy])
    const primary = await startEmbedded({ directory, port })
    writeFileSync(join(copy, 'standby.signal'), '')
    rmSync(join(copy, 'postmaster.pid'), { force: true })
    appendFileSync(
      join(copy, 'postgresql.auto.conf'),
      `\nprimary_conninfo = 'host=127.0.0.1 port=${port} user=${username} password=${password}'\n`
    )
    const standby = new Standby(primary, await freePort(), copy, binary)
    await standby.start()
    return standby
  }

  url(primary: string) {
    const url = new URL(primary)
    url.port = String(this.port)
    return url.href
  }

  async start() {
    // As the user that the primary runs as: the data's owner.
    const { uid, gid } = statSync(this.copy)
    const options = ['unix_socket_directories=', 'listen_addresses=127.0.0.1'].flatMap(option => ['-c', option])
    this.child = spawn(this.binary, ['-D', this.copy, '-p', String(this.port), ...options], {
      cwd: this.copy,
      stdio: 'ignore',
      ...(process.getuid?.() === 0 ? { uid, gid } : {})
    })
    const session = await this.session(this.primary.url)
    await session.end()
  }

  /** A connection to a database of the standby, once there is one to be had. */
  async session(primary: string) {
    const opened = () => {
      const session = new pg.Client({ connectionString: this.url(primary) })
      session.on('error', () => {})
      return session.connect().then(
        () => session,
        () => undefined
      )
    }
    return await until('a standby', opened, 60_000)
  }

  async stop() {
    const { child } = this
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGINT')
    await once(child, 'exit')
  }
}
