// A database of its own for one test file, in the server of TAMMA_TEST_DATABASE_URL, filled with events that every
// test can foretell: `eventAt(i)` is what the i-th row must come back as, made without the database.
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { type ConnectOptions, connect, type DomainEvent, type EventsClient } from '../../index.js'
import { until } from './wait'

const TYPES = ['CODE.GENERATED.SUCCESS', 'CODE.GENERATED.FAILURE', 'PR.MERGED.SUCCESS', 'ISSUE.OPENED', 'ÜBER.ÄNDERUNG']
const TEXTS = ['plain', 'quo"te \\ back\nline', 'é中😀\u2028\u007f', '']
const START = Date.UTC(2024, 0, 1)

/** The i-th generated event. Ordered by time, events are ordered by `i`; members are in the order that jsonb gives them. */
export function eventAt(i: number): DomainEvent {
  const micros = i % 3
  return {
    id: `018bcfe5-6800-7000-8000-${i.toString(16).padStart(12, '0')}`,
    type: TYPES[i % TYPES.length],
    timestamp: new Date(START + i * 1000 + (i % 1000)).toISOString().replace('Z', micros ? `00${micros}Z` : 'Z'),
    tags: { text: TEXTS[i % TEXTS.length], issueId: String(i % 100) },
    metadata: { actor: { bot: i % 2 === 0, name: `user ${i % 7}` } },
    data: { n: i, half: i / 2, list: [i % 10, null, { deep: true }], 'ключ 😀': TEXTS[i % TEXTS.length] }
  }
}

export const eventsUpTo = (count: number) => Array.from({ length: count }, (_, i) => eventAt(i))

/** The same events, made by the server: a hundred thousand in a second. */
const FILL = `
  INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data)
  SELECT ('018bcfe5-6800-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid,
         ($2::text[])[1 + i % ${TYPES.length}],
         timestamptz '2024-01-01Z' + i * interval '1 second' + (i % 1000) * interval '1 millisecond' + (i % 3) * interval '1 microsecond',
         jsonb_build_object('issueId', (i % 100)::text, 'text', ($3::text[])[1 + i % ${TEXTS.length}]),
         jsonb_build_object('actor', jsonb_build_object('name', 'user ' || i % 7, 'bot', i % 2 = 0)),
         jsonb_build_object('n', i, 'half', i::float8 / 2, 'list', jsonb_build_array(i % 10, null, '{"deep":true}'::jsonb),
                            'ключ 😀', ($3::text[])[1 + i % ${TEXTS.length}])
  FROM generate_series($4::int, $1::int - 1) AS i`

export interface Backend {
  pid: number
  state: string
  query: string
  wait_event: string | null
}

export class TestDatabase {
  private readonly clients: EventsClient[] = []

  private constructor(
    readonly url: string,
    readonly name: string,
    /** A connection of the driver `pg`, for what the package must not do, and to look at the server. */
    readonly admin: pg.Client
  ) {}

  /** A database with the tables of the package and `events` generated events. */
  static async create({ events = 0, server = process.env.TAMMA_TEST_DATABASE_URL } = {}) {
    if (!server) throw new Error('TAMMA_TEST_DATABASE_URL must name a server: npm test starts one')
    const name = `test_${randomBytes(6).toString('hex')}`
    await onServer(server, `CREATE DATABASE ${name}`)
    const url = new URL(server)
    url.pathname = `/${name}`
    const admin = new pg.Client({ connectionString: url.href })
    // A server that a test stops takes this connection with it, which `pg` tells by an event.
    admin.on('error', () => {})
    await admin.connect()
    const database = new TestDatabase(url.href, name, admin)
    await (await connect({ url: url.href, migrate: true })).close()
    if (events > 0) await database.fill(events)
    return database
  }

  /** Adds the events `from` to `to - 1`. */
  async fill(to: number, from = 0) {
    await this.admin.query(FILL, [to, TYPES, TEXTS, from])
    await this.admin.query('ANALYZE events')
  }

  /** A client, closed with the database at the latest. */
  async connect(options: ConnectOptions = {}) {
    const client = await connect({ url: this.url, ...options })
    this.clients.push(client)
    return client
  }

  async drop() {
    await Promise.all(this.clients.map(client => client.close()))
    await this.admin.end()
    await onServer(this.url.replace(/\/[^/]*$/, '/postgres'), `DROP DATABASE IF EXISTS ${this.name} WITH (FORCE)`)
  }

  /** The package's connections to this database; each test file has a database of its own. */
  async backends(): Promise<Backend[]> {
    const { rows } = await this.admin.query<Backend>(
      `SELECT pid, state, query, wait_event FROM pg_stat_activity
       WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' ORDER BY pid`
    )
    return rows
  }

  /** Those that are at work, or in a transaction. */
  async busy() {
    return (await this.backends()).filter(({ state }) => state !== 'idle')
  }

  /** Waits until as many backends as `count` run a statement that contains `text`. */
  async running(text: string, count = 1) {
    return until(`${count} running statements like ${text}`, async () => {
      const found = (await this.backends()).filter(b => b.state === 'active' && b.query.includes(text))
      return found.length === count ? found : undefined
    })
  }

  /** Waits until nothing is at work, `within` milliseconds. */
  async quiet(within = 2000) {
    await until('idle backends', async () => ((await this.busy()).length === 0 ? true : undefined), within)
  }

  /** Waits until the package has no connection left. */
  async deserted(within = 3000) {
    await until('no backends', async () => ((await this.backends()).length === 0 ? true : undefined), within)
  }
}

async function onServer(server: string, statement: string) {
  const client = new pg.Client({ connectionString: server })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
