// The log where the server itself goes away: a database that is gone, connections that are ended.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { TestDatabase } from './support/database'
import { inParallel, timed } from './support/wait'

let database: TestDatabase

beforeAll(async () => {
  database = await TestDatabase.create({ events: 100 })
})
afterAll(() => database.drop())

test('backends that are ended all the time, those of the log too: queries go on and are counted', async () => {
  const client = await database.connect()
  let on = true
  const ending = (async () => {
    while (on) {
      await database.admin.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tamma-events monitor'"
      )
    }
  })()
  await inParallel(300, 4, async i => {
    expect((await client.query().limit(3).execute()).rowCount).toBe(3)
    if (i % 20 === 0) await client.monitor.flush()
  })
  on = false
  await ending
  expect((await client.monitor.getFingerprints())[0]?.calls).toBe(300)
  await client.query().limit(3).execute()
  await client.monitor.flush()
  expect(await client.monitor.getHealth()).toMatchObject({ ok: true, problems: [] })
})

test('a database that is gone: health says so, and closing is quick', async () => {
  const own = await TestDatabase.create({ events: 10 })
  const client = await own.connect()
  await client.query().execute()
  await own.admin.end()
  await database.admin.query(`DROP DATABASE ${own.name} WITH (FORCE)`)
  const { postgres, problems, ok } = await client.monitor.getHealth()
  expect({ postgres, ok }).toEqual({ ok: false, postgres: { connected: false, version: '', extensions: [] } })
  expect(problems).toEqual([expect.stringMatching(/does not exist/)])
  await client.monitor.flush()
  expect((await client.monitor.getHealth()).problems).toEqual([
    expect.stringMatching(/does not exist/),
    expect.stringMatching(/not logged.*does not exist/)
  ])
  expect(await client.monitor.report()).toContain('not reached')
  expect((await timed(client.close())).ms).toBeLessThan(1000)
})
