// Hinted runs under everything that can happen to a run, over partitions, joins, other schemas and held snapshots.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { EventsClient } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'
import { until } from './support/wait'

let database: TestDatabase
let client: EventsClient
const admin = (sql: string) => database.admin.query(sql)

beforeAll(async () => {
  database = await TestDatabase.create({ events: 20_000 })
  await admin(`
    CREATE INDEX by_issue ON events ((tags->>'issueId'));
    CREATE INDEX by_type ON events (event_type);
    CREATE INDEX "odd ""name"", {1}" ON events ((data->'n'));
    CREATE TABLE issues (id text PRIMARY KEY, title text NOT NULL);
    INSERT INTO issues SELECT i::text, 'issue ' || i FROM generate_series(0, 99) AS i;
    CREATE TABLE parts (id int NOT NULL, at int NOT NULL, label text NOT NULL) PARTITION BY RANGE (at);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (500);
    CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (500) TO (1000);
    INSERT INTO parts SELECT i, i, 'p' || i % 10 FROM generate_series(0, 999) AS i;
    CREATE INDEX parts_label ON parts (label);
    CREATE SCHEMA apart;
    CREATE TABLE apart.events (event_id int);
    CREATE INDEX by_issue ON apart.events (event_id);
    ANALYZE events, issues, parts`)
})
afterAll(() => database.drop())
beforeEach(async () => {
  client = await database.connect({ pool: { max: 1 }, monitor: { persist: false } })
})

/** The only connection is as it was: no settings, no transaction. */
async function isClean() {
  const { rows } = await client.sql`
    SELECT current_setting('enable_seqscan') AS seq, current_setting('plan_cache_mode') AS mode,
           current_setting('max_parallel_workers_per_gather') AS workers`.execute()
  expect(rows).toEqual([{ seq: 'on', mode: 'auto', workers: '2' }])
  const { rows: open } = await admin(
    `SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'`
  )
  expect(open).toEqual([{ n: 0 }])
}

describe('what it names', () => {
  test('a name that needs quotes, and one with its schema', async () => {
    const odd = 'odd "name", {1}'
    const byN = await client
      .query()
      .where('data.n', 'eq', 5)
      .hint({ forceIndex: [odd] })
      .execute()
    expect(byN).toMatchObject({ rowCount: 1, indexesUsed: [odd] })
    const query = client.query().where('tags.issueId', 'eq', '5')
    // The index of the query's own table comes first, wherever another of its name is.
    await query.hint({ forceIndex: ['by_issue'] }).execute()
    await query.hint({ forceIndex: ['public.by_issue'] }).execute()
    const other = await failure(query.hint({ forceIndex: ['apart.by_issue'] }).execute(), 'INDEX_HINT_NOT_HONOURED')
    expect(other.message).toContain('belongs to "apart"."events"')
    for (const name of ['nowhere', 'public.nowhere', 'public.', '', 'events', "x'; DROP TABLE issues; --"])
      expect(await failure(query.hint({ forceIndex: ['by_issue', name] }).execute(), 'UNKNOWN_INDEX')).toMatchObject({
        path: 'hints.forceIndex[1]'
      })
  })

  test('several: each is judged by itself', async () => {
    const { hints } = await client
      .query()
      .where('tags.issueId', 'eq', '5')
      .hint({ useIndex: ['nowhere', 'by_issue', 'by_type'], forceIndex: ['by_issue'] })
      .execute()
    expect(hints?.map(({ hint, value, honoured }) => [hint, value, honoured])).toEqual([
      ['useIndex', 'nowhere', false],
      ['useIndex', 'by_issue', true],
      ['useIndex', 'by_type', false],
      ['forceIndex', 'by_issue', true]
    ])
  })

  test('an index of a joined table', async () => {
    const query = client
      .query()
      .join('issues', { alias: 'i', on: { 'tags.issueId': 'id' } })
      .where('id', 'eq', '018bcfe5-6800-7000-8000-000000000005')
      .select({ title: 'i.title' })
    const { rows, indexesUsed } = await query.hint({ forceIndex: ['issues_pkey', 'events_pkey'] }).execute()
    expect(rows).toEqual([{ title: 'issue 5' }])
    expect(indexesUsed?.sort()).toEqual(['events_pkey', 'issues_pkey'])
  })

  test('an index of a partitioned table: its partitions scan it', async () => {
    const parts = client.optimizer.executeQuery({
      from: 'parts',
      filter: { where: { field: 'label', op: 'eq', value: 'p3' } },
      hints: { forceIndex: ['parts_label'] }
    })
    expect(await parts).toMatchObject({
      rowCount: 100,
      hints: [{ honoured: true, how: expect.stringContaining('scanned 2 times') }]
    })
  })
})

describe('the plan', () => {
  const query = () => client.query().where('type', 'eq', 'ISSUE.OPENED').select(['id', 'data'])

  test('says what would become of the hint, and does not fail where it only explains', async () => {
    const plan = await query()
      .hint({ forceIndex: ['by_type'] })
      .explain()
    expect(plan.indexesUsed).toEqual(['by_type'])
    expect(plan.hints).toEqual([{ hint: 'forceIndex', value: 'by_type', honoured: true, how: expect.any(String) }])
    const refused = await query()
      .hint({ forceIndex: ['by_issue'] })
      .explain()
    expect(refused.hints).toMatchObject([{ honoured: false, reason: expect.stringContaining('none of the query') }])
    expect(
      (
        await failure(
          query()
            .hint({ forceIndex: ['by_issue'] })
            .explain({ analyze: true })
        )
      ).code
    ).toBe('INDEX_HINT_NOT_HONOURED')
    await isClean()
  })

  test('analyzed, it really ran', async () => {
    const plan = await query()
      .hint({ useIndex: ['by_type'] })
      .explain({ analyze: true })
    expect(plan.hints).toMatchObject([{ honoured: true, how: expect.stringMatching(/scanned/) }])
    expect(JSON.stringify(plan.steps)).toContain('actualRows')
  })
})

