// Read replicas: who answered is said, and proved by what a replica that has stopped replaying cannot know.
import { chmodSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, type EventsClient, type QueryHints } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'
import { type Server, Standby } from './support/standby'
import { until } from './support/wait'

const { startEmbedded } = createRequire(import.meta.url)('../lib/embedded') as {
  startEmbedded(options: { directory: string }): Promise<Server>
}
type ReadFrom = NonNullable<QueryHints['readFrom']>

const asked = (client: EventsClient, readFrom: ReadFrom) => client.query().count().hint({ readFrom })
const honoured = (value: string) => [{ hint: 'readFrom', value, honoured: true, how: 'replica 1 answered' }]
const declined = (value: string, reason: string) => [
  { hint: 'readFrom', value, honoured: false, reason: expect.stringContaining(reason) }
]

describe('options and hints', () => {
  it('names the url that is wrong, and nothing of it', async () => {
    const refused = await failure(
      connect({ url: 'postgres://a@b/c', replicas: ['postgres://a@b/c', 'http://x:secret@y'] })
    )
    expect(refused).toMatchObject({ code: 'INVALID_QUERY', path: 'replicas[1]' })
    expect(String(refused)).not.toContain('secret')
    const no = await failure(connect({ url: 'postgres://a@b/c', replicas: 'postgres://a@b/c' as never }))
    expect(no).toMatchObject({ code: 'INVALID_QUERY', path: 'replicas' })
  })

  it('refuses what is no wish, and declines where no replicas are configured', async () => {
    const database = await TestDatabase.create({ events: 10 })
    try {
      const client = await database.connect()
      for (const [wish, path] of [
        ['standby', 'hints.readFrom'],
        [{}, 'hints.readFrom'],
        [{ replicaWithin: 'soon' }, 'hints.readFrom.replicaWithin'],
        [{ replicaWithin: '1 second', more: 1 }, 'hints.readFrom.more']
      ] as const) {
        const refused = await failure(asked(client, wish as never).execute())
        expect(refused).toMatchObject({ code: 'INVALID_QUERY', path })
      }
      const { rows, hints } = await asked(client, 'replica').execute()
      expect(rows).toEqual([{ count: 10 }])
      expect(hints).toEqual(declined('replica', 'no replicas are configured'))
      expect((await asked(client, 'primary').execute()).hints).toBeUndefined()
    } finally {
      await database.drop()
    }
  })
})

