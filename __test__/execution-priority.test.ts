// In which order queries that wait for a place get their turn.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { TestDatabase } from './support/database'
import { until } from './support/wait'

let database: TestDatabase

beforeAll(async () => {
  database = await TestDatabase.create({ events: 100 })
})
afterAll(() => database.drop())

test('a higher priority goes first, and a low one has its turn', async () => {
  const client = await database.connect({ pool: { max: 1 } })
  const holding = client.sql`SELECT pg_sleep(0.5)`.execute()
  await database.running('pg_sleep')
  const order: string[] = []
  const ask = async (priority: 'low' | 'normal' | 'high', name: string = priority) => {
    const waiting = client.monitor.getPool().waiting
    const done = client
      .query()
      .hint({ priority })
      .limit(1)
      .execute()
      .then(() => order.push(name))
    await until('it to wait', () => (client.monitor.getPool().waiting > waiting ? true : undefined))
    // In a list: what an async function returns is waited for.
    return [done]
  }
  const asked = [await ask('low'), await ask('normal'), await ask('high'), await ask('high', 'high too')].flat()
  await Promise.all([holding, ...asked])
  expect(order).toEqual(['high', 'high too', 'normal', 'low'])
  expect(client.monitor.getPool()).toMatchObject({ waiting: 0, inUse: 0 })
})

test('under a stream of high ones a low one still gets its turn before its time is over', async () => {
  const client = await database.connect({ pool: { max: 1, acquireTimeout: 1000 } })
  let on = true
  const high = Array.from({ length: 4 }, async () => {
    while (on) await client.query().hint({ priority: 'high' }).limit(1).execute()
  })
  const low = await client.query().hint({ priority: 'low' }).limit(1).execute()
  on = false
  await Promise.all(high)
  expect(low.rowCount).toBe(1)
})
