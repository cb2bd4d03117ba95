// 64 writers in 4 processes that reserve seats under conditions, and others that close resources without any: the
// books are never wrong, by SQL.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { TestDatabase } from './support/database'

/** The run's length: TAMMA_APPEND_SECONDS for a longer one. */
const SECONDS = Number(process.env.TAMMA_APPEND_SECONDS ?? 5)
const [PROCESSES, WRITERS, RESOURCES, SEATS] = [4, 16, 12, 3]

let database: TestDatabase
beforeAll(async () => {
  database = await TestDatabase.create()
})
afterAll(() => database?.drop())

it('never break a condition', { timeout: SECONDS * 1000 + 90_000 }, async () => {
  const until = Date.now() + SECONDS * 1000 + 1000
  const args = [database.url, WRITERS, RESOURCES, SEATS, until].map(String)
  const children = Array.from({ length: PROCESSES }, async () => {
    const child = promisify(execFile)(process.execPath, [join(__dirname, 'support/reserver.cjs'), ...args], {
      maxBuffer: 1 << 26
    })
    return JSON.parse((await child).stdout) as { stored: string[]; conflicts: number; others: string[] }
  })
  // Writes of which nobody is asked: by another driver, some in transactions that stay open for a while.
  const closer = new pg.Client({ connectionString: database.url })
  await closer.connect()
  const closed = ['seat0', 'seat1', 'seat2', 'seat3']
  for (const [i, resource] of closed.entries()) {
    await sleep((SECONDS * 1000) / 5)
    await closer.query('BEGIN')
    await closer.query(
      `INSERT INTO events (event_id, event_type, "timestamp", tags)
       VALUES (gen_random_uuid(), 'SEAT.CLOSED', now(), jsonb_build_object('resource', $1::text))`,
      [resource]
    )
    if (i % 2 === 0) await sleep(150)
    await closer.query('COMMIT')
  }
  await closer.end()
  const told = await Promise.all(children)

  const { admin } = database
  const stored = told.flatMap(({ stored }) => stored)
  expect(told.flatMap(({ others }) => others)).toEqual([])
  expect(stored.length).toBeGreaterThan(50)
  expect(told.reduce((n, { conflicts }) => n + conflicts, 0)).toBeGreaterThan(50)
  const { rows } = await admin.query(`SELECT event_id AS id FROM events WHERE event_type <> 'SEAT.CLOSED'`)
  expect(rows.map(({ id }) => id).sort()).toEqual(stored.sort())

  // At every moment of a resource's history no more seats are taken than there are, and none less than none.
  const balance = await admin.query(`
    SELECT min(taken)::int AS least, max(taken)::int AS most, count(*) AS n FROM (
      SELECT sum(CASE event_type WHEN 'SEAT.RESERVED' THEN 1 WHEN 'SEAT.FREED' THEN -1 ELSE 0 END)
        OVER (PARTITION BY tags->>'resource' ORDER BY position) AS taken
      FROM events) AS h`)
  expect(balance.rows[0]).toMatchObject({ most: SEATS })
  expect(balance.rows[0].least).toBeGreaterThanOrEqual(0)
  // Nothing comes after the end of a resource.
  const late = await admin.query(`
    SELECT count(*)::int AS n FROM events e JOIN events c
      ON c.event_type = 'SEAT.CLOSED' AND c.tags->>'resource' = e.tags->>'resource' AND e.position > c.position`)
  expect(late.rows[0].n).toBe(0)
})
