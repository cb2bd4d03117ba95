// Traces on Node's diagnostics channel, and what the module has to say.
import { tracingChannel } from 'node:diagnostics_channel'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'
import { until } from './support/wait'

interface Message {
  operation: string
  attributes: Record<string, string | number>
  error?: Error
}

let database: TestDatabase
const channel = tracingChannel<unknown, Message>('tamma:events:query')
const seen: [string, Message][] = []
const listeners = Object.fromEntries(
  (['start', 'end', 'asyncStart', 'asyncEnd', 'error'] as const).map(name => [
    name,
    (message: unknown) => void seen.push([name, message as Message])
  ])
) as unknown as Parameters<typeof channel.subscribe>[0]

beforeAll(async () => {
  database = await TestDatabase.create({ events: 1000 })
})
afterAll(() => database.drop())
afterEach(() => {
  channel.unsubscribe(listeners)
  seen.length = 0
})

describe('traces', () => {
  test('a run, with the names of OpenTelemetry and none of its values', async () => {
    channel.subscribe(listeners)
    const client = await database.connect()
    const query = client.query().where('tags.text', 'eq', 's3cret').limit(3)
    await query.execute({ queryId: 'traced' })
    expect(seen.map(([name]) => name)).toEqual(['start', 'end', 'asyncStart', 'asyncEnd'])
    const [, message] = seen[3] ?? []
    expect(message).toEqual({
      operation: 'execute',
      result: undefined,
      attributes: {
        'db.system.name': 'postgresql',
        'db.operation.name': 'SELECT',
        'db.query.text': query.toSQL().sql.replace('LIMIT 3', 'LIMIT ?'),
        'db.namespace': database.name,
        'db.collection.name': 'events',
        'db.response.returned_rows': 0,
        'server.address': new URL(database.url).hostname,
        'server.port': Number(new URL(database.url).port),
        'tamma.events.fingerprint': (await client.optimizer.getQueryStats('traced')).fingerprint,
        'tamma.events.query_id': 'traced'
      }
    })
    const password = new URL(database.url).password
    for (const word of ['s3cret', password].filter(Boolean)) expect(JSON.stringify(seen)).not.toContain(word)
  })

  test('a run that fails', async () => {
    channel.subscribe(listeners)
    const client = await database.connect()
    const error = await failure(client.sql`SELECT 's3cret'::int WHERE ${1} = 1`.execute())
    expect(seen.map(([name]) => name)).toEqual(['start', 'end', 'error', 'asyncStart', 'asyncEnd'])
    const message = seen[2]?.[1]
    expect(message?.error).toBe(error)
    expect(message?.attributes).toMatchObject({
      'db.query.text': 'SELECT ?::int WHERE $1 = ?',
      'error.type': 'DATABASE_ERROR',
      'db.response.status_code': '22P02',
      'tamma.events.query_id': error.queryId
    })
    expect(JSON.stringify(seen)).not.toContain('s3cret')
    const refused = await failure(client.query().limit(-1).execute())
    expect(seen.at(-1)?.[1]).toMatchObject({ error: refused, attributes: { 'error.type': 'INVALID_QUERY' } })
  })

  test('streams, read to the end, left, and failed', async () => {
    const client = await database.connect()
    channel.subscribe(listeners)
    const names = () => seen.splice(0).map(([name]) => name)
    let rows = 0
    for await (const _ of client.query().executeStream({ queryId: 'whole' })) rows++
    expect(seen[3]?.[1]).toMatchObject({
      operation: 'stream',
      attributes: { 'db.response.returned_rows': rows, 'tamma.events.query_id': 'whole' }
    })
    expect(names()).toEqual(['start', 'end', 'asyncStart', 'asyncEnd'])
    for await (const _ of client.query().executeStream()) break
    expect(names()).toEqual(['start', 'end', 'asyncStart', 'asyncEnd'])
    await failure(client.sql`SELECT 1 / ${0}`.executeStream().next())
    expect(seen[2]?.[1].attributes).toMatchObject({ 'db.response.status_code': '22012' })
    expect(names()).toEqual(['start', 'end', 'error', 'asyncStart', 'asyncEnd'])
  })
})

describe('onLog', () => {
  const listening = async (options = {}) => {
    const records: { level: string; target: string; message: string; fields: object }[] = []
    return { records, client: await database.connect({ ...options, onLog: record => void records.push(record) }) }
  }

  test('a slow query, to the client that asked', async () => {
    const { records, client } = await listening({ monitor: { slowQueryThreshold: 20 } })
    const other = await listening()
    await client.sql`SELECT pg_sleep(0.03), 's3cret'`.execute({ queryId: 'slow' })
    await until('a record', () => (records.length > 0 ? true : undefined))
    expect(records).toEqual([
      {
        level: 'warn',
        target: 'tamma_events::monitor',
        message: 'a slow query',
        fields: {
          query_id: 'slow',
          fingerprint: expect.stringMatching(/^[0-9a-f]{16}$/),
          milliseconds: expect.any(Number)
        }
      }
    ])
    expect(other.records).toEqual([])
  })

  test('what migrations do', async () => {
    const records: string[] = []
    const client = await database.connect({
      table: { name: 'others' },
      onLog: ({ message }) => void records.push(message)
    })
    await client.migrate()
    await until('records', () => (records.includes('applied') ? true : undefined))
    await client.close()
  })

  test('a client that listens does not keep its process alive', async () => {
    const { execFile } = await import('node:child_process')
    const { promisify } = await import('node:util')
    const script = `require(${JSON.stringify(require.resolve('../index.js'))}).connect({ url: ${JSON.stringify(database.url)}, onLog() {} })
      .then(client => client.query().limit(1).execute()).then(() => console.log('asked'))`
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', script], { timeout: 20_000 })
    expect(stdout).toBe('asked\n')
  })
})
