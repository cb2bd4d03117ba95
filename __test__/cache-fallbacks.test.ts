// Where answers can't be exact: said in the result, in the plan and by getHealth(), and answered all the same.
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { EventsClient } from '../index.js'
import { TestDatabase } from './support/database'
import { freePort, type Server, Standby } from './support/standby'
import { until } from './support/wait'

const { startEmbedded } = createRequire(import.meta.url)('../lib/embedded') as {
  startEmbedded(options: { directory: string; port?: number }): Promise<Server>
}

const root = realpathSync(mkdtempSync(join(tmpdir(), 'tamma-fallbacks-')))
chmodSync(root, 0o755) // as root, the server runs as another user, who has to come in
const directory = join(root, 'db')
const children: ChildProcess[] = []

let server: Server
let database: TestDatabase

beforeAll(async () => {
  server = await startEmbedded({ directory })
  database = await TestDatabase.create({ events: 100, server: server.url })
})
afterAll(async () => {
  for (const child of children) child.kill('SIGINT')
  await database?.drop().catch(() => {})
  await server?.stop()
  rmSync(root, { recursive: true, force: true })
})

const query = (client: EventsClient) => client.query().count()

/** Strict reads are direct and say why; bounded ones go by their age; plan and health say why too. */
async function fallsBack(client: EventsClient, why: string, count = 100) {
  const strict = () => query(client).cache({ consistency: 'strict' })
  const reason = { hint: 'cache', value: 'strict', honoured: false, reason: expect.stringContaining(why) }
  for (let i = 0; i < 2; i++)
    expect(await strict().execute()).toMatchObject({ cache: 'off', rows: [{ count }], hints: [reason] })
  const bounded = () => query(client).cache({ maxStaleness: '1 minute' }).execute()
  expect(await bounded()).toMatchObject({ cache: 'miss', rows: [{ count }] })
  expect(await bounded()).toMatchObject({ cache: 'memory', rows: [{ count }] })
  expect((await strict().explain()).hints).toContainEqual(reason)
  const { capabilities, problems, ok } = await client.monitor.getHealth()
  expect(capabilities.cache).toBe(false)
  expect(problems.join('\n')).toContain(why)
  expect(ok).toBe(false)
}

it('row-level security', async () => {
  const role = `${database.name}_restricted`
  await database.admin.query(`CREATE ROLE ${role} LOGIN PASSWORD 'x';
    GRANT SELECT ON events, events_rotations, events_incarnation TO ${role};
    CREATE TABLE allowed (type text); GRANT SELECT ON allowed TO ${role};
    ALTER TABLE events ENABLE ROW LEVEL SECURITY;
    CREATE POLICY restricted ON events USING (event_type IN (SELECT type FROM allowed))`)
  const url = new URL(database.url)
  url.username = role
  url.password = 'x'
  const restricted = await database.connect({ url: url.href })
  try {
    await fallsBack(restricted, 'row-level security', 0)
    // What another table decides, no new event tells.
    await database.admin.query(`INSERT INTO allowed VALUES ('CODE.GENERATED.SUCCESS')`)
    const { rows } = await query(restricted).cache({ consistency: 'strict' }).execute()
    expect(rows).toEqual([{ count: 20 }])
    // The owner, whom no policy binds, is not affected.
    const owner = await database.connect()
    const strict = async () => (await query(owner).cache({ consistency: 'strict' }).execute()).cache
    expect([await strict(), await strict()]).toEqual(['miss', 'memory'])
  } finally {
    await restricted.close()
    await database.admin.query(`ALTER TABLE events DISABLE ROW LEVEL SECURITY; DROP POLICY restricted ON events;
      DROP OWNED BY ${role}; DROP ROLE ${role}; DROP TABLE allowed`)
  }
})

/** Starts a program as the user that the server runs as. */
function start(program: string, args: string[]) {
  const { uid, gid } = statSync(join(directory, 'data'))
  const child = spawn(program, args, { cwd: root, stdio: 'ignore', ...(process.getuid?.() === 0 ? { uid, gid } : {}) })
  children.push(child)
  return child
}

