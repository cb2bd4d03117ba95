// Errors as objects: what they are, what they name, and where they say they come from.
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ConnectOptions, connect, type EventsClient, EventsError } from '../index.js'
import { TestDatabase } from './support/database'
import { drain, failure } from './support/errors'

const HERE = basename(fileURLToPath(import.meta.url))

let database: TestDatabase
let client: EventsClient

beforeAll(async () => {
  database = await TestDatabase.create({ events: 20 })
  client = await database.connect({ pool: { max: 2 } })
})
afterAll(() => database?.drop())

const wrong = () =>
  client.query().where({
    and: [
      { field: 'type', op: 'eq', value: 'A.B' },
      { field: 'nothing', op: 'eq', value: 1 }
    ]
  })
const divided = () => client.sql`SELECT 1 / (i - 3) AS q FROM generate_series(1, 5) AS i`

describe('what they are', () => {
  test('of the core, in every way of running', async () => {
    for (const run of [
      () => wrong().execute(),
      () => wrong().executeFirst(),
      () => drain(wrong().executeStream()),
      () => drain(wrong().executeBatches()),
      () => wrong().explain(),
      () => client.optimizer.executeQuery(wrong().toQuery()),
      () => drain(client.optimizer.executeQueryStream(wrong().toQuery()))
    ]) {
      const error = await failure(run(), 'UNKNOWN_FIELD')
      expect(error).toBeInstanceOf(EventsError)
      expect(error).toBeInstanceOf(Error)
      expect(error).toMatchObject({ name: 'EventsError', path: 'filter.where.and[1].field', retryable: false })
      expect(error.message).toContain('"nothing"')
      expect(String(error)).toMatch(/^EventsError: /)
      expect(error.sqlState).toBeUndefined()
    }
    expect(() => wrong().toSQL()).toThrow(
      expect.objectContaining({ code: 'UNKNOWN_FIELD', path: 'filter.where.and[1].field' })
    )
  })

  test('of the server', async () => {
    for (const run of [
      () => divided().execute({ queryId: 'mine' }),
      () => drain(divided().executeStream({ queryId: 'mine' }))
    ]) {
      const error = await failure(run(), 'DATABASE_ERROR')
      expect(error).toMatchObject({ sqlState: '22012', queryId: 'mine', retryable: false, message: 'division by zero' })
      expect(error.path).toBeUndefined()
    }
    expect((await failure(divided().execute())).queryId).toMatch(/^[0-9a-f-]{36}$/)
  })

  test('members that say nothing are not there', async () => {
    const error = await failure(wrong().execute())
    expect(Object.keys(error).sort()).toEqual(expect.arrayContaining(['code', 'path', 'retryable']))
    expect('sqlState' in error || 'position' in error || 'cause' in error).toBe(false)
    expect(JSON.parse(JSON.stringify(error))).toMatchObject({
      code: 'UNKNOWN_FIELD',
      path: 'filter.where.and[1].field',
      retryable: false
    })
  })

  test("the server's values are cut out of its messages", async () => {
    const error = await failure(client.sql`SELECT (${'s3cret'}::text)::int AS n`.execute(), 'DATABASE_ERROR')
    expect(error.sqlState).toBe('22P02')
    expect(`${error.message} ${error.stack} ${JSON.stringify(error)}`).not.toContain('s3cret')
    // The server does not escape a value's own quotes.
    const quoted = await failure(client.sql`SELECT (${'say "s3cret" now'}::text)::int AS n`.execute(), 'DATABASE_ERROR')
    expect(quoted.message).not.toMatch(/s3cret|say|now/u)
  })

  test('a query id names the query in the error', async () => {
    expect(
      (
        await failure(
          client.sql`SELECT pg_sleep(9)::text AS s`.execute({ queryId: 'late', timeout: 20 }),
          'QUERY_TIMEOUT'
        )
      ).queryId
    ).toBe('late')
    const controller = new AbortController()
    const aborted = client.sql`SELECT pg_sleep(9)::text AS s`.execute({ queryId: 'stopped', signal: controller.signal })
    controller.abort()
    expect((await failure(aborted, 'QUERY_CANCELLED')).queryId).toBe('stopped')
    const stream = client.sql`SELECT pg_sleep(9)::text AS s`.executeStream({
      queryId: 'stopped too',
      signal: AbortSignal.timeout(20)
    })
    expect((await failure(drain(stream), 'QUERY_CANCELLED')).queryId).toBe('stopped too')
  })

  test("a regular expression that the server cannot read is the caller's mistake", async () => {
    for (const run of [
      () => client.query().where('type', 'regex', '(').execute(),
      () => drain(client.query().where('type', 'regex', '(').executeStream())
    ]) {
      expect((await failure(run(), 'INVALID_QUERY')).path).toBe('filter.where.value')
    }
  })

  test('a table that is not there', async () => {
    const other = await database.connect({ table: { name: 'no_such_table' } }).catch(error => error)
    const error = other instanceof Error ? other : await failure(other.query().execute())
    expect(error).toMatchObject({ code: 'UNKNOWN_TABLE', retryable: false })
    expect(error.message).toContain('no_such_table')
  })
})

