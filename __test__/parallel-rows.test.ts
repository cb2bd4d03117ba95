// Rows by slices: whole events, selections, pages and streams are those of one statement.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventQuery, EventsClient } from '../index.js'
import { checkQuery, shown } from './reference/check'
import { again, each, LIMIT, seedOf } from './reference/fuzz'
import { Generator } from './reference/generate'
import { Random } from './reference/random'
import { ENGLISH, ODD_SETTINGS, Subject } from './reference/subject'
import { eventAt, TestDatabase } from './support/database'

const SEED = seedOf(20_261_126)

describe.each([
  { name: 'usual settings', options: {}, queries: 250 },
  { name: 'another order of text', options: ENGLISH, queries: 150 },
  { name: 'odd settings', options: ODD_SETTINGS, queries: 80 }
])('random queries over a database with $name', ({ options, queries }) => {
  let subject: Subject
  beforeAll(async () => {
    subject = await Subject.random(SEED, 400, options)
  })
  afterAll(() => subject?.drop())

  it('are answered as the reference does', { timeout: LIMIT }, async () => {
    await each(SEED, queries, 0.3, 2, async number => {
      const random = new Random(number)
      const query: EventQuery = {
        ...new Generator(random, subject.events).query(),
        hints: { parallel: true, workers: 2 + random.int(3) }
      }
      const wrong = await checkQuery(subject, query, random).catch(error => String(error))
      if (wrong) throw new Error(`${again(SEED, number)}: ${shown(query)}\n${wrong}`)
    })
  })
})

describe('with more rows than a batch holds', () => {
  const EVENTS = 30_000
  let database: TestDatabase
  let client: EventsClient
  beforeAll(async () => {
    database = await TestDatabase.create({ events: EVENTS })
    client = await database.connect({ pool: { max: 4 } })
  }, 60_000)
  afterAll(() => database?.drop())

  it('a stream in order is whole and in order', async () => {
    let i = 0
    for await (const event of client.query().orderBy('timestamp').parallel(3).executeStream()) {
      if (i % 997 === 0) expect(event).toEqual(eventAt(i))
      expect(event.data.n).toBe(i++)
    }
    expect(i).toBe(EVENTS)
    await database.quiet()
  })

  it('a stream in the order of text, from the last', async () => {
    const query = () => client.query().select(['tags.issueId', 'type', 'id']).orderBy('tags.issueId', 'desc')
    const ordered = query().orderBy('type').orderBy('id')
    const [sliced, single] = [await ordered.parallel(4).execute(), await ordered.execute()]
    expect(sliced.hints).toMatchObject([{ honoured: true, how: '4 slices by timestamp' }])
    expect(sliced.rows).toEqual(single.rows)
  })

  it('a stream in any order has every row once', async () => {
    const seen = new Set<unknown>()
    let rows = 0
    for await (const { id } of client.query().select(['id']).parallel(4).executeStream()) {
      seen.add(id)
      rows++
    }
    expect([rows, seen.size]).toEqual([EVENTS, EVENTS])
  })

  it('pages lead from the first row to the last', async () => {
    const ns: unknown[] = []
    let after: string | undefined
    do {
      const page = client.query().select({ n: 'data.n' }).orderBy('timestamp', 'desc').limit(7000).after(after)
      const { rows, nextCursor, hints } = await page.parallel(3).execute()
      // A later page may find the slices of the one before still being stopped.
      if (ns.length === 0) expect(hints).toMatchObject([{ honoured: true }])
      ns.push(...rows.map(({ n }) => n))
      after = nextCursor
    } while (after !== undefined)
    expect(ns).toEqual(Array.from({ length: EVENTS }, (_, i) => EVENTS - 1 - i))
  })

  it('a page that is full leaves no statement running', async () => {
    const { rows } = await client.query().orderBy('timestamp').offset(5).limit(3).parallel(3).execute()
    expect(rows).toEqual([eventAt(5), eventAt(6), eventAt(7)])
    const stream = client.query().orderBy('timestamp').limit(9000).parallel(3).executeStream()
    let count = 0
    for await (const _ of stream) count++
    expect(count).toBe(9000)
    await database.quiet()
  })

  it('a stream that is left stops all slices', async () => {
    for (const order of [true, false]) {
      const base = client.query()
      const query = order ? base.orderBy('type') : base
      for await (const _ of query.parallel(3).executeStream()) break
      await database.quiet()
    }
  })

  it('a reader that is slow holds all slices up, and gets everything', async () => {
    const memory = process.memoryUsage().rss
    let count = 0
    for await (const batch of client.query().parallel(3).executeBatches({ batchSize: 3000 })) {
      count += batch.length
      await new Promise(resolve => setTimeout(resolve, 20))
    }
    expect(count).toBe(EVENTS)
    expect(process.memoryUsage().rss - memory).toBeLessThan(200e6)
  })

  it('a result that is too large is refused before it is in memory', async () => {
    const small = await database.connect({ limits: { maxRows: 1000 } })
    await expect(small.query().parallel(3).execute()).rejects.toMatchObject({ code: 'RESULT_TOO_LARGE' })
    await database.quiet()
    await small.close()
  })

  it('an order that only the server knows is left to it', async () => {
    const { hints, rows } = await client.query().orderBy('data.n', 'desc').limit(1).parallel(2).execute()
    expect(rows).toEqual([eventAt(EVENTS - 1)])
    expect(hints).toMatchObject([
      { hint: 'parallel', honoured: false, reason: expect.stringMatching(/JSON values are not merged/u) }
    ])
  })
})