describe('a hinted run', () => {
  const all = () =>
    client
      .query()
      .where('type', 'startsWith', 'I')
      .orderBy('timestamp')
      .hint({ useIndex: ['by_type'] })

  test('streams, and is left in the middle', async () => {
    let count = 0
    for await (const _ of all().executeStream()) if (++count === 10) break
    await isClean()
    count = 0
    for await (const _ of all().executeStream()) count++
    expect(count).toBe(4000)
    await isClean()
  })

  test('is cancelled, times out and fails, and leaves its connection in order', async () => {
    // A lock that the run has to wait for.
    await admin('BEGIN; LOCK TABLE events')
    try {
      const late = await failure(all().execute({ timeout: 150 }), 'QUERY_TIMEOUT')
      expect(late.retryable).toBe(false)
      const cancelled = failure(all().execute({ queryId: 'hinted' }), 'QUERY_CANCELLED')
      await until('it runs', async () => ((await client.monitor.getRunningQueries()).length > 0 ? true : undefined))
      await client.optimizer.cancelQuery('hinted')
      await cancelled
    } finally {
      await admin('COMMIT')
    }
    await failure(all().where('data.n', 'regex', '(').execute())
    await isClean()
  })

  test('over an index that comes and goes: what is remembered never outlives it', async () => {
    const hinted = () =>
      client
        .query()
        .where('tags.text', 'eq', '')
        .hint({ useIndex: ['by_text'] })
        .execute()
    expect((await hinted()).hints).toMatchObject([{ honoured: false, reason: 'there is no index of this name' }])
    await admin("CREATE INDEX by_text ON events ((tags->>'text'))")
    expect((await hinted()).hints).toMatchObject([{ honoured: true }])
    expect((await hinted()).hints).toMatchObject([{ honoured: true }])
    await admin('DROP INDEX by_text')
    const { rowCount, hints } = await hinted()
    expect(hints).toMatchObject([{ honoured: false }])
    expect(rowCount).toBe(5000)
  })

  test('sees the snapshot that it is given', async () => {
    await client.snapshot(async inside => {
      const before = (
        await inside
          .query()
          .hint({ forceIndex: ['events_pkey'] })
          .orderBy('id')
          .limit(1)
          .execute()
      ).rows
      const count = async () =>
        (
          await inside
            .query()
            .where('type', 'eq', 'NEW.ONE')
            .hint({ useIndex: ['by_type', 'by_issue'] })
            .execute()
        ).rowCount
      expect(await count()).toBe(0)
      await admin(`INSERT INTO events (event_id, event_type, "timestamp") VALUES (gen_random_uuid(), 'NEW.ONE', now())`)
      expect(await count()).toBe(0)
      expect(before).toHaveLength(1)
    })
    expect(
      await client
        .query()
        .where('type', 'eq', 'NEW.ONE')
        .hint({ useIndex: ['by_type'] })
        .execute()
    ).toMatchObject({
      rowCount: 1
    })
    await isClean()
  })

  test('pages: a cursor goes on under the hint', async () => {
    const page = client.query().where('type', 'eq', 'ISSUE.OPENED').orderBy('timestamp').limit(100)
    const first = await page.hint({ useIndex: ['by_type'] }).execute()
    const second = await page
      .after(first.nextCursor as string)
      .hint({ useIndex: ['by_type'] })
      .execute()
    const plain = await client.query().where('type', 'eq', 'ISSUE.OPENED').orderBy('timestamp').limit(200).execute()
    expect([...first.rows, ...second.rows]).toEqual(plain.rows)
  })

  test('a hundred at once over few connections', async () => {
    const many = await database.connect({ pool: { max: 3 }, monitor: { persist: false } })
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        many
          .query()
          .where('tags.issueId', 'eq', String(i))
          .hint(i % 2 === 0 ? { forceIndex: ['by_issue'] } : { useIndex: ['by_type'] })
          .execute()
      )
    )
    expect(answers.every(({ rowCount }) => rowCount === 200)).toBe(true)
    expect(answers.map(({ hints }) => hints?.[0]?.honoured)).toEqual(answers.map((_, i) => i % 2 === 0))
  })

  test('of a role that may make no temporary tables, the reason is what can be said without', async () => {
    await admin(`REVOKE TEMPORARY ON DATABASE ${database.name} FROM PUBLIC`)
    const role = `role_${database.name}`
    await admin(`CREATE ROLE ${role} LOGIN PASSWORD 'p' ; GRANT SELECT ON events TO ${role}`)
    try {
      const url = new URL(database.url)
      url.username = role
      url.password = 'p'
      const poor = await database.connect({ url: url.href, monitor: { persist: false } })
      const { hints, rowCount } = await poor
        .query()
        .where('tags.issueId', 'eq', '5')
        .hint({ useIndex: ['by_type'] })
        .execute()
      expect(rowCount).toBe(200)
      expect(hints).toMatchObject([
        { honoured: false, reason: expect.stringMatching(/^under all planner settings tried/) }
      ])
      await poor.close()
    } finally {
      await admin(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
    }
  })
})
