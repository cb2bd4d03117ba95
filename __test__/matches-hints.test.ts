// Hints of queries for matches: indexes for the statement that reads the events, processes of the server that share it.
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { EventPattern, EventSequence, EventsClient, QueryHints } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'

let database: TestDatabase
let client: EventsClient

beforeAll(async () => {
  database = await TestDatabase.create({ events: 40_000 })
  client = await database.connect()
  await database.admin.query(`
    CREATE INDEX by_type ON events (event_type);
    CREATE INDEX by_text ON events ((tags->>'text'));
    CREATE INDEX of_ci ON events (event_id) WHERE event_type = 'CI';
    ANALYZE events`)
})
afterAll(() => database?.drop())

const where = (type: string) => ({ where: { eventTypes: [type] } })
const sequence: EventSequence = {
  by: ['tags.issueId'],
  steps: [where('CODE.GENERATED.SUCCESS'), where('PR.MERGED.SUCCESS')]
}
const open: EventSequence = {
  by: ['tags.issueId'],
  steps: [sequence.steps[0]!, { ...sequence.steps[1]!, absent: true }]
}
const pattern: EventPattern = {
  by: ['tags.issueId'],
  pattern: 'A B',
  define: { A: { eventTypes: ['CODE.GENERATED.SUCCESS'] }, B: { eventTypes: ['CODE.GENERATED.FAILURE'] } },
  contiguity: 'relevant'
}
const asked = {
  sequence: { sequence },
  open: { sequence: open },
  pattern: { pattern },
  // JSON keys are sorted by the server, and matched one by one.
  sorted: { pattern: { ...pattern, by: ['data.half'] } }
}
const filter = { startTime: '2024-01-01T02:00:00Z', endTime: '2024-01-01T03:00:00Z' }
const ask = (kind: 'sequence' | 'open' | 'pattern' | 'sorted', hints?: QueryHints, more: object = {}, by = client) =>
  by.optimizer.executeQuery({ filter, ...asked[kind], ...more, ...(hints && { hints }) } as never)

/** Scans of an index, as the server's statistics count them. */
async function scans(index: string) {
  await database.admin.query('SELECT pg_stat_force_next_flush()')
  const { rows } = await database.admin.query(
    'SELECT idx_scan::int AS n FROM pg_stat_user_indexes WHERE indexrelname = $1',
    [index]
  )
  return rows[0].n as number
}

it.each(['sequence', 'open', 'pattern', 'sorted'] as const)(
  'a required index reads the events of a %s, and is proved',
  async kind => {
    const plain = await ask(kind)
    for (const index of ['by_type', 'idx_events_timestamp']) {
      const before = await scans(index)
      const own = await database.connect()
      const { rows, hints, indexesUsed } = await ask(kind, { forceIndex: [index] }, {}, own)
      // With its session's end the server's counts are there for others.
      await own.close()
      expect([kind, index, rows]).toEqual([kind, index, plain.rows])
      expect(hints).toEqual([
        { hint: 'forceIndex', value: index, honoured: true, how: expect.stringMatching(/scanned (once|\d+ times)$/) }
      ])
      expect(indexesUsed).toContain(index)
      await expect.poll(() => scans(index)).toBeGreaterThan(before)
    }
  }
)

it('a preference is told of, whatever became of it', async () => {
  const { rows, hints } = await ask('sequence', { useIndex: ['by_type', 'of_ci', 'nowhere'] })
  expect(rows).toEqual((await ask('sequence')).rows)
  expect(hints).toMatchObject([
    { hint: 'useIndex', value: 'by_type', honoured: true },
    { hint: 'useIndex', value: 'of_ci', honoured: false, reason: expect.stringContaining('predicate') },
    { hint: 'useIndex', value: 'nowhere', honoured: false, reason: 'there is no index of this name' }
  ])
})

