// Plans that change, why, and whether it hurt; pins. Flips are planted by what an owner really does to a database.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { EventsClient, PlanChange } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'

let database: TestDatabase
let client: EventsClient
const admin = (sql: string) => database.admin.query(sql)

beforeAll(async () => {
  database = await TestDatabase.create({ events: 30_000 })
  await admin('ALTER TABLE events SET (autovacuum_enabled = off)')
})
afterAll(() => database.drop())
beforeEach(async () => {
  await admin(
    "DROP INDEX IF EXISTS by_issue, by_n; CREATE INDEX by_issue ON events ((tags->>'issueId')); ANALYZE events"
  )
  client = await database.connect({ monitor: { persist: false } })
})

const ofIssue = () => client.query().where('tags.issueId', 'eq', '7').select(['id'])
const repeat = async (times: number, run: () => Promise<unknown>) => {
  for (let i = 0; i < times; i++) await run()
}
const fingerprint = async () => (await ofIssue().explain()).fingerprint
const stats = async () => {
  const wanted = await fingerprint()
  const found = (await client.monitor.getFingerprints()).find(one => one.fingerprint === wanted)
  if (!found) throw new Error('it did not run')
  return found
}
const changes = async (): Promise<PlanChange[]> => {
  const wanted = await fingerprint()
  return (await client.monitor.getPlanChanges()).filter(change => change.fingerprint === wanted)
}

