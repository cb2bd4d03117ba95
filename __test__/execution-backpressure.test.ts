// Streams under load: flat memory, a server that waits for a slow reader, an event loop that keeps turning, and ten
// thousand streams that are left after a few rows.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EventsClient } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'
import { program } from './support/program'
import { gap, inParallel, until } from './support/wait'

const COUNT = 50_000

let database: TestDatabase
let client: EventsClient

beforeAll(async () => {
  database = await TestDatabase.create({ events: COUNT })
  client = await database.connect({ pool: { max: 4 } })
})
afterAll(() => database?.drop())

describe('a million rows', () => {
  /** Reads them and prints by how many MB the resident memory grew, at the most. */
  const reading = (body: string) => `(async () => {
    const { setTimeout: sleep } = require('node:timers/promises')
    const client = await connect({ url })
    const rows = n => client.sql\`SELECT generate_series(1, \${n}::int) AS i, repeat('x', 300) AS x, jsonb_build_object('a', 1, 'b', 'é') AS j\`.executeStream()
    for await (const row of rows(50000)) if (row.i < 0) throw new Error('never')
    global.gc()
    const before = process.memoryUsage.rss()
    let most = 0
    let n = 0
    const look = () => { most = Math.max(most, process.memoryUsage.rss() - before) }
    ${body}
    look()
    console.log(JSON.stringify({ n, grown: most / 1048576 }))
    await client.close()
  })()`

  test('memory stays flat while they pass', async () => {
    const { code, stdout, stderr } = await program(
      database.url,
      reading(
        `for await (const row of rows(1000000)) { if (row.i !== ++n) throw new Error('out of order'); if (n % 5000 === 0) look() }`
      ),
      { flags: ['--expose-gc'] }
    )
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const { n, grown } = JSON.parse(stdout)
    expect(n).toBe(1_000_000)
    expect(grown).toBeLessThan(48)
  })

  test('a slow reader makes the server wait, and holds nothing', async () => {
    const running = program(
      database.url,
      reading(`for await (const row of rows(1000000)) { n++; if (n > 2000) break; await sleep(1); look() }`),
      { flags: ['--expose-gc'] }
    )
    await until('a server that waits for its client', async () => {
      const waiting = (await database.backends()).filter(
        b => b.wait_event === 'ClientWrite' && b.query.includes('generate_series')
      )
      return waiting.length === 1 ? waiting : undefined
    })
    const { code, stdout } = await running
    expect(code).toBe(0)
    expect(JSON.parse(stdout).grown).toBeLessThan(24)
  })
})

describe('the event loop', () => {
  /** A reader that is slower than the server, so that an answer is always there. */
  const work = (ms: number) => {
    const end = performance.now() + ms
    while (performance.now() < end);
  }

  test('turns while a stream answers at once', async () => {
    const reading = async () => {
      for await (const _ of client.query().executeStream()) work(0.02)
    }
    expect(await gap(reading)).toBeLessThan(50)
  })

  test('turns for a reader that asks without waiting', async () => {
    const reading = async () => {
      const stream = client.query().executeStream()
      for (let i = 0; i < COUNT; i += 5000)
        await Promise.all(Array.from({ length: 5000 }, () => stream.next().then(() => work(0.02))))
      await stream.return()
    }
    expect(await gap(reading)).toBeLessThan(100)
  })

  test('turns while batches arrive', async () => {
    const reading = async () => {
      for await (const _ of client.query().executeBatches({ batchSize: 100 })) work(2)
    }
    expect(await gap(reading)).toBeLessThan(50)
  })

  test('turns while large results are read whole', async () => {
    expect(await gap(() => Promise.all([1, 2, 3, 4].map(() => client.query().execute())))).toBeLessThan(100)
  })
})

describe('streams that are left after a few rows', () => {
  async function leave(count: number, width: number, open: (i: number) => AsyncIterable<unknown>) {
    await inParallel(count, width, async i => {
      let seen = 0
      for await (const _ of open(i)) if (++seen > i % 4) break
    })
  }

  async function settled(pids: number[]) {
    // 100 ms, and as much again for a machine that does other things too.
    await database.quiet(200)
    // The pool's own four, and the one that cancels: none was lost, none is new.
    expect((await database.backends()).map(b => b.pid)).toEqual(pids)
    const results = await Promise.all([1, 2, 3, 4].map(() => client.query().limit(1).execute()))
    expect(results.map(r => r.rowCount)).toEqual([1, 1, 1, 1])
  }

  test('ten thousand: no connection lost, none busy, none in a transaction', async () => {
    await leave(40, 8, () => client.query().executeStream())
    await database.quiet()
    const pids = (await database.backends()).map(b => b.pid)
    expect(pids.length).toBeLessThanOrEqual(5)
    await leave(3000, 8, i =>
      i % 2 ? client.query().executeStream() : client.query().executeBatches({ batchSize: 3 })
    )
    await settled(pids)
    // Few enough that the server has sent them all when the reader leaves.
    await leave(6700, 8, i =>
      client
        .query()
        .limit(5 + (i % 95))
        .executeStream()
    )
    await settled(pids)
    await leave(300, 8, () =>
      client.sql`SELECT generate_series(1, 1000000) AS i, repeat('x', 200) AS x`.executeStream()
    )
    await settled(pids)
  }, 240_000)

  test('while they wait for their first row', async () => {
    await leave(4, 4, () => client.query().executeStream())
    await database.quiet()
    const pids = (await database.backends()).map(b => b.pid)
    await inParallel(200, 8, async i => {
      const stream = client.sql`SELECT pg_sleep(60)::text AS slept`.executeStream()
      const row = stream.next()
      await sleep(i % 5)
      await stream.return()
      expect(await row).toEqual({ done: true, value: undefined })
    })
    await settled(pids)
  })

  test('a thousand aborted by their signals', async () => {
    await leave(4, 4, () => client.query().executeStream())
    await database.quiet()
    const pids = (await database.backends()).map(b => b.pid)
    await inParallel(1000, 8, async i => {
      const controller = new AbortController()
      let seen = 0
      const reading = (async () => {
        for await (const _ of client.query().executeStream({ signal: controller.signal }))
          if (++seen > i % 4) controller.abort()
      })()
      expect((await failure(reading, 'QUERY_CANCELLED')).name).toBe('AbortError')
    })
    await settled(pids)
  })
})
