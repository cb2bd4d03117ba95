import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterAll, describe, expect, test } from 'vitest'
import {
  Child,
  cleanUp,
  failure,
  freshDirectory,
  lib,
  ownDatabase,
  processesUnder,
  query,
  root,
  startEmbedded,
  stoppedDatabase
} from './embedded-harness.js'

afterAll(async () => {
  expect(await cleanUp()).toEqual([])
})

describe('start, join, stop', () => {
  test('several at once in one process: one server, one starter, one stopper', async () => {
    const directory = freshDirectory()
    const servers = await Promise.all([1, 2, 3].map(() => startEmbedded({ directory })))
    expect(servers.filter(server => !server.joined)).toHaveLength(1)
    expect(new Set(servers.map(server => server.url)).size).toBe(1)
    expect(new Set(servers.map(server => server.pid)).size).toBe(1)
    expect(await query(servers[0].url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])

    const begun = performance.now()
    const late = await startEmbedded({ directory })
    expect(performance.now() - begun).toBeLessThan(1000) // 1 ms where nothing else runs
    servers.push(late)

    const first = servers.pop()
    expect(await first?.stop()).toBe(false)
    expect(await query(servers[0].url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
    const stopped = await Promise.all(servers.map(server => server.stop()))
    expect(stopped.filter(Boolean)).toHaveLength(1)
    expect(processesUnder(directory)).toEqual([])
    expect(fs.existsSync(path.join(directory, 'data', 'postmaster.pid'))).toBe(false)
  })

  test('stop may be called again, at once and later', async () => {
    const server = await startEmbedded({ directory: await stoppedDatabase() })
    expect(await Promise.all([server.stop(), server.stop()])).toEqual([true, true])
    expect(await server.stop()).toBe(true)
  })

  test('the data, the url and its password stay over a restart', async () => {
    const directory = await ownDatabase()
    const first = await startEmbedded({ directory, port: 0 })
    await query(first.url, 'CREATE TABLE more AS SELECT 43 AS answer')
    await first.stop()
    const second = await startEmbedded({ directory, port: first.port })
    expect(await query(second.url, 'SELECT * FROM kept UNION SELECT * FROM more ORDER BY 1')).toEqual([
      { answer: 42 },
      { answer: 43 }
    ])
    expect(second.url).toBe(first.url)
    await second.stop()
  })

  test('a process ends by itself: nothing is left open after stop, and a running server does not hold it', async () => {
    const directory = await stoppedDatabase()
    const stopping = new Child({ directory })
    await stopping.start()
    expect(await stopping.stop()).toBe(true)
    await stopping.ask('detach')
    expect(await stopping.exited).toBe(0)
    for (const way of ['detach', 'exit']) {
      const leaving = new Child({ directory })
      const { url } = await leaving.start()
      await leaving.ask(way).catch(() => {})
      expect(await leaving.exited).toBe(0)
      // It was the last user, and has told the server to stop.
      await expect.poll(() => processesUnder(directory), { timeout: 10_000 }).toEqual([])
      await expect(query(url, 'SELECT 1')).rejects.toThrow(/ECONNREFUSED/)
    }
  })

  test('a process that exits does not take the server from others', async () => {
    const server = await startEmbedded({ directory: await stoppedDatabase() })
    const leaving = new Child({ directory: server.directory })
    expect((await leaving.start()).joined).toBe(true)
    await leaving.ask('exit').catch(() => {})
    await leaving.exited
    expect(await query(server.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
    expect(await server.stop()).toBe(true)
  })

  test('worker threads share the server, and a terminated one leaves no lock', async () => {
    const directory = await stoppedDatabase()
    const code = `
      const { parentPort, workerData } = require('node:worker_threads')
      const { startEmbedded } = require(workerData.lib + '/embedded')
      startEmbedded({ directory: workerData.directory })
        .then(({ joined, pid }) => parentPort.postMessage({ joined, pid }), error => parentPort.postMessage({ error }))
      setInterval(() => {}, 1000)`
    const workers = [1, 2, 3].map(() => new Worker(code, { eval: true, workerData: { lib, directory } }))
    const answers = await Promise.all(
      workers.map(
        worker =>
          new Promise<{ joined: boolean; pid: number; error?: Error }>((resolve, reject) => {
            worker.once('message', resolve).once('error', reject)
          })
      )
    )
    expect(answers.map(answer => answer.error)).toEqual([undefined, undefined, undefined])
    expect(answers.filter(answer => !answer.joined)).toHaveLength(1)
    const server = await startEmbedded({ directory })
    expect(server.joined).toBe(true)
    await Promise.all(workers.map(worker => worker.terminate()))
    expect(await query(server.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
    expect(await server.stop()).toBe(true)
  })
})

describe('port', () => {
  test('a taken one: another is used and reported', async () => {
    const taken = net.createServer()
    await new Promise<void>(resolve => taken.listen(0, '127.0.0.1', resolve))
    const { port } = taken.address() as net.AddressInfo
    const server = await startEmbedded({ directory: await stoppedDatabase(), port })
    expect(server.port).not.toBe(port)
    expect(await query(server.url, 'SHOW port')).toEqual([{ port: String(server.port) }])
    expect(await server.stop()).toBe(true)
    await new Promise(resolve => taken.close(resolve))
  })

  test('a free one is used, and who joins learns it whatever they asked for', async () => {
    const directory = await stoppedDatabase()
    const probe = net.createServer()
    await new Promise<void>(resolve => probe.listen(0, '127.0.0.1', resolve))
    const { port } = probe.address() as net.AddressInfo
    await new Promise(resolve => probe.close(resolve))
    const server = await startEmbedded({ directory, port })
    expect(server.port).toBe(port)
    const joined = await startEmbedded({ directory, port: port === 65535 ? 65534 : port + 1 })
    expect(joined.port).toBe(port)
    await Promise.all([server.stop(), joined.stop()])
  })
})

describe('safety', () => {
  test('listens on 127.0.0.1 only, without a Unix socket, and lets no one in without the password', async () => {
    const server = await startEmbedded({ directory: await stoppedDatabase() })
    const settings = await query(
      server.url,
      `SELECT current_setting('listen_addresses') AS listen, current_setting('unix_socket_directories') AS sockets,
        current_setting('fsync') AS fsync, current_setting('password_encryption') AS passwords,
        (SELECT array_agg(DISTINCT auth_method) FROM pg_hba_file_rules) AS methods`
    )
    expect(settings).toEqual([
      { listen: '127.0.0.1', sockets: '', fsync: 'on', passwords: 'scram-sha-256', methods: ['scram-sha-256'] }
    ])
    const { password } = new URL(server.url)
    expect(password.length).toBeGreaterThanOrEqual(32)
    await expect(query(server.url.replace(password, 'wrong'), 'SELECT 1')).rejects.toThrow(/authentication failed/)
    await expect(query(server.url.replace(`:${password}`, ''), 'SELECT 1')).rejects.toThrow(/password/)
    if (process.platform !== 'win32') {
      expect(fs.statSync(path.join(server.directory, 'data')).mode & 0o777).toBe(0o700)
      expect(fs.statSync(path.join(server.directory, 'data', 'tamma-password')).mode & 0o777).toBe(0o600)
    }
    await server.stop()
  })

  test('neither statements nor keys reach the log', async () => {
    const server = await startEmbedded({ directory: await ownDatabase() })
    await query(server.url, 'CREATE TABLE t (k text PRIMARY KEY)')
    for (const sql of [`SELECT 'hush' / 0`, `INSERT INTO t VALUES ('hush'), ('hush')`, `SELECT hush`]) {
      await expect(query(server.url, sql)).rejects.toThrow()
    }
    await expect(query(server.url, `SELECT 'hush', pg_terminate_backend(pg_backend_pid())`)).rejects.toThrow()
    expect(fs.readFileSync(path.join(server.directory, 'server.log'), 'utf8')).not.toContain('hush')
    await server.stop()
  })

  test('the environment of the caller does not reach the server', async () => {
    const child = new Child(
      { directory: await stoppedDatabase() },
      {
        env: {
          PGPORT: '1',
          PGDATA: '/nonexistent',
          PGOPTIONS: '-c bad=1',
          LC_ALL: 'de_DE.UTF-8',
          DATABASE_URL: 'secret'
        }
      }
    )
    const { pid, url } = await child.start()
    expect(await query(url, 'SELECT * FROM kept')).toEqual([{ answer: 42 }])
    if (process.platform === 'linux') {
      expect(fs.readFileSync(`/proc/${pid}/environ`, 'latin1')).not.toMatch(/secret|PGPORT/)
    }
    await child.stop()
    await child.end()
  })
})

describe('errors', () => {
  test.each([
    [{ directory: '' }, 'embedded.directory'],
    [{ directory: 'a\0b' }, 'embedded.directory'],
    [{ directory: 7 }, 'embedded.directory'],
    [{ port: 65536 }, 'embedded.port'],
    [{ port: 1.5 }, 'embedded.port'],
    [{ port: '5432' }, 'embedded.port'],
    [{ persistent: 'no' }, 'embedded.persistent']
  ])('%j is refused', async (options, where) => {
    const error = await failure(startEmbedded(options as object))
    expect(error).toMatchObject({ name: 'EventsError', code: 'INVALID_QUERY', path: where })
  })

  test('a failed start tells what the server said, leaves nothing running and no lock', async () => {
    const directory = await ownDatabase()
    const config = path.join(directory, 'data', 'postgresql.conf')
    const text = fs.readFileSync(config, 'utf8')
    fs.writeFileSync(config, `${text}\nnonsense_setting = 1\n`)
    const error = await failure(startEmbedded({ directory }))
    expect(error).toMatchObject({ name: 'EventsError', code: 'CONNECTION_FAILED' })
    expect(error.message).toMatch(/postgres ended with exit code 1: FATAL: .*configuration file/)
    expect(processesUnder(directory)).toEqual([])
    fs.writeFileSync(config, text)
    const server = await startEmbedded({ directory })
    expect(await server.stop()).toBe(true)
  })

  test('data of another major version', async () => {
    const directory = await ownDatabase()
    fs.writeFileSync(path.join(directory, 'data', 'PG_VERSION'), '15\n')
    const error = await failure(startEmbedded({ directory }))
    expect(error).toMatchObject({ code: 'CONNECTION_FAILED', path: 'embedded.directory' })
    expect(error.message).toMatch(/made by PostgreSQL 15, and PostgreSQL \d+ is installed/)
  })

  test('directories that hold something else are not touched', async () => {
    const cluster = path.join(await stoppedDatabase(), 'data')
    expect((await failure(startEmbedded({ directory: cluster }))).message).toMatch(/is itself a data directory/)

    const foreign = freshDirectory()
    fs.mkdirSync(path.join(foreign, 'data'), { recursive: true })
    fs.writeFileSync(path.join(foreign, 'data', 'thesis.txt'), 'years of work')
    fs.chmodSync(foreign, 0o755)
    if (process.getuid?.() === 0) fs.chownSync(path.join(foreign, 'data'), 65534, 65534)
    expect((await failure(startEmbedded({ directory: foreign }))).message).toMatch(/is not empty, and not a data/)
    expect(fs.readFileSync(path.join(foreign, 'data', 'thesis.txt'), 'utf8')).toBe('years of work')

    const file = path.join(root, 'file')
    fs.writeFileSync(file, '')
    for (const directory of [file, path.join(file, 'below')]) {
      const error = await failure(startEmbedded({ directory }))
      expect(error).toMatchObject({ name: 'EventsError', code: 'CONNECTION_FAILED', path: 'embedded.directory' })
    }
  })

  test('a lost password file', async () => {
    const directory = await ownDatabase()
    fs.rmSync(path.join(directory, 'data', 'tamma-password'))
    expect((await failure(startEmbedded({ directory }))).message).toMatch(/tamma-password is missing/)
    expect(processesUnder(directory)).toEqual([])
  })
})