it.runIf(process.platform === 'linux')('a standby, until it is promoted', async () => {
  const copy = await Standby.of(server, directory, join(root, 'standby'))
  server = copy.primary
  const url = copy.url(database.url)
  const standby = await copy.session(database.url)
  try {
    const writer = await database.connect()
    await writer.append([{ type: 'STANDBY.A.X' }])
    await until('the event on the standby', async () => {
      const { rows } = await standby.query(`SELECT FROM events WHERE event_type = 'STANDBY.A.X'`)
      return rows.length === 1 || undefined
    })
    const reading = await database.connect({ url })
    await fallsBack(reading, 'standby', 101)
    // Promoted it can be exact: the unlogged tables are empty, and a nonce is made anew.
    await standby.query('SELECT pg_promote()')
    const strict = async () => (await query(reading).cache({ consistency: 'strict' }).execute()).cache
    await expect.poll(strict, { timeout: 20_000, interval: 100 }).toBe('memory')
    expect((await reading.monitor.getHealth()).capabilities.cache).toBe(true)
    await reading.append([{ type: 'STANDBY.A.X' }])
    expect((await query(reading).cache({ consistency: 'strict' }).execute()).rows).toEqual([{ count: 102 }])
    await reading.close()
    await writer.close()
  } finally {
    await standby.end()
    await copy.stop()
  }
})

const bouncer = ['/usr/sbin/pgbouncer', '/usr/bin/pgbouncer'].find(path => statSync(path, { throwIfNoEntry: false }))

it.skipIf(bouncer === undefined)('a pooler in transaction mode, whose other clients notice nothing', async () => {
  const { username, password } = new URL(server.url)
  const port = await freePort()
  const folder = join(root, 'bouncer')
  mkdirSync(folder)
  const { uid, gid } = statSync(join(directory, 'data'))
  writeFileSync(join(folder, 'users'), `"${username}" "${password}"\n`)
  writeFileSync(
    join(folder, 'ini'),
    `[databases]
* = host=127.0.0.1 port=${server.port} user=${username} password=${password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = plain
auth_file = ${join(folder, 'users')}
pool_mode = transaction
default_pool_size = 1
ignore_startup_parameters = extra_float_digits,options
`
  )
  for (const path of [folder, join(folder, 'ini'), join(folder, 'users')]) chownSync(path, uid, gid)
  start(bouncer as string, ['-q', join(folder, 'ini')])
  const url = new URL(database.url)
  url.port = String(port)
  const other = await until('a pooler', async () => {
    const session = new pg.Client({ connectionString: url.href })
    session.on('error', () => {})
    return session.connect().then(
      () => session,
      () => undefined
    )
  })
  const settings = async () => {
    const { rows } = await other.query(
      `SELECT current_setting('transaction_isolation') AS isolation, current_setting('statement_timeout') AS timeout,
       current_setting('plan_cache_mode') AS plans, current_setting('client_connection_check_interval') AS interval`
    )
    return rows[0]
  }
  try {
    const before = await settings()
    expect(before.isolation).toBe('read committed')
    // One connection: versions before 1.21 do not know whose prepared statement is whose.
    const client = await database.connect({ url: url.href, pool: { max: 1 }, limits: { timeout: 20_000 } })
    await fallsBack(client, 'pooler', (await query(await database.connect()).execute()).rows[0]?.count)
    expect(await settings()).toEqual(before)
    await client.close()
  } finally {
    await other.end()
  }
})

it('functions of time are answered as of now', async () => {
  const client = await database.connect()
  const recent = (cached: boolean) => {
    const asked = client
      .query()
      .where({ eventTypes: ['CLOCK.A.X'] })
      .timeWindow({ last: '1 hour' })
      .count()
    return (cached ? asked.cache({ consistency: 'strict' }) : asked).execute()
  }
  await client.append([
    { type: 'CLOCK.A.X', timestamp: new Date(Date.now() - 3_600_000 + 1500) },
    { type: 'CLOCK.A.X' }
  ])
  expect((await recent(true)).rows).toEqual([{ count: 2 }])
  expect((await recent(true)).cache).toBe('memory')
  await expect.poll(async () => (await recent(false)).rows, { timeout: 10_000 }).toEqual([{ count: 1 }])
  expect((await recent(true)).rows).toEqual([{ count: 1 }])
})
