// Servers that crash, are restored from a copy, and are started again, under a cache that stays.
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, realpathSync, renameSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { connect, type EventsClient, type QueryResult } from '../index.js'
import { TestDatabase } from './support/database'
import { until } from './support/wait'

interface Server {
  url: string
  port: number
  stop(): Promise<boolean>
}
const { startEmbedded } = createRequire(import.meta.url)('../lib/embedded') as {
  startEmbedded(options: { directory: string; port?: number }): Promise<Server>
}

const root = realpathSync(mkdtempSync(join(tmpdir(), 'tamma-incarnation-')))
chmodSync(root, 0o755) // as root, the server runs as another user, who has to come in
const directory = join(root, 'db')

let server: Server
let url: string
let client: EventsClient

beforeAll(async () => {
  server = await startEmbedded({ directory })
  const database = await TestDatabase.create({ events: 100, server: server.url })
  url = database.url
  await database.admin.end()
  client = await connect({ url, pool: { max: 2 } })
})
afterAll(async () => {
  await client?.close()
  await server?.stop()
  rmSync(root, { recursive: true, force: true })
})

/** The answer, sooner or later, of a server that was away. */
const persistently = <T>(run: () => Promise<T>) =>
  until(
    'an answer',
    () =>
      run().catch((error: { code?: string }) => {
        // 57P03: it is starting up. Without a code: a socket that closed.
        expect(['CONNECTION_FAILED', '57P03', 'ECONNREFUSED', 'ECONNRESET', undefined]).toContain(error.code)
        return undefined
      }),
    30_000
  )

const admin = (statement: string) =>
  persistently(async () => {
    const session = new pg.Client({ connectionString: url })
    session.on('error', () => {})
    await session.connect()
    try {
      return await session.query(statement)
    } finally {
      await session.end()
    }
  }) as Promise<pg.QueryResult>

const add = (type: string) => persistently(() => client.append([{ type }]))

const counted = (type: string) =>
  persistently(
    () =>
      client
        .query()
        .where({ eventTypes: [type] })
        .count()
        .cache({ consistency: 'strict' })
        .execute() as Promise<QueryResult<{ count: number }>>
  )
const count = async (type: string) => (await counted(type)).rows[0]?.count

async function crash() {
  const { rows } = await admin('SELECT pg_backend_pid() AS pid, pg_postmaster_start_time()::text AS at')
  const session = new pg.Client({ connectionString: url })
  session.on('error', () => {})
  await session.connect()
  const own = await session.query('SELECT pg_backend_pid() AS pid')
  process.kill(own.rows[0].pid, 'SIGKILL')
  await until('a lost session', () =>
    session.query('SELECT 1').then(
      () => undefined,
      () => true
    )
  )
  await session.end().catch(() => {})
  // The postmaster lives on: nothing but the nonce tells.
  const after = await admin('SELECT pg_postmaster_start_time()::text AS at')
  expect(after.rows[0].at).toBe(rows[0].at)
}

const remove = (type: string) =>
  admin(`BEGIN; SELECT set_config('tamma_events.change_in_transaction', pg_current_xact_id()::text, true);
    DELETE FROM events WHERE event_type = '${type}'; COMMIT`)

it('a crash takes the nonce and voids what was kept; the next read makes a new one', async () => {
  const types = ['CRASH.A.X', 'CRASH.B.X', 'CRASH.C.X']
  for (const type of types) {
    await add(type)
    expect(await count(type)).toBe(1)
    await remove(type)
  }
  // Those deletions are known to an unlogged table alone, which the crash empties.
  await admin('CHECKPOINT')
  await crash()
  expect((await admin('SELECT count(*)::int AS n FROM events_rotations')).rows[0].n).toBe(0)

  const first = await counted('CRASH.A.X')
  expect(first.rows[0]?.count).toBe(0)
  expect(first).toMatchObject({ cache: 'off', hints: [{ honoured: false, reason: expect.stringContaining('nonce') }] })
  // Under the new nonce what was kept under the old one is as void.
  for (const type of types) expect(await count(type), type).toBe(0)
  for (const type of types) expect((await counted(type)).cache, type).toBe('memory')
  expect((await client.monitor.getHealth()).capabilities.cache).toBe(true)
})

it('so does a role that may only read, and one that may call nothing waits for migrate()', async () => {
  await admin(`DROP ROLE IF EXISTS incarnation_reader; CREATE ROLE incarnation_reader LOGIN PASSWORD 'x';
    GRANT SELECT ON events, events_rotations, events_incarnation TO incarnation_reader`)
  const reader = new URL(url)
  reader.username = 'incarnation_reader'
  reader.password = 'x'
  const reading = await connect({ url: reader.href })
  const read = async () => (await reading.query().count().cache({ consistency: 'strict' }).execute()).cache
  try {
    await admin('DELETE FROM events_incarnation')
    expect(await read()).toBe('off')
    expect(await read()).toBe('miss')
    expect(await read()).toBe('memory')
    await admin('REVOKE EXECUTE ON FUNCTION events_renew_incarnation() FROM PUBLIC; DELETE FROM events_incarnation')
    expect(await read()).toBe('off')
    expect(await read()).toBe('off')
    const health = await reading.monitor.getHealth()
    expect(health.capabilities.cache).toBe(false)
    expect(health.problems.join()).toContain('nonce')
    await (await connect({ url, migrate: true })).close()
    await expect.poll(read, { timeout: 10_000, interval: 100 }).toBe('memory')
  } finally {
    await reading.close()
    await admin('GRANT EXECUTE ON FUNCTION events_renew_incarnation() TO PUBLIC')
  }
})

it('a cold copy that is put back has the same nonce, and uses transaction ids again', async () => {
  const type = 'COPY.A.X'
  const data = join(directory, 'data')
  await server.stop()
  execFileSync('cp', ['-a', data, join(root, 'copy')])
  server = await startEmbedded({ directory, port: server.port })
  for (let i = 0; i < 5; i++) await add(type)
  expect(await count(type)).toBe(5)
  const before = (await admin('SELECT pg_current_xact_id()::text AS id, (SELECT nonce FROM events_incarnation)'))
    .rows[0]

  await server.stop()
  rmSync(data, { recursive: true })
  renameSync(join(root, 'copy'), data)
  server = await startEmbedded({ directory, port: server.port })
  // As far on as the other history was: by the snapshots alone the two can't be told apart.
  const { rows } = await admin('SELECT nonce FROM events_incarnation')
  expect(rows[0].nonce).toBe(before.nonce)
  for (;;) {
    await add('COPY.B.X')
    const { rows } = await admin('SELECT pg_current_xact_id()::text AS id')
    if (BigInt(rows[0].id) > BigInt(before.id)) break
  }
  expect(await count(type)).toBe(0)
  expect((await counted(type)).cache).toBe('memory')
})
