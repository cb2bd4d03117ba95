// since() while many write: every committed event once, by the books that the writers keep.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { EventsClient, QueryBuilder, QueryResult } from '../index.js'
import { seedOf } from './reference/fuzz'
import { TestDatabase } from './support/database'
import { random } from './support/wait'

/** The run's length: TAMMA_SINCE_SECONDS for a longer one. */
const SECONDS = Number(process.env.TAMMA_SINCE_SECONDS ?? 4)
const WRITERS = 6
const SEED = seedOf(1311)

let database: TestDatabase
let client: EventsClient
beforeAll(async () => {
  database = await TestDatabase.create()
  client = await database.connect({ pool: { max: 12 } })
})
afterAll(() => database?.drop())

interface Written {
  id: string
  issue: string
}

/** One writer: transactions of many shapes, some held open for long, some undone. What it committed goes into the books. */
async function writer(number: number, ends: number, books: Written[]) {
  const next = random(SEED + number)
  const below = (n: number) => Math.floor(next() * n)
  const connection = new pg.Client({ connectionString: database.url })
  await connection.connect()
  const insert = async (count: number) => {
    const rows = Array.from({ length: count }, () => ({ id: randomUUID(), issue: String(below(4)) }))
    await connection.query(
      `INSERT INTO events (event_id, event_type, "timestamp", tags)
       SELECT id, 'CODE.GENERATED.SUCCESS', now() - $3::int * interval '1 s', jsonb_build_object('issueId', issue)
       FROM unnest($1::uuid[], $2::text[]) AS u(id, issue)`,
      [rows.map(row => row.id), rows.map(row => row.issue), below(100_000)]
    )
    return rows
  }
  try {
    while (performance.now() < ends) {
      if (below(4) === 0) {
        const rows = Array.from({ length: 1 + below(3) }, () => ({ id: randomUUID(), issue: String(below(4)) }))
        await client.append(
          rows.map(({ id, issue }) => ({ id, type: 'CODE.GENERATED.SUCCESS', tags: { issueId: issue } }))
        )
        books.push(...rows)
        continue
      }
      await connection.query('BEGIN')
      const kept = await insert(1 + below(5))
      if (below(3) === 0) {
        await connection.query('SAVEPOINT s')
        const inner = await insert(2)
        if (below(2) === 0) await connection.query('ROLLBACK TO s')
        else kept.push(...inner)
      }
      if (below(5) === 0) await sleep(below(number === 0 ? 1500 : 200))
      if (below(4) === 0) {
        await connection.query('ROLLBACK')
      } else {
        await connection.query('COMMIT')
        books.push(...kept)
      }
    }
  } finally {
    await connection.end()
  }
}

/** Reads by tokens until the writers are done and nothing is left. */
async function reader(query: QueryBuilder, isDone: () => boolean, pause: number) {
  const ids: string[] = []
  let token: string | undefined
  let answers = 0
  for (;;) {
    const done = isDone()
    const result: QueryResult = await query.since(token).execute()
    answers++
    ids.push(...result.rows.map(row => row.id))
    token = result.token
    if (done && result.rows.length === 0) return { ids, answers }
    if (result.nextCursor === undefined) await sleep(pause)
  }
}

it(`gives every committed event once, to each of its readers (seed ${SEED})`, {
  timeout: SECONDS * 1000 + 60_000
}, async () => {
  const books: Written[] = []
  const ends = performance.now() + SECONDS * 1000
  let isDone = false
  const writing = Promise.all(Array.from({ length: WRITERS }, (_, i) => writer(i, ends, books))).finally(() => {
    isDone = true
  })
  const done = () => isDone
  const readers = Promise.all([
    reader(client.query(), done, 5),
    reader(client.query().limit(7), done, 0),
    reader(client.query().orderBy('timestamp', 'desc').orderBy('tags.issueId').limit(50), done, 20),
    reader(client.query().where('tags.issueId', 'eq', '2').limit(3), done, 1)
  ])
  await writing
  const [all, small, ordered, filtered] = await readers

  expect(books.length).toBeGreaterThan(100)
  const everything = books.map(({ id }) => id).sort()
  for (const { ids, answers } of [all, small, ordered]) {
    expect([...ids].sort()).toEqual(everything)
    expect(answers).toBeGreaterThan(10)
  }
  const ofIssue = books.filter(({ issue }) => issue === '2').map(({ id }) => id)
  expect([...filtered.ids].sort()).toEqual(ofIssue.sort())
  const { rows } = await database.admin.query('SELECT event_id AS id FROM events')
  expect(rows.map(({ id }) => id).sort()).toEqual(everything)
})
