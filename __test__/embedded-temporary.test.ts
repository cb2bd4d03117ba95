import fs from 'node:fs'
import path from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import {
  Child,
  cleanUp,
  failure,
  freshDirectory,
  isRunning,
  processesUnder,
  query,
  type Server,
  startEmbedded,
  stoppedDatabase
} from './embedded-harness.js'

afterAll(async () => {
  expect(await cleanUp()).toEqual([])
})

describe('temporary', () => {
  test('the last one removes it with the directory that was made for it', async () => {
    const directory = freshDirectory()
    const children = Array.from({ length: 3 }, () => new Child({ directory, persistent: false }))
    const servers = await Promise.all(children.map(child => child.start()))
    expect(new Set(servers.map(server => server.pid)).size).toBe(1)
    expect(await query((servers[0] as Server).url, 'SHOW fsync')).toEqual([{ fsync: 'off' }])

    const error = await failure(startEmbedded({ directory, persistent: true }))
    expect(error).toMatchObject({ code: 'CONNECTION_FAILED', path: 'embedded.persistent' })
    const joined = await startEmbedded({ directory })
    expect(joined.joined).toBe(true)

    const stopped = await Promise.all([...children.map(child => child.stop()), joined.stop()])
    expect(stopped.filter(Boolean)).toHaveLength(1)
    expect(fs.existsSync(directory)).toBe(false)
    expect(processesUnder(directory)).toEqual([])
    await Promise.all(children.map(child => child.end()))
  })

  test('coming and going while it is made and removed', async () => {
    const directory = freshDirectory()
    const children = Array.from({ length: 3 }, () => new Child({ directory, persistent: false }))
    await Promise.all(
      children.map(async child => {
        for (let turn = 0; turn < 2; turn++) {
          const server = await child.start()
          expect(await query(server.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
          await child.stop()
        }
        await child.end()
      })
    )
    expect(processesUnder(directory)).toEqual([])
    expect(fs.existsSync(directory)).toBe(false)
  })

  test('a directory that was there, and what else is in it, stays', async () => {
    const directory = freshDirectory()
    fs.mkdirSync(directory)
    fs.writeFileSync(path.join(directory, 'mine.txt'), '')
    const server = await startEmbedded({ directory, persistent: false })
    expect(await server.stop()).toBe(true)
    expect(fs.readdirSync(directory)).toEqual(['mine.txt'])
  })

  test('all its users were killed: the next start clears it away and begins with an empty one', async () => {
    const directory = freshDirectory()
    const owner = new Child({ directory, persistent: false })
    const { url, pid } = await owner.start()
    await query(url, 'CREATE TABLE leftover AS SELECT 1')
    await owner.kill()
    const server = await startEmbedded({ directory, persistent: false })
    expect(server.joined).toBe(false)
    await expect(query(server.url, 'SELECT * FROM leftover')).rejects.toThrow(/does not exist/)
    expect(isRunning(pid)).toBe(false)
    expect(await server.stop()).toBe(true)
    expect(fs.existsSync(directory)).toBe(false)
  })

  test('a database that is kept is never removed', async () => {
    const directory = await stoppedDatabase()
    const error = await failure(startEmbedded({ directory, persistent: false }))
    expect(error).toMatchObject({ code: 'CONNECTION_FAILED', path: 'embedded.persistent' })
    expect(error.message).toMatch(/is kept, and is asked to be temporary/)
    const server = await startEmbedded({ directory })
    expect(await query(server.url, 'SELECT * FROM kept')).toEqual([{ answer: 42 }])
    expect(await server.stop()).toBe(true)
  })
})
