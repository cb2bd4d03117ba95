// Threads and processes that end at any moment: no crash, no hang, no connection left on the server.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { TestDatabase } from './support/database'
import { PACKAGE, program } from './support/program'

let database: TestDatabase

beforeAll(async () => {
  database = await TestDatabase.create({ events: 20_000 })
})
afterAll(() => database?.drop())
beforeEach(() => database.deserted())

const clean = { code: 0, signal: null, stderr: '' }
const { code: _, ...rest } = clean
const run = (text: string, options?: Parameters<typeof program>[2]) => program(database.url, text, options)

/** Starts threads that run `body`, which posts a message when it is at work, and ends each soon after. */
const terminating = (count: number, body: string, inThread = '') => `
  const { Worker } = require('node:worker_threads')
  const { setTimeout: sleep } = require('node:timers/promises')
  const body = ${JSON.stringify(`
    const { parentPort } = require('node:worker_threads')
    const { setTimeout: sleep } = require('node:timers/promises')
    const { connect } = require(${JSON.stringify(PACKAGE)})
    const url = process.env.TEST_URL
    ;(async () => { ${body} })().catch(error => { console.error('thread:', error); process.exit(9) })`)}
  async function one(i) {
    const worker = new Worker(body, { eval: true, workerData: i, env: process.env })
    await new Promise((resolve, reject) => { worker.once('message', resolve); worker.once('error', reject); worker.once('exit', resolve) })
    await sleep(i % 6)
    await worker.terminate()
  }
  ;(async () => {
    let next = 0
    ${inThread}
    await Promise.all(Array.from({ length: 6 }, async () => { while (next < ${count}) await one(next++) }))
    console.log('ended', next, await left())
  })()
  /** Connections of the ended threads, once they had time to go: this process lives on. */
  async function left() {
    const client = await connect({ url, pool: { max: 1 } })
    for (let turn = 1; ; turn++) {
      const { rows } = await client.sql\`SELECT pid, state, query FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'tamma-events' AND pid <> pg_backend_pid()\`.execute()
      if (rows.length === 0 || turn === 60) {
        await client.close()
        return JSON.stringify(rows)
      }
      await sleep(50)
    }
  }`

describe('threads that are terminated', () => {
  test('two hundred in mid-query', async () => {
    const result = await run(
      terminating(
        200,
        `const { workerData: i } = require('node:worker_threads')
         const client = await connect({ url, pool: { max: 2 } })
         const silent = () => client.sql\`SELECT pg_sleep(300)::text AS slept\`
         const kinds = [
           () => silent().execute(),
           () => silent().execute({ signal: new AbortController().signal, timeout: 200000 }),
           () => silent().executeStream().next(),
           async () => { for await (const row of client.query().executeStream()) if (row.id === '') return },
           async () => { for (;;) await client.query().limit(20).execute() },
           async () => { const stream = client.query().executeStream(); await stream.next() },
           async () => { for (;;) await Promise.all([client.query().execute(), client.query().limit(1).explain(), silent().execute({ timeout: 3 }).catch(() => {})]) },
           () => client.close()
         ]
         const running = kinds[i % kinds.length]()
         parentPort.postMessage('at work')
         await running`
      ),
      { limit: 120_000 }
    )
    expect(result).toMatchObject({ ...clean, stdout: 'ended 200 []\n' })
    await database.deserted()
  }, 130_000)

  test('while they connect, and while they load the addon', async () => {
    const result = await run(
      terminating(
        40,
        `parentPort.postMessage('loaded'); for (let n = 0; n < 20; n++) connect({ url }).catch(() => {}); await sleep(100000)`
      )
    )
    expect(result).toMatchObject({ ...clean, stdout: 'ended 40 []\n' })
    await database.deserted()
  })

  test('others, and the main thread, are not disturbed', async () => {
    const result = await run(
      terminating(
        30,
        `const client = await connect({ url, pool: { max: 1 } })
         const running = client.sql\`SELECT pg_sleep(300)::text AS slept\`.execute()
         parentPort.postMessage('at work')
         await running`,
        `const client = await connect({ url, pool: { max: 3 } })
         let [ended, answers] = [false, 0]
         const own = Array.from({ length: 3 }, async (_, n) => {
           while (!ended) {
             const { rows } = await client.sql\`SELECT \${n}::int AS n, count(*) AS c FROM events\`.execute()
             if (rows[0].n !== n || rows[0].c !== 20000) throw new Error('a wrong answer')
             answers++
           }
         })
         setTimeout(async () => { while (next < 30) await sleep(10); ended = true; await Promise.all(own); await client.close(); console.log(answers > 30) }, 0)`
      )
    )
    expect(result).toMatchObject(clean)
    expect(result.stdout.split('\n').sort().join(' ').trim()).toBe('ended 30 [] true')
  })

  test('that end by themselves with queries pending', async () => {
    const result = await run(
      terminating(
        20,
        `const client = await connect({ url, pool: { max: 1 } })
         client.sql\`SELECT pg_sleep(300)::text AS slept\`.execute()
         client.query().executeStream().next()
         parentPort.postMessage('at work')
         await sleep(3)
         process.exit(0)`
      )
    )
    expect(result).toMatchObject({ ...clean, stdout: 'ended 20 []\n' })
    await database.deserted()
  })
})

