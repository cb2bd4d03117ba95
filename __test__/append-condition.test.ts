// append() under a condition: what it finds, what it waits for, and what it refuses.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, type EventFilter, type EventsClient, type NewEvent } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'

let database: TestDatabase
let client: EventsClient
beforeAll(async () => {
  database = await TestDatabase.create()
  client = await database.connect()
})
afterAll(() => database?.drop())

let lastResource = 0
/** A resource that no other test writes of. */
const fresh = () => `r${++lastResource}`
const reservation = (resource: string): NewEvent => ({ type: 'SEAT.RESERVED', tags: { resource } })
const reservations = (resource: string): EventFilter => ({ eventTypes: ['SEAT.RESERVED'], tags: { resource } })
const read = (filter: EventFilter) => client.query().where(filter).execute()
const count = async (resource: string) => (await read({ tags: { resource } })).rowCount

async function otherWriter() {
  const writer = new pg.Client({ connectionString: database.url })
  await writer.connect()
  return Object.assign(writer, { [Symbol.asyncDispose]: () => writer.end() })
}
const insert = (writer: pg.Client, resource: string, type = 'SEAT.RESERVED') =>
  writer.query(
    `INSERT INTO events (event_id, event_type, "timestamp", tags)
     VALUES (gen_random_uuid(), $1, now(), jsonb_build_object('resource', $2::text))`,
    [type, resource]
  )

describe('a condition', () => {
  it('without a token: no such event was ever written', async () => {
    const resource = fresh()
    const receipt = await client.append([reservation(resource)], { failIf: reservations(resource) })
    expect(receipt).toMatchObject({ count: 1, ids: [expect.any(String)], token: expect.any(String) })
    const error = await failure(
      client.append([reservation(resource)], { failIf: reservations(resource) }),
      'APPEND_CONFLICT'
    )
    expect(error.retryable).toBe(true)
    expect(await count(resource)).toBe(1)
    // Of another resource, or another type, it says nothing.
    await client.append([reservation(resource)], { failIf: { ...reservations(resource), eventTypes: ['SEAT.FREED'] } })
    await client.append([reservation(resource)], { failIf: reservations(fresh()), after: undefined })
    expect(await count(resource)).toBe(3)
  })

  it('with a token: none that the answer did not show', async () => {
    const resource = fresh()
    await client.append([reservation(resource)])
    const { token } = await read(reservations(resource))
    const first = await client.append([reservation(resource)], { failIf: reservations(resource), after: token })
    await failure(
      client.append([reservation(resource)], { failIf: reservations(resource), after: token }),
      'APPEND_CONFLICT'
    )
    // A receipt's token has seen its own events.
    await client.append([reservation(resource)], { failIf: reservations(resource), after: first.token })
    expect(await count(resource)).toBe(3)
  })

  it('with the token of a page: what the answer was cut from was there to be asked for', async () => {
    const resource = fresh()
    await client.append([reservation(resource), reservation(resource), reservation(resource)])
    const page = await client.query().where(reservations(resource)).since(undefined).limit(1).execute()
    await client.append([reservation(resource)], { failIf: reservations(resource), after: page.token })
    await failure(
      client.append([reservation(resource)], { failIf: reservations(resource), after: page.token }),
      'APPEND_CONFLICT'
    )
  })

  it('is any filter', async () => {
    const resource = fresh()
    const { token } = await read({})
    await client.append([{ type: 'SEAT.PRICED', tags: { resource }, data: { price: 7 }, timestamp: '2020-01-01' }])
    const conflicts: EventFilter[] = [
      {},
      { eventTypes: ['SEAT.*'] },
      { where: { field: 'data.price', op: 'gt', value: 5 } },
      { anyOf: [{ types: ['X.Y'], tags: ['resource:none'] }, { tags: [`resource:${resource}`] }] },
      { where: { field: 'type', op: 'regex', value: '^SEAT\\.PR' } },
      { startTime: new Date('2019-12-31T00:00:00Z'), endTime: '2020-01-02T00:00:00Z' }
    ]
    for (const failIf of conflicts) {
      await failure(client.append([reservation(resource)], { failIf, after: token }), 'APPEND_CONFLICT')
    }
    const holds: EventFilter[] = [
      { eventTypes: ['ROOM.*'] },
      { where: { field: 'data.price', op: 'gt', value: 7 } },
      { anyOf: [{ types: ['SEAT.PRICED'], tags: ['resource:none'] }] },
      { endTime: '2019-12-31T00:00:00Z' },
      { issueIds: Array.from({ length: 500 }, (_, i) => `${resource} ${i}`) }
    ]
    for (const failIf of holds) await client.append([reservation(resource)], { failIf, after: token })
    expect(await count(resource)).toBe(1 + holds.length)
  })

  it('stores all events or none, however many and of however many kinds', async () => {
    const resource = fresh()
    const many = Array.from({ length: 300 }, (_, i) => ({ type: `KIND${i}.X`, tags: { resource, [`t${i}`]: 'v' } }))
    await client.append(many, { failIf: { tags: { resource } } })
    await failure(client.append(many, { failIf: { tags: { resource } } }), 'APPEND_CONFLICT')
    expect(await count(resource)).toBe(300)
  })

  it('does not hide a duplicate id', async () => {
    const resource = fresh()
    const event = { ...reservation(resource), id: randomUUID() }
    await client.append([event], { failIf: reservations(resource) })
    const again = client.append([reservation(resource), event], { failIf: reservations(fresh()) })
    expect(await failure(again, 'DUPLICATE_EVENT')).toMatchObject({ path: 'events[1].id' })
    expect(await count(resource)).toBe(1)
    expect(await database.busy()).toEqual([])
  })
})

