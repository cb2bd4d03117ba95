// A network between client and server that can be cut, and can fall silent.
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

export class Network {
  private readonly pairs = new Set<[Socket, Socket]>()
  private silent = false
  /** Bytes from the server after which each connection is cut. */
  private limit = Number.POSITIVE_INFINITY

  private constructor(
    readonly url: string,
    private readonly server: Server
  ) {}

  /** A way to the server of `url`, by a port of its own. */
  static async to(url: string) {
    const target = new URL(url)
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const here = new URL(url)
    here.host = `127.0.0.1:${(server.address() as { port: number }).port}`
    const network = new Network(here.href, server)
    server.on('connection', near => network.join(near, connect(Number(target.port || 5432), target.hostname)))
    return network
  }

  private join(near: Socket, far: Socket) {
    const pair: [Socket, Socket] = [near, far]
    this.pairs.add(pair)
    let passed = 0
    near.on('data', data => this.silent || far.write(data))
    far.on('data', data => {
      if (this.silent) return
      passed += data.length
      const over = passed - this.limit
      if (over >= 0) {
        near.end(data.subarray(0, data.length - over))
        far.destroy()
      } else if (!near.write(data)) {
        far.pause()
        near.once('drain', () => far.resume())
      }
    })
    for (const [one, other] of [pair, [far, near]]) {
      one.on('error', () => {})
      one.on('close', () => {
        other.destroy()
        this.pairs.delete(pair)
      })
    }
  }

  get connections() {
    return this.pairs.size
  }

  /** Nothing passes from now on, in either direction, and nobody is told. */
  fallSilent() {
    this.silent = true
  }

  /** What is open stays dead; new connections work again. */
  heal() {
    this.cut()
    this.silent = false
    this.limit = Number.POSITIVE_INFINITY
  }

  cut() {
    for (const [near, far] of this.pairs) {
      near.resetAndDestroy()
      far.destroy()
    }
  }

  /** Cuts every new connection after so many bytes from the server. */
  cutAfter(bytes: number) {
    this.limit = bytes
  }

  async close() {
    this.cut()
    this.server.close()
    await once(this.server, 'close')
  }
}