describe('a process', () => {
  test('with an idle client ends by itself', async () => {
    const result = await run(
      `connect({ url }).then(async client => { const { rowCount } = await client.query().limit(3).execute(); console.log(rowCount) })`
    )
    expect(result).toMatchObject({ ...clean, stdout: '3\n' })
    expect(result.ms).toBeLessThan(10_000)
    await database.deserted()
  })

  test('waits for what it waits for: every promise settles, and the exit code is 0', async () => {
    const result = await run(`(async () => {
      const client = await connect({ url })
      const sleeping = () => client.sql\`SELECT pg_sleep(0.3)::text AS slept\`
      console.log((await sleeping().execute()).rowCount)
      console.log((await sleeping().execute({ signal: new AbortController().signal })).rowCount)
      for await (const row of sleeping().executeStream()) console.log(row.slept === '')
      console.log((await Promise.all([1, 2, 3].map(() => sleeping().execute()))).length)
      console.log(await sleeping().execute({ timeout: 50 }).catch(error => error.code))
      console.log((await client.append([{ type: 'A.B' }])).count)
      console.log((await client.query().limit(1).explain()).strategy)
      const late = sleeping().execute({ queryId: 'late' }).catch(error => error.code)
      await client.optimizer.cancelQuery('late')
      console.log(await late)
      await client.close()
      console.log('closed')
    })()`)
    expect(result).toMatchObject({
      ...clean,
      stdout: '1\n1\ntrue\n3\nQUERY_TIMEOUT\n1\nsingle\nQUERY_CANCELLED\nclosed\n'
    })
  })

  test('waits for a top-level await in a module', async () => {
    const result = await run(`import('node:module').then(async () => {
      const { spawnSync } = require('node:child_process')
      const text = \`import events from '\${${JSON.stringify(`file://${PACKAGE}`)}}'
        const client = await events.connect({ url: process.env.TEST_URL })
        const { rows } = await client.sql\\\`SELECT pg_sleep(0.2)::text AS slept\\\`.execute()
        for await (const row of client.sql\\\`SELECT pg_sleep(0.2)::text AS slept\\\`.executeStream()) rows.push(row)
        console.log(rows.length)\`
      const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', text], { encoding: 'utf8' })
      console.log(status, stdout.trim(), stderr)
    })`)
    expect(result).toMatchObject({ ...clean, stdout: '0 2 \n' })
  })

  test('that returns from a loop over a stream, and keeps nothing, ends', async () => {
    const result = await run(`connect({ url }).then(async client => {
      for await (const row of client.query().executeStream()) break
      const held = client.query().executeStream()
      await held.next()
      globalThis.held = held
      console.log('done')
    })`)
    expect(result).toMatchObject({ ...clean, stdout: 'done\n' })
    expect(result.ms).toBeLessThan(10_000)
    await database.deserted()
  })

  test.each([
    'process.exit(0)',
    'process.exit(7)',
    'process.kill(process.pid, "SIGTERM")',
    'process.kill(process.pid, "SIGKILL")',
    'process.abort()',
    'setImmediate(() => { throw new Error("of the program") })'
  ])('that ends by %s with queries, streams and an import under way leaves no connection', async end => {
    const result = await run(`connect({ url }).then(async client => {
        for (let i = 0; i < 3; i++) client.sql\`SELECT pg_sleep(300)::text AS slept\`.execute().catch(() => {})
        const stream = client.query().executeStream()
        await stream.next()
        stream.next(); stream.next()
        client.query().execute()
        client.importEvents((function* () { for (let i = 0; i < 100000; i++) yield { id: '018bcfe5-6800-7000-9000-' + String(i).padStart(12, '0'), type: 'A.B', timestamp: '2026-01-01T00:00:00Z', tags: {}, metadata: {}, data: {} } })()).catch(() => {})
        setTimeout(() => { console.log('ending'); ${end} }, 50)
      })`)
    expect(result.stdout).toBe('ending\n')
    if (end.includes('exit')) expect(result).toMatchObject({ ...rest, code: end.includes('7') ? 7 : 0 })
    else if (end.includes('kill')) expect(result.signal).toBe(end.includes('KILL') ? 'SIGKILL' : 'SIGTERM')
    else if (end.includes('throw'))
      expect(result).toMatchObject({ code: 1, stderr: expect.stringContaining('of the program') })
    await database.deserted()
  })

  test('that loads the package and does nothing ends', async () => {
    expect(await run('')).toMatchObject({ ...clean, stdout: '' })
  })

  test('that never closes: clients are collected, and their connections with them', async () => {
    const result = await run(
      `(async () => {
        const { setTimeout: sleep } = require('node:timers/promises')
        const open = async () => { const client = await connect({ url, pool: { max: 1 } }); await client.query().limit(1).execute() }
        for (let i = 0; i < 15; i++) await open()
        for (let i = 0; i < 20; i++) { await sleep(20); global.gc() }
        const client = await connect({ url, pool: { max: 1 } })
        const { rows } = await client.sql\`SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tamma-events'\`.execute()
        console.log(rows[0].n)
        await client.close()
      })()`,
      { flags: ['--expose-gc'] }
    )
    expect(result).toMatchObject(clean)
    expect(Number(result.stdout)).toBeLessThanOrEqual(2)
  })
})