describe('a planted flip', () => {
  test('an index that is dropped: the cause, and the regression, once enough runs have shown it', async () => {
    await admin("CREATE INDEX by_n ON events ((data->'n')); ANALYZE events")
    const query = client.query().where('data.n', 'eq', 77).select(['id'])
    const { planHash, fingerprint } = await query.explain()
    const changes = async () => (await client.monitor.getPlanChanges()).filter(one => one.fingerprint === fingerprint)
    const stats = async () => (await client.monitor.getFingerprints()).find(one => one.fingerprint === fingerprint)
    await repeat(40, () => query.execute())
    expect(await changes()).toEqual([])
    expect(await stats()).toMatchObject({ indexesUsed: ['by_n'], planHashes: [planHash], calls: 40 })

    await admin('DROP INDEX by_n')
    const [change] = await changes()
    const now = (await query.explain()).planHash
    expect(change).toMatchObject({
      from: planHash,
      to: now,
      cause: 'index',
      // No run has shown anything yet.
      regression: false,
      meanAfter: 0,
      pinned: false,
      detail: expect.stringContaining('by_n')
    })
    expect(change?.meanBefore).toBeGreaterThan(0)
    expect(Date.parse(change?.at ?? '')).toBeGreaterThan(Date.now() - 60_000)

    await repeat(40, () => query.execute())
    const [measured, ...more] = await changes()
    expect(more).toEqual([])
    expect(measured).toMatchObject({ regression: true, cause: 'index' })
    expect(measured?.meanAfter).toBeGreaterThan((measured?.meanBefore ?? 0) * 1.5)
    expect((await stats())?.planHashes.sort()).toEqual([planHash, now].sort())
    const html = await client.monitor.report()
    expect(html).toMatch(/Plans that changed[\s\S]*index: the index by_n is gone[\s\S]*<td class="names bad">yes<\/td>/)
    expect(html).not.toMatch(/NaN|undefined|Infinity|\[object/)
  })

  test('an index that is new', async () => {
    await admin('DROP INDEX by_issue')
    await repeat(25, () => ofIssue().execute())
    await changes()
    await admin("CREATE INDEX by_issue ON events ((tags->>'issueId'))")
    const [change] = await changes()
    expect(change).toMatchObject({ cause: 'index', detail: expect.stringMatching(/by_issue is new/) })
    await repeat(25, () => ofIssue().execute())
    expect(await changes()).toMatchObject([{ regression: false }])
  })

  test('statistics that were made wrong', async () => {
    // Every fourth event has the text: 200 of them are found soon by the order of time. Without statistics of the
    // expression it is one in 200, and finding them by their text and sorting them is cheaper.
    await admin("CREATE INDEX by_n ON events ((tags->>'text'))")
    await admin('ANALYZE events')
    const query = client.query().where('tags.text', 'eq', 'plain').orderBy('timestamp').limit(200)
    await repeat(3, () => query.execute())
    await client.monitor.getPlanChanges()
    const { fingerprint, planHash, indexesUsed } = await query.explain()
    expect(indexesUsed).toEqual(['idx_events_timestamp'])
    await admin('ALTER INDEX by_n ALTER COLUMN 1 SET STATISTICS 0')
    await admin("DELETE FROM pg_statistic WHERE starelid = 'by_n'::regclass")
    await admin('ANALYZE events')
    const now = await query.explain()
    expect(now.indexesUsed).toEqual(['by_n'])
    const found = (await client.monitor.getPlanChanges()).filter(change => change.fingerprint === fingerprint)
    expect(found).toMatchObject([{ cause: 'statistics', from: planHash, to: now.planHash, regression: false }])
  })

  test('settings of the database', async () => {
    await repeat(3, () => ofIssue().execute())
    await changes()
    await admin(`ALTER DATABASE ${database.name} SET enable_indexscan = off`)
    await admin(`ALTER DATABASE ${database.name} SET enable_bitmapscan = off`)
    try {
      expect(await changes()).toMatchObject([
        { cause: 'settings', detail: expect.stringContaining('enable_bitmapscan') }
      ])
    } finally {
      await admin(`ALTER DATABASE ${database.name} RESET ALL`)
    }
  })
})

test('50 runs of an unchanged workload: no change, no regression', async () => {
  const workload = [
    () => ofIssue().execute(),
    () => client.query().where('type', 'eq', 'PR.MERGED.SUCCESS').orderBy('timestamp', 'desc').limit(20).execute(),
    () => client.query().groupBy(['type']).count().execute(),
    () => client.query().where('id', 'eq', '018bcfe5-6800-7000-8000-000000000005').execute()
  ]
  for (let i = 0; i < 50; i++) {
    for (const run of workload) await run()
    if (i % 10 === 9) expect(await client.monitor.getPlanChanges()).toEqual([])
  }
  // Statistics made anew change nothing here either.
  await admin('ANALYZE events')
  for (const run of workload) await repeat(25, run)
  expect((await client.monitor.getPlanChanges()).filter(change => change.regression)).toEqual([])
})

describe('a pin', () => {
  test('holds its plan when the planner would take another, and answers the same', async () => {
    await repeat(3, () => ofIssue().execute())
    await changes()
    const { planHash } = await ofIssue().explain()
    const one = await fingerprint()
    await client.monitor.pinPlan(one, planHash)
    // The planner changes its mind: everyone else reads the whole table.
    await admin(`ALTER DATABASE ${database.name} SET enable_indexscan = off`)
    await admin(`ALTER DATABASE ${database.name} SET enable_bitmapscan = off`)
    try {
      const other = await database.connect({ monitor: { persist: false } })
      const plain = await other.query().where('tags.issueId', 'eq', '7').select(['id']).explain()
      expect(plain.planHash).not.toBe(planHash)
      // Still the plan of the pin: nothing to tell, and the index is scanned.
      expect(await changes()).toEqual([])
      expect(await stats()).toMatchObject({ indexesUsed: ['by_issue'] })
      const { rows } = await ofIssue().execute()
      const expected = await admin("SELECT event_id::text AS id FROM events WHERE tags->>'issueId' = '7'")
      expect(rows.map(row => row.id).sort()).toEqual(expected.rows.map(row => row.id).sort())
    } finally {
      await admin(`ALTER DATABASE ${database.name} RESET ALL`)
    }
  })

  test('streams, is cancelled and leaves its connection in order', async () => {
    const lean = await database.connect({ pool: { max: 1 }, monitor: { persist: false } })
    const all = () => lean.query().orderBy('timestamp')
    await all().limit(1).execute()
    const query = all().executeStream()
    for await (const _ of query) break
    await lean.monitor.getPlanChanges()
    const [first] = await lean.monitor.getFingerprints({ orderBy: 'calls' })
    const plan = await all().explain()
    const known = (await lean.monitor.getFingerprints()).find(one => one.fingerprint === plan.fingerprint)
    expect(first).toBeDefined()
    await lean.monitor.pinPlan(plan.fingerprint, known?.planHashes[0] ?? '')
    let count = 0
    for await (const _ of all().executeStream()) if (++count === 5) break
    // The transaction is over: the next statement of the same connection sees no settings of it.
    const { rows } =
      await lean.sql`SELECT current_setting('enable_seqscan') AS seq, current_setting('plan_cache_mode') AS mode`.execute()
    expect(rows).toEqual([{ seq: 'on', mode: 'auto' }])
    let read = 0
    for await (const _ of all().executeStream()) read++
    expect(read).toBe(30_000)
  })

  test('is released when its index goes, and says so', async () => {
    await repeat(25, () => ofIssue().execute())
    await changes()
    const { planHash } = await ofIssue().explain()
    const one = await fingerprint()
    await client.monitor.pinPlan(one, planHash)
    await admin('DROP INDEX by_issue')
    expect(await changes()).toMatchObject([
      {
        from: planHash,
        cause: 'index',
        pinned: false,
        detail: expect.stringMatching(/pin was released.*by_issue is gone/)
      }
    ])
    expect((await client.monitor.getHealth()).problems).toEqual([
      expect.stringMatching(`${one}.*no longer pinned.*by_issue`)
    ])
    await client.monitor.pinPlan(one, null)
    expect((await client.monitor.getHealth()).problems).toEqual([])
    // A plan of an index that is gone cannot be pinned again.
    const error = await failure(client.monitor.pinPlan(one, planHash), 'UNSUPPORTED')
    expect(error.message).toContain('by_issue is gone')
  })

  test('of what was never seen is refused', async () => {
    await repeat(2, () => ofIssue().execute())
    await changes()
    const one = await fingerprint()
    for (const [given, hash, path] of [
      ['nothing', '0'.repeat(16), 'fingerprint'],
      ['0'.repeat(16), '0'.repeat(16), 'fingerprint'],
      [one, '0'.repeat(16), 'planHash']
    ] as const)
      expect(await failure(client.monitor.pinPlan(given, hash), 'INVALID_QUERY')).toMatchObject({ path })
    await client.monitor.pinPlan(one, null)
    expect(await failure(client.monitor.pinPlan(5 as unknown as string, null), 'INVALID_QUERY')).toMatchObject({
      path: 'fingerprint'
    })
  })
})

test('values stay where they are: neither logs nor views hold them', async () => {
  const said: string[] = []
  const watched = await database.connect({ onLog: record => said.push(JSON.stringify(record)) })
  await watched.query().where('tags.issueId', 'eq', 's3cret').execute({ queryId: 'logged' })
  await watched.monitor.getPlanChanges()
  await watched.monitor.flush()
  const stats = await watched.optimizer.getQueryStats('logged')
  expect(stats).toMatchObject({ indexesUsed: ['by_issue'], planHash: expect.stringMatching(/^[0-9a-f]{16}$/) })
  const { rows } = await admin("SELECT * FROM query_performance_log WHERE query_id = 'logged'")
  expect(rows).toMatchObject([{ indexes_used: ['by_issue'] }])
  const all = JSON.stringify([
    said,
    stats,
    rows,
    await watched.monitor.getFingerprints(),
    await watched.monitor.report()
  ])
  expect(all).not.toContain('s3cret')
})