describe('writers that do not use this package', () => {
  it.each([
    ['COMMIT', 'APPEND_CONFLICT'],
    ['ROLLBACK', undefined]
  ] as const)('are waited for: %s', async (end, code) => {
    const resource = fresh()
    await using writer = await otherWriter()
    await writer.query('BEGIN')
    await insert(writer, resource)
    let isDone = false
    const appended = client.append([reservation(resource)], { failIf: reservations(resource) }).finally(() => {
      isDone = true
    })
    appended.catch(() => {})
    await database.running('_close_gate')
    await sleep(50)
    expect(isDone).toBe(false)
    await writer.query(end)
    if (code === undefined) await appended
    else await failure(appended, code)
    expect(await count(resource)).toBe(1)
  })

  it('wait until a conditional append is over', async () => {
    const resource = fresh()
    await using writer = await otherWriter()
    await using gate = await otherWriter()
    // What a conditional append does, held open.
    await gate.query('BEGIN; SELECT events_close_gate()')
    await insert(gate, resource)
    let isDone = false
    const inserted = insert(writer, resource).finally(() => {
      isDone = true
    })
    const copied = client.append([reservation(resource)])
    await database.running('INSERT INTO', 2)
    await sleep(50)
    expect(isDone).toBe(false)
    await gate.query('COMMIT')
    await Promise.all([inserted, copied])
    expect(await count(resource)).toBe(3)
  })

  it('may be roles that can do no more than insert', async () => {
    const role = `writer_${randomUUID().slice(0, 8)}`
    const { admin } = database
    await admin.query(`CREATE ROLE ${role} LOGIN PASSWORD 'x'; GRANT INSERT, SELECT ON events TO ${role}`)
    const url = new URL(database.url)
    url.username = role
    url.password = 'x'
    const limited = await connect({ url: url.href })
    try {
      const resource = fresh()
      await limited.append([reservation(resource)], { failIf: reservations(resource) })
      await failure(limited.append([reservation(resource)], { failIf: reservations(resource) }), 'APPEND_CONFLICT')
      await limited.append([reservation(resource)])
      expect(await count(resource)).toBe(2)
      await admin.query(`REVOKE INSERT ON events FROM ${role}`)
      const error = await failure(limited.append([reservation(resource)], { failIf: reservations(fresh()) }))
      expect(error).toMatchObject({ code: 'DATABASE_ERROR', sqlState: '42501' })
    } finally {
      await limited.close()
      await admin.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
    }
  })
})

describe('what is refused', () => {
  it.each([
    [null, 'condition'],
    [[], 'condition'],
    [7, 'condition'],
    [{}, 'condition.failIf'],
    [{ failIf: undefined }, 'condition.failIf'],
    [{ failIf: null }, 'condition.failIf'],
    [{ failIf: {}, before: 'x' }, 'condition.before'],
    [{ failIf: {}, after: 7 }, 'condition.after'],
    [{ failIf: {}, after: 'x' }, 'condition.after'],
    [{ failIf: { eventTypes: [] } }, 'condition.failIf.eventTypes'],
    [{ failIf: { where: { field: 'tags.a', op: 'eq', value: undefined } } }, 'condition.failIf.where.value'],
    [{ failIf: { where: { field: 'tags.a', op: 'eq', value: 1 } } }, 'condition.failIf.where.value'],
    [{ failIf: { where: { field: 'type', op: 'regex', value: '(' } } }, 'condition.failIf.where.value']
  ])('%j at its place', async (condition, path) => {
    const error = await failure(client.append([reservation(fresh())], condition as never), 'INVALID_QUERY')
    expect(error.path).toBe(path)
  })

  it('a field that there is not, a bad event', async () => {
    const failIf = { where: { field: 'nothing' as 'type', op: 'eq' as const, value: 'x' } }
    expect(await failure(client.append([reservation(fresh())], { failIf }))).toMatchObject({ code: 'UNKNOWN_FIELD' })
    expect(await failure(client.append([], { failIf: {} }))).toMatchObject({ code: 'INVALID_EVENT', path: 'events' })
  })

  it('the token of another database', async () => {
    const other = await TestDatabase.create()
    try {
      const { token } = await (await other.connect()).append([reservation('x')])
      const error = await failure(
        client.append([reservation(fresh())], { failIf: reservations(fresh()), after: token }),
        'INVALID_QUERY'
      )
      expect(error).toMatchObject({ path: 'condition.after', message: expect.stringContaining('another database') })
    } finally {
      await other.drop()
    }
  })

  it('a table without the gate', async () => {
    await database.admin.query('CREATE TABLE ungated (LIKE events INCLUDING ALL)')
    const ungated = await connect({ url: database.url, table: { name: 'ungated' } })
    try {
      const error = await failure(ungated.append([reservation('x')], { failIf: {} }), 'UNSUPPORTED')
      expect(error).toMatchObject({ path: 'condition', message: expect.stringContaining('migrate()') })
      await ungated.append([reservation('x')])
    } finally {
      await ungated.close()
    }
  })
})

it('a client that is closed in the middle leaves nothing behind', async () => {
  const resource = fresh()
  await using writer = await otherWriter()
  await writer.query('BEGIN')
  await insert(writer, fresh())
  const short = await connect({ url: database.url })
  const appended = failure(short.append([reservation(resource)], { failIf: reservations(resource) }), 'CLOSED')
  await database.running('_close_gate')
  await short.close()
  await appended
  await writer.query('COMMIT')
  await database.quiet()
  expect(await count(resource)).toBe(0)
})
