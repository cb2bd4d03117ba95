// Explaining looks things up before it asks for a plan: it can be stopped then too, and says why it ended.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { EventsClient } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'

let database: TestDatabase
let client: EventsClient
beforeAll(async () => {
  database = await TestDatabase.create({ events: 2000 })
  client = await database.connect({ pool: { max: 1, acquireTimeout: 10_000 } })
  await client.append([{ type: 'SLOW.TEXT', data: { text: `${'a'.repeat(1000)}c${'a'.repeat(500)}` } }])
})
afterAll(() => database?.drop())

/** Hours of work on the server, were it to run. */
const slow = () => client.query().where('data.text', 'regex', '^(.+)(.+)(.+)(.+)c\\1\\2\\3\\4\\4$')

/** Takes the only connection for so many milliseconds. */
const busy = (ms: number) => client.sql`SELECT pg_sleep(${ms / 1000}::float8)::text AS slept`.execute()

it('aborted while it waits for a connection, it never runs', async () => {
  const other = busy(600)
  await database.running('pg_sleep')
  const signal = AbortSignal.timeout(50)
  expect((await failure(slow().explain({ analyze: true, signal }), 'QUERY_CANCELLED')).name).toBe('AbortError')
  await other
  await sleep(200)
  const running = (await database.backends()).filter(({ state }) => state === 'active')
  expect(running.map(({ query }) => query)).toEqual([])
})

it('cancelled by its id, it ends before its first statement', async () => {
  const other = busy(600)
  await database.running('pg_sleep')
  const explaining = slow().explain({ analyze: true, queryId: 'early' })
  explaining.catch(() => {})
  await sleep(50)
  await client.optimizer.cancelQuery('early')
  await failure(explaining, 'QUERY_CANCELLED')
  await other
})

it('its time begins with the call', async () => {
  const other = busy(800)
  await database.running('pg_sleep')
  const started = performance.now()
  await failure(slow().explain({ analyze: true, timeout: 100 }), 'QUERY_TIMEOUT')
  expect(performance.now() - started).toBeLessThan(600)
  await other
})

it('what ends its run has the code of a run', async () => {
  await failure(slow().explain({ analyze: true, timeout: 100 }), 'QUERY_TIMEOUT')
  const wrong = client.query().where('data.text', 'regex', '(').explain()
  expect((await failure(wrong, 'INVALID_QUERY')).path).toMatch(/^filter\.where/u)
  await database.quiet()
})

it('a large result that is aborted between two batches says so', async () => {
  await database.fill(60_000, 2001)
  const wide = await database.connect({ limits: { maxRows: 1_000_000 } })
  let aborted = 0
  for (const ms of [20, 40, 80, 120, 200]) {
    const ended = wide.query().execute({ signal: AbortSignal.timeout(ms) })
    const error = await ended.then(
      () => undefined,
      (error: unknown) => error
    )
    if (error === undefined) continue
    expect(error).toMatchObject({ code: 'QUERY_CANCELLED', name: 'AbortError' })
    aborted++
  }
  expect(aborted).toBeGreaterThan(0)
})
