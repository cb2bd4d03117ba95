import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import {
  Child,
  cleanUp,
  failure,
  freshDirectory,
  isRunning,
  ownDatabase,
  processesUnder,
  query,
  sleep,
  startEmbedded,
  stoppedDatabase
} from './embedded-harness.js'

afterAll(async () => {
  expect(await cleanUp()).toEqual([])
})

const pidFile = (directory: string) => path.join(directory, 'data', 'postmaster.pid')

/** Starts, proves that the kept data is there, stops as the last, and proves that nothing is left. */
async function worksAgain(directory: string) {
  const server = await startEmbedded({ directory })
  try {
    expect(await query(server.url, 'SELECT * FROM kept')).toEqual([{ answer: 42 }])
  } finally {
    expect(await server.stop()).toBe(true)
  }
  expect(processesUnder(directory)).toEqual([])
  expect(fs.existsSync(pidFile(directory))).toBe(false)
  expect(fs.readdirSync(directory).filter(name => name.startsWith('unfinished-'))).toEqual([])
  return server
}

describe('several processes', () => {
  test('six at once on nothing: one server, one starter, one stopper', async () => {
    const directory = freshDirectory()
    const children = Array.from({ length: 6 }, () => new Child({ directory }))
    const servers = await Promise.all(children.map(child => child.start()))
    expect(new Set(servers.map(server => server.pid)).size).toBe(1)
    expect(servers.filter(server => !server.joined)).toHaveLength(1)
    await Promise.all(servers.map(server => query(server.url, 'SELECT 1')))
    const stopped = await Promise.all(children.map(child => child.stop()))
    expect(stopped.filter(Boolean)).toHaveLength(1)
    expect(processesUnder(directory)).toEqual([])
    await Promise.all(children.map(child => child.end()))
  })

  test('coming and going: who has started can always query', async () => {
    const directory = await stoppedDatabase()
    const children = Array.from({ length: 4 }, () => new Child({ directory }))
    let stops = 0
    let starts = 0
    await Promise.all(
      children.map(async (child, n) => {
        for (let turn = 0; turn < 4; turn++) {
          const server = await child.start()
          if (!server.joined) starts++
          expect(await query(server.url, 'SELECT * FROM kept')).toEqual([{ answer: 42 }])
          await sleep(((turn * 7 + n * 13) % 5) * 10)
          if (await child.stop()) stops++
        }
        await child.end()
      })
    )
    expect(stops).toBe(starts)
    expect(processesUnder(directory)).toEqual([])
  })

  test('the owner is killed: the next one joins, and stops the server when it is the last', async () => {
    const directory = await stoppedDatabase()
    const owner = new Child({ directory })
    const { pid } = await owner.start()
    await owner.kill()
    const [second, third] = [await startEmbedded({ directory }), new Child({ directory })]
    expect(second).toMatchObject({ joined: true, pid })
    expect(await third.start()).toMatchObject({ joined: true, pid })
    expect(await second.stop()).toBe(false)
    expect(await third.stop()).toBe(true)
    expect(processesUnder(directory)).toEqual([])
    await third.end()
  })

  test('killed while stopping: the next one waits for the server to go, or joins it', async () => {
    const directory = await stoppedDatabase()
    for (const delay of [0, 4, 15]) {
      const owner = new Child({ directory })
      await owner.start()
      const stopping = owner.stop().catch(() => {})
      await sleep(delay)
      await owner.kill()
      await stopping
      await worksAgain(directory)
    }
  })
})