describe('where they come from', () => {
  const long = () => client.sql`SELECT pg_sleep(9)::text AS s`
  const runs: [string, () => Promise<unknown>][] = [
    ['execute, refused', async () => await wrong().execute()],
    ['executeFirst, refused', async () => await wrong().executeFirst()],
    ['a stream, refused', async () => await drain(wrong().executeStream())],
    ['batches, refused', async () => await drain(wrong().executeBatches())],
    ['explain, refused', async () => await wrong().explain()],
    ['a query as a value, refused', async () => await client.optimizer.executeQuery(wrong().toQuery())],
    ['sql, failed on the server', async () => await divided().execute()],
    ['a stream of sql, failed on the server', async () => await drain(divided().executeStream())],
    ['sql, too late', async () => await long().execute({ timeout: 20 })],
    ['a stream, too late', async () => await drain(long().executeStream({ timeout: 20 }))],
    ['sql, aborted', async () => await long().execute({ signal: AbortSignal.timeout(20) })],
    ['a stream, aborted', async () => await drain(long().executeStream({ signal: AbortSignal.timeout(20) }))],
    ['aborted before', async () => await long().execute({ signal: AbortSignal.abort() })],
    ['append', async () => await client.append([{ type: 'not a type' }])],
    ['cancelQuery', async () => await client.optimizer.cancelQuery('never seen')],
    [
      'connect',
      async () => await connect({ url: 'postgres://nobody:wrong@127.0.0.1:1/none', pool: { acquireTimeout: 500 } })
    ],
    ['options', async () => await connect({ pool: { max: 0 }, url: database.url })]
  ]
  test.each(runs)('%s: the stack shows the caller', async (_, run) => {
    const error = await failure(run())
    expect(error.stack).toContain(HERE)
    expect(error.stack?.split('\n', 1)[0]).toBe(`${error.name}: ${error.message}`)
  })
})

describe('servers that cannot be reached', () => {
  const password = 's3cret-p4ss'
  const elsewhere = (change: (url: URL) => void) => {
    const url = new URL(database.url)
    change(url)
    return url.href
  }
  const quick = { pool: { acquireTimeout: 3000 } }

  async function refused(options: ConnectOptions, retryable = true) {
    const started = performance.now()
    const error = await failure(connect({ ...quick, ...options }), 'CONNECTION_FAILED')
    expect(performance.now() - started).toBeLessThan(3500)
    expect(`${error.message} ${error.stack} ${JSON.stringify(error)} ${String(error.cause)}`).not.toContain(password)
    expect(error.retryable).toBe(retryable)
    return error
  }

  test('the wrong password', async () => {
    const url = elsewhere(url => {
      url.password = password
    })
    const error = await refused({ url }, false)
    expect(error.sqlState).toMatch(/^28/)
  })

  test('an unknown user', async () => {
    const url = elsewhere(url => {
      ;[url.username, url.password] = ['no_such_user', password]
    })
    const error = await refused({ url }, false)
    expect(error.sqlState).toMatch(/^28/)
  })

  test('an unknown database', async () => {
    const url = elsewhere(url => {
      url.pathname = '/no_such_database'
    })
    const error = await refused({ url }, false)
    expect(error.sqlState).toBe('3D000')
    expect(error.message).toContain('no_such_database')
  })

  test('an empty url is a mistake, not a wish for a server of its own', async () => {
    expect(await failure(connect({ url: '' }), 'INVALID_QUERY')).toMatchObject({ path: 'url' })
    const kept = process.env.DATABASE_URL
    process.env.DATABASE_URL = ''
    try {
      expect(await failure(connect(), 'INVALID_QUERY')).toMatchObject({ path: 'url' })
    } finally {
      if (kept === undefined) delete process.env.DATABASE_URL
      else process.env.DATABASE_URL = kept
    }
  })

  test('a port that nobody listens on', async () => {
    const error = await refused({
      url: elsewhere(url => {
        ;[url.port, url.password] = ['1', password]
      })
    })
    expect(error.message).toMatch(/refused/)
  })

  test('a name that is none', async () => {
    await refused({
      url: elsewhere(url => {
        ;[url.hostname, url.password] = ['no-such-host.invalid', password]
      })
    })
  })

  test('a peer that is no PostgreSQL, and one that never answers', async () => {
    const { createServer } = await import('node:net')
    for (const answer of ['HTTP/1.1 400 Bad Request\r\n\r\n', undefined]) {
      const sockets = new Set<import('node:net').Socket>()
      const server = createServer(socket => {
        sockets.add(socket)
        socket.on('error', () => {})
        if (answer !== undefined) socket.end(answer)
      })
      await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
      const { port } = server.address() as { port: number }
      try {
        const url = `postgres://user:${password}@127.0.0.1:${port}/x`
        const error = await failure(connect({ url, pool: { acquireTimeout: 400 } }))
        expect(['CONNECTION_FAILED', 'POOL_TIMEOUT']).toContain(error.code)
        expect(error.retryable).toBe(true)
        expect(error.message).not.toContain(password)
      } finally {
        for (const socket of sockets) socket.destroy()
        server.close()
      }
    }
  })

  test('too many connections', async () => {
    await database.admin.query(`ALTER DATABASE ${database.name} CONNECTION LIMIT 3`)
    const { rows } = await database.admin.query('SELECT rolsuper FROM pg_roles WHERE rolname = current_user')
    try {
      // Superusers are above the limit: there, nothing is to be seen.
      if (rows[0].rolsuper) return
      await refused({ url: database.url })
    } finally {
      await database.admin.query(`ALTER DATABASE ${database.name} CONNECTION LIMIT -1`)
    }
  })
})
