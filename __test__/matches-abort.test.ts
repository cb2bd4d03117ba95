// A match that is being looked for ends when it is told to, though its threads await nothing.
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { EventPattern, EventsClient } from '../index.js'
import { TestDatabase } from './support/database'
import { until } from './support/wait'

let database: TestDatabase
let client: EventsClient

beforeAll(async () => {
  database = await TestDatabase.create({ events: 60_000 })
  client = await database.connect()
})
afterAll(() => database?.drop())

/** Each event begins a match that is looked for through all behind it. */
const pattern: EventPattern = {
  by: ['metadata.actor.bot'],
  pattern: 'A B* C',
  define: {
    A: { left: 'data.n', op: 'gte', right: { literal: 0 } },
    B: { left: 'data.n', op: 'gte', right: { first: 'data.n', of: 'A' } },
    C: { left: 'data.n', op: 'lt', right: { first: 'data.n', of: 'A' } }
  },
  afterMatch: 'toNext'
}

/** Whether the server has sent all, and waits. */
const isMatching = () =>
  until('a match', async () => {
    const { rows } = await database.admin.query(
      `SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'`
    )
    return rows[0].n > 0 || undefined
  })

const asked = () => client.query().pattern(pattern)

it('one that is aborted ends at once', async () => {
  const controller = new AbortController()
  const running = asked()
    .execute({ signal: controller.signal })
    .catch((error: unknown) => error)
  await isMatching()
  const since = performance.now()
  controller.abort()
  expect(await running).toMatchObject({ code: 'QUERY_CANCELLED', name: 'AbortError' })
  // 100 ms are promised; a busy machine may be slow to give anyone a turn.
  expect(performance.now() - since).toBeLessThan(1000)
  await database.quiet()
}, 60_000)

it('one whose time is over says so', async () => {
  const since = performance.now()
  await expect(asked().execute({ timeout: 1500 })).rejects.toMatchObject({ code: 'QUERY_TIMEOUT' })
  expect(performance.now() - since).toBeLessThan(4000)
  await database.quiet()
}, 60_000)