describe('killed while starting', () => {
  test('at any moment of the server coming up: one server, whole data', async () => {
    const directory = await stoppedDatabase()
    for (const delay of [0, 8, 16, 32]) {
      const owner = new Child({ directory })
      expect(await owner.ask('ready')).toBe(true)
      const starting = owner.start().catch(() => {})
      await sleep(delay)
      await owner.kill()
      await starting
      await worksAgain(directory)
    }
  })

  test('the moment its pid file appears', async () => {
    const directory = await stoppedDatabase()
    const owner = new Child({ directory })
    const starting = owner.start().catch(() => {})
    while (!fs.existsSync(pidFile(directory))) await new Promise(setImmediate)
    await owner.kill()
    await starting
    await worksAgain(directory)
  })

  const initdbs = (directory: string) => processesUnder(directory).filter(({ args }) => /initdb -D/.test(args))
  async function initdb(directory: string) {
    await expect.poll(() => initdbs(directory), { timeout: 10_000, interval: 5 }).not.toEqual([])
    await sleep(80)
    return initdbs(directory)[0]
  }

  test('initdb is killed half-way: the start tells it, and leaves nothing behind', async () => {
    const directory = freshDirectory()
    const error = failure(startEmbedded({ directory }))
    process.kill((await initdb(directory)).pid, 'SIGKILL')
    expect(await error).toMatchObject({ name: 'EventsError', code: 'CONNECTION_FAILED' })
    expect((await error).message).toMatch(/initdb was killed by SIGKILL/)
    expect(fs.readdirSync(directory).sort()).toEqual(['start.lock', 'use.lock'])
  })

  test('the starter is killed during initdb: the next one begins anew', async () => {
    const directory = freshDirectory()
    const owner = new Child({ directory })
    const starting = owner.start().catch(() => {})
    await initdb(directory)
    await owner.kill()
    await starting
    expect(fs.readdirSync(directory).some(name => name.startsWith('unfinished-'))).toBe(true)
    const server = await startEmbedded({ directory })
    expect(await query(server.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
    expect(await server.stop()).toBe(true)
    await expect.poll(() => processesUnder(directory), { timeout: 10_000 }).toEqual([])
  })
})

describe('after a crash of the server', () => {
  /** A database whose server was killed and left its pid file; its clients may still be there. */
  async function crashed() {
    const directory = await stoppedDatabase()
    const user = await startEmbedded({ directory })
    await query(user.url, 'CREATE TABLE IF NOT EXISTS late AS SELECT 1 AS one')
    process.kill(user.pid, 'SIGKILL')
    return { directory, user }
  }

  test('the pid file is left: the next start recovers the data, on the port that clients know', async () => {
    const { directory, user } = await crashed()
    expect(fs.existsSync(pidFile(directory))).toBe(true)
    const server = await startEmbedded({ directory })
    expect(server.joined).toBe(false)
    expect(server.url).toBe(user.url)
    expect(await query(user.url, 'SELECT * FROM late')).toEqual([{ one: 1 }])
    expect(await user.stop()).toBe(false)
    expect(await server.stop()).toBe(true)
    expect(processesUnder(directory)).toEqual([])
  })

  test('stop without a server to stop', async () => {
    const { directory, user } = await crashed()
    await expect.poll(() => processesUnder(directory), { timeout: 10_000 }).toEqual([])
    expect(await user.stop()).toBe(false)
    await worksAgain(directory)
  })

  /** Puts a pid into the pid file of a crashed server. */
  async function crashedWithPid(text: (pid: number) => string) {
    const { directory, user } = await crashed()
    await expect.poll(() => processesUnder(directory), { timeout: 10_000 }).toEqual([])
    await user.stop()
    fs.writeFileSync(pidFile(directory), text(user.pid))
    return directory
  }

  test('its pid belongs to another program now', async () => {
    const other = spawn('sleep', ['60'])
    try {
      const { directory, user } = await crashed()
      await user.stop()
      const stale = fs.readFileSync(pidFile(directory), 'utf8')
      fs.writeFileSync(pidFile(directory), stale.replace(/^\d+/, String(other.pid)))
      const server = await worksAgain(directory)
      expect(server.joined).toBe(false)
      expect(other.exitCode ?? other.signalCode).toBe(null)
    } finally {
      other.kill()
    }
  })

  test("its pid belongs to another database's server now", async () => {
    const other = await startEmbedded({ directory: await stoppedDatabase() })
    const { directory, user } = await crashed()
    await user.stop()
    const stale = fs.readFileSync(pidFile(directory), 'utf8')
    fs.writeFileSync(pidFile(directory), stale.replace(/^\d+/, String(other.pid)))
    await worksAgain(directory)
    expect(await query(other.url, 'SELECT * FROM kept')).toEqual([{ answer: 42 }])
    expect(await other.stop()).toBe(true)
  })

  test.each([
    ['empty', () => ''],
    ['garbage', () => 'not a pid\nat all\n'],
    ['cut off', (pid: number) => `${pid}\n`]
  ])('its pid file is %s', async (_, text) => {
    await worksAgain(await crashedWithPid(text))
  })

  test('the folder is renamed under a server whose owner was killed: joined, not started twice', async () => {
    const before = await ownDatabase()
    const owner = new Child({ directory: before })
    const { pid } = await owner.start()
    await owner.kill()
    const directory = freshDirectory()
    fs.renameSync(before, directory)
    const server = await startEmbedded({ directory })
    expect(server).toMatchObject({ joined: process.platform === 'linux', pid, directory })
    expect(await query(server.url, 'SELECT * FROM kept')).toEqual([{ answer: 42 }])
    expect(await server.stop()).toBe(true)
    expect(isRunning(pid)).toBe(false)
  })

  test('in use in another container: refused while they use it, started when they are gone', async () => {
    const { directory, user } = await crashed()
    fs.writeFileSync(path.join(directory, 'machine'), 'another one')
    const error = await failure(startEmbedded({ directory }))
    expect(error.message).toMatch(/in use on another machine or in another container/)
    await user.stop()
    await worksAgain(directory)
  })
})
