// A Redis of a test's own: `redis-server` on a free port, in a folder that goes with it. It can be stopped and started
// again in mid-run. Where there is none the tests fail: they are not skipped.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from './wait'

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  const address = server.address()
  await new Promise(resolve => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

export class TestRedis {
  private child: ChildProcess | undefined

  private constructor(
    readonly port: number,
    private readonly directory: string,
    private readonly password: string,
    /** Another free port, for TLS. */
    readonly secondPort: number,
    private readonly more: readonly string[]
  ) {}

  /** A server that is ready. `more` are arguments of its own, made with the second port. */
  static async start(password = '', more: (secondPort: number) => readonly string[] = () => []) {
    const [port, second] = [await freePort(), await freePort()]
    const directory = await mkdtemp(join(tmpdir(), 'tamma-redis-'))
    const redis = new TestRedis(port, directory, password, second, more(second))
    await redis.run()
    return redis
  }

  get url() {
    return `redis://${this.password && `:${this.password}@`}127.0.0.1:${this.port}/0`
  }

  /** Starts it again, empty. */
  async run() {
    const args = [
      '--port',
      String(this.port),
      '--bind',
      '127.0.0.1',
      '--dir',
      this.directory,
      '--save',
      '',
      '--appendonly',
      'no',
      ...this.more
    ]
    if (this.password) args.push('--requirepass', this.password)
    const child = spawn('redis-server', args, { stdio: 'ignore' })
    this.child = child
    let failed: Error | undefined
    child.on('error', cause => {
      failed = new Error('redis-server is needed for these tests: install it (apt-get install redis-server)', { cause })
    })
    await until('redis-server', async () => {
      if (failed) throw failed
      return (await this.command('PING')).length > 0 ? true : undefined
    })
  }

  /** Ends it at once, as a crash would. */
  async stop() {
    const { child } = this
    this.child = undefined
    if (child === undefined || child.exitCode !== null) return
    const ended = new Promise(resolve => child.once('exit', resolve))
    child.kill('SIGKILL')
    await ended
  }

  /** Holds it up: it takes connections and answers nothing. */
  pause() {
    this.child?.kill('SIGSTOP')
  }

  resume() {
    this.child?.kill('SIGCONT')
  }

  async drop() {
    this.resume()
    await this.stop()
    await rm(this.directory, { recursive: true, force: true })
  }

  /** The raw answer to one command; empty where nobody answers. */
  command(...words: string[]): Promise<string> {
    return new Promise(resolve => {
      const socket = connect(this.port, '127.0.0.1')
      let answer = ''
      const auth = this.password ? `AUTH ${this.password}\r\n` : ''
      socket.on('connect', () => socket.write(`${auth}${words.join(' ')}\r\nQUIT\r\n`))
      socket.on('data', data => {
        answer += data.toString('latin1')
      })
      socket.on('error', () => resolve(''))
      socket.on('close', () => resolve(answer))
    })
  }
}