describe.runIf(process.platform === 'linux')('a standby', () => {
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'tamma-replicas-')))
  chmodSync(root, 0o755) // as root, the servers run as another user, who has to come in

  let standby: Standby
  let database: TestDatabase
  let client: EventsClient
  /** On the standby. */
  let session: pg.Client

  beforeAll(async () => {
    const directory = join(root, 'db')
    standby = await Standby.of(await startEmbedded({ directory }), directory, join(root, 'standby'))
    database = await TestDatabase.create({ events: 5000, server: standby.primary.url })
    client = await database.connect({ replicas: [standby.url(database.url)] })
    session = await standby.session(database.url)
  })
  afterAll(async () => {
    await client?.close()
    await session?.end()
    await standby?.stop()
    await database?.drop().catch(() => {})
    await standby?.primary.stop()
    rmSync(root, { recursive: true, force: true })
  })

  const count = async (wish: ReadFrom) => {
    const { rows, hints, token } = await asked(client, wish).execute()
    return { count: rows[0]?.count, hints, token }
  }
  /** Answered by the standby, once it has come far enough. */
  const caughtUp = async () => {
    const isUpToDate = async () => (await count({ replicaWithin: 1 })).hints?.[0]?.honoured || undefined
    // The primary's log may end within a record; the next one is written within 15 seconds.
    await until('a standby that is up to date', isUpToDate, 40_000)
  }

  it('answers queries and streams, with whole rows', async () => {
    await caughtUp()
    expect(await count('replica')).toMatchObject({ count: 5000, hints: honoured('replica') })
    const read = client.query().where('data.n', 'lt', 2000).orderBy('timestamp')
    const rows: unknown[] = []
    for await (const row of read.hint({ readFrom: 'replica' }).executeStream()) rows.push(row)
    expect(rows).toEqual((await read.execute()).rows)
    expect((await asked(client, 'replica').explain()).hints).toEqual(declined('replica', "a plan is the primary's"))
  })

  it('is not asked where the primary has to answer', async () => {
    await client.snapshot(async at => {
      const { rows, hints } = await asked(at as EventsClient, 'replica').execute()
      expect(rows).toEqual([{ count: 5000 }])
      expect(hints).toEqual(declined('replica', 'inside snapshots'))
    })
  })

  it('what it has not replayed is missed, told, and never counted as seen', async () => {
    await caughtUp()
    await session.query('SELECT pg_wal_replay_pause()')
    await until('a pause', async () => {
      const { rows } = await session.query('SELECT pg_get_wal_replay_pause_state() AS state')
      return rows[0].state === 'paused' || undefined
    })
    try {
      const { ids } = await client.append([{ type: 'REPLICA.IS.BEHIND' }])

      const stale = await count('replica')
      expect(stale).toMatchObject({ count: 5000, hints: honoured('replica') })
      // It is known to have been up to date not long ago.
      expect(await count({ replicaWithin: '10 minutes' })).toMatchObject({
        count: 5000,
        hints: honoured('replica within 600000 ms')
      })
      const fresh = await count({ replicaWithin: 1 })
      expect(fresh).toMatchObject({
        count: 5001,
        hints: declined('replica within 1 ms', 'may be more than 1 ms behind')
      })
      const missed = await client.query().since(stale.token).execute()
      expect(missed.rows.map(row => row.id)).toContain(ids[0])
    } finally {
      await session.query('SELECT pg_wal_replay_resume()')
    }
    await caughtUp()
    expect((await count('replica')).count).toBe(5001)
  })

  it('a stream that is left early leaves nothing running there', async () => {
    await caughtUp()
    for await (const _ of client.query().hint({ readFrom: 'replica' }).executeStream()) break
    await until('an idle standby', async () => {
      const { rows } = await session.query(`
        SELECT FROM pg_stat_activity WHERE application_name = 'tamma-events' AND state <> 'idle'`)
      return rows.length === 0 || undefined
    })
    expect((await count('replica')).hints).toEqual(honoured('replica'))
  })

  it('a server that is no copy, or follows no other, does not answer', async () => {
    const other = await TestDatabase.create({ events: 3, server: standby.primary.url })
    try {
      for (const [url, reason] of [
        [standby.url(other.url), 'no copy of this database'],
        [database.url, 'follows no other server']
      ] as const) {
        const mistaken = await database.connect({ replicas: [url] })
        await until('the standby to have the other database', async () => {
          const { rows, hints } = await asked(mistaken, 'replica').execute()
          expect(rows).toEqual([{ count: 5001 }])
          const told = hints?.[0]?.reason ?? ''
          expect(hints?.[0]?.honoured).toBe(false)
          return told.includes(reason) || undefined
        })
        await mistaken.close()
      }
    } finally {
      await other.drop()
    }
  })

  it('the primary answers while it is gone, and it answers again when it is back', async () => {
    await session.end()
    await standby.stop()
    const { count: found, hints } = await count('replica')
    expect(found).toBe(5001)
    expect(hints).toEqual(declined('replica', 'replica 1 is out of reach'))
    await standby.start()
    session = await standby.session(database.url)
    await until('an answer of the standby', async () => (await count('replica')).hints?.[0]?.honoured || undefined)
  })

  it('close() leaves no connection on either', async () => {
    const short = await database.connect({ replicas: [standby.url(database.url)] })
    await asked(short, 'replica').execute()
    const connections = async () => {
      const text = `SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = 'tamma-events'`
      const [on, at] = [await session.query(text), await database.admin.query(text)]
      return [on.rows[0].n, at.rows[0].n]
    }
    const before = await connections()
    await short.close()
    await until('fewer connections', async () => {
      const after = await connections()
      return (after[0] < before[0] && after[1] < before[1]) || undefined
    })
  })
})