it('what can not be followed fails before it runs, and says why', async () => {
  expect(await failure(ask('sequence', { forceIndex: ['by_text'] }), 'INDEX_HINT_NOT_HONOURED')).toMatchObject({
    path: 'hints.forceIndex[0]',
    message: expect.stringContaining('none of the query')
  })
  await failure(ask('sequence', { forceIndex: ['nowhere'] }), 'UNKNOWN_INDEX')
  await database.quiet()
})

it('inside a snapshot, as a stream, and with a limit', async () => {
  const query = () => client.query().where(filter).sequence(sequence).limit(3)
  const plain = (await query().execute()).rows
  await client.snapshot(async at => {
    await client.append([{ type: 'PR.MERGED.SUCCESS', tags: { issueId: '1' }, timestamp: '2024-01-01T02:30:00Z' }])
    const { rows, hints } = await at
      .query()
      .where(filter)
      .sequence(sequence)
      .limit(3)
      .hint({ forceIndex: ['by_type'] })
      .execute()
    expect([rows, hints?.[0]?.honoured]).toEqual([plain, true])
  })
  const streamed = []
  for await (const row of query()
    .hint({ forceIndex: ['by_type'] })
    .executeStream())
    streamed.push(row)
  expect(streamed).toEqual((await query().execute()).rows)
})

it('the cache has no part in it', async () => {
  const { cache, hints } = await ask('sequence', { forceIndex: ['by_type'], cache: true })
  expect(cache).toBe('off')
  expect(hints).toMatchObject([
    { hint: 'forceIndex', honoured: true },
    { hint: 'cache', honoured: false }
  ])
})

it('a plan shows what would become of hints', async () => {
  const query = client.query().where(filter).sequence(sequence)
  const plan = await query.hint({ forceIndex: ['by_type'] }).explain()
  expect(plan.hints).toEqual([{ hint: 'forceIndex', value: 'by_type', honoured: true, how: expect.any(String) }])
  expect(plan.strategy).toBe('sequence')
  const refused = await query.hint({ forceIndex: ['by_text'] }).explain()
  expect(refused.hints).toMatchObject([{ honoured: false, reason: expect.stringContaining('none of the query') }])
  const run = await query.hint({ useIndex: ['by_type'] }).explain({ analyze: true })
  expect(run.hints).toMatchObject([{ honoured: true, how: expect.stringMatching(/scanned/) }])
})

it('processes of the server share the reading where that is asked for', async () => {
  const everything = { filter: {} }
  const plain = await ask('sequence', undefined, everything)
  const shared = await ask('sequence', { parallel: true, workers: 2 }, everything)
  expect(shared.rows).toEqual(plain.rows)
  const { rows } = await database.admin.query('SHOW max_parallel_workers')
  if (Number(rows[0].max_parallel_workers) > 0) {
    expect(shared.hints).toEqual([
      {
        hint: 'parallel',
        value: 'true',
        honoured: true,
        how: expect.stringMatching(/^workers of the server that read beside the first process: [12];/)
      }
    ])
    const plan = await client.query().where({}).sequence(sequence).parallel(2).explain()
    expect(plan.hints).toMatchObject([{ hint: 'parallel', honoured: true }])
  }
  const alone = await ask('sequence', { parallel: false }, everything)
  expect([alone.rows, alone.hints]).toEqual([plain.rows, undefined])
  // The proof of an index needs all scans in one process.
  const both = await ask('sequence', { parallel: true, forceIndex: ['by_type'] })
  expect(both.hints).toMatchObject([
    { hint: 'forceIndex', honoured: true },
    { hint: 'parallel', honoured: false }
  ])
  await database.quiet()
})

it('where nothing is read, nothing is proved', async () => {
  const none = { field: 'type', op: 'in', value: ['a'] } as const
  const never = { and: [none, { field: 'type', op: 'eq', value: 'b' }] } as const
  const { rows, hints } = await client
    .query()
    .where(never)
    .sequence(sequence)
    .hint({ forceIndex: ['by_type'] })
    .execute()
  expect([rows, hints]).toEqual([
    [],
    [expect.objectContaining({ honoured: false, reason: expect.stringContaining('nothing was read') })]
  ])
})
