// The server's own limit of a statement: there where the client has a cap, for queries alone.
import { spawn } from 'node:child_process'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TestDatabase } from './support/database'
import { until } from './support/wait'

let database: TestDatabase
beforeAll(async () => {
  database = await TestDatabase.create({ events: 10 })
  await database.admin.query('CREATE TABLE seen (setting text)')
  await database.admin.query(`
    CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO seen VALUES (current_setting('statement_timeout')); RETURN NULL; END $$`)
  await database.admin.query('CREATE TRIGGER see AFTER INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION see()')
}, 60_000)
afterAll(() => database?.drop())

const event = { type: 'CODE.GENERATED.SUCCESS', timestamp: '2024-01-01T00:00:00Z', tags: {}, data: {} }

describe('statement_timeout', () => {
  it('is the cap and a grace, for queries and streams; appends have none', async () => {
    const client = await database.connect({ limits: { timeout: 20_000 }, pool: { max: 1 } })
    const setting = () => client.sql<{ s: string }>`SELECT current_setting('statement_timeout') AS s`
    expect((await setting().execute()).rows).toEqual([{ s: '25s' }])
    await client.append([event])
    const streamed = []
    for await (const row of setting().executeStream()) streamed.push(row)
    expect(streamed).toEqual([{ s: '25s' }])
    await client.append([event])
    expect((await database.admin.query('SELECT setting FROM seen')).rows).toEqual([{ setting: '0' }, { setting: '0' }])
    await client.close()
  })

  it('is none where streams may take as long as they like', async () => {
    const client = await database.connect({ pool: { max: 1 } })
    const { rows } = await client.sql`SELECT current_setting('statement_timeout') AS s`.execute()
    expect(rows).toEqual([{ s: '0' }])
    await client.close()
  })

  it('ends what a client that hangs does not', { timeout: 60_000 }, async () => {
    const program = `
      const { connect } = require(${JSON.stringify(path.resolve(__dirname, '../index.js'))})
      connect({ url: process.env.URL, limits: { timeout: 1500 } })
        .then(client => client.sql\`SELECT pg_sleep(100)::text AS hung\`.execute())`
    const child = spawn(process.execPath, ['-e', program], {
      env: { ...process.env, URL: database.url },
      stdio: 'ignore'
    })
    try {
      await database.running('AS hung')
      child.kill('SIGSTOP')
      // Its connection is open, and nobody will cancel.
      await until(
        'a backend that has given up',
        async () => {
          const [hung] = (await database.backends()).filter(({ query }) => query.includes('AS hung'))
          // Its transaction failed, and waits for a ROLLBACK: it holds no snapshot.
          return hung?.state === 'idle in transaction (aborted)' ? true : undefined
        },
        30_000
      )
    } finally {
      child.kill('SIGKILL')
    }
  })
})
