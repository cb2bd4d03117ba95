// A database of random events, and the same events in memory.
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { type ConnectOptions, connect, type EventsClient } from '../../index.js'
import { C_LOCALE, type Locale, UNICODE_LOCALE } from './condition'
import { jsonText, randomEvents } from './events'
import { isoText, type StoredEvent } from './field'
import { Random } from './random'

export interface DatabaseOptions {
  /** What stands behind CREATE DATABASE. */
  create?: string
  /** Settings of every session, as SQL. */
  settings?: Readonly<Record<string, string>>
  client?: ConnectOptions
}

/** A collation that orders text otherwise than by code point: upper and lower case side by side, accents beside letters. */
export const ENGLISH: DatabaseOptions = {
  create: "TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en'"
}

/** What a database may be set to that changes how SQL text, times and plans are read. */
export const ODD_SETTINGS: DatabaseOptions = {
  settings: {
    timezone: "'Pacific/Chatham'",
    datestyle: "'SQL, DMY'",
    intervalstyle: "'sql_standard'",
    standard_conforming_strings: 'off',
    backslash_quote: 'on',
    transform_null_equals: 'on',
    array_nulls: 'off',
    extra_float_digits: '-15',
    enable_seqscan: 'off',
    plan_cache_mode: "'force_generic_plan'"
  }
}

const INSERT = `
  INSERT INTO events (event_id, event_type, "timestamp", created_at, tags, metadata, data)
  SELECT * FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::jsonb[], $6::jsonb[], $7::jsonb[])`

export class Subject {
  private constructor(
    readonly events: readonly StoredEvent[],
    readonly client: EventsClient,
    readonly locale: Locale,
    readonly url: string,
    private readonly name: string
  ) {}

  static random(seed: number, count: number, database?: DatabaseOptions): Promise<Subject> {
    return Subject.of(randomEvents(new Random(seed), count), database)
  }

  /** These events in a database of their own. */
  static async of(
    events: readonly StoredEvent[],
    { create = '', settings = {}, client: options }: DatabaseOptions = {}
  ) {
    const name = `reference_${randomBytes(6).toString('hex')}`
    await onServer(serverUrl(), async server => {
      await server.query(`CREATE DATABASE ${name} ${create}`)
      for (const [key, value] of Object.entries(settings))
        await server.query(`ALTER DATABASE ${name} SET ${key} = ${value}`)
    })
    const url = new URL(serverUrl())
    url.pathname = `/${name}`
    const client = await connect({ url: url.href, bigint: 'bigint', migrate: true, ...options })
    const folds = await onServer(url.href, async server => {
      await insert(server, events)
      const { rows } = await server.query<{ folds: boolean }>("SELECT 'É' ILIKE 'é' AS folds")
      return rows[0].folds
    })
    return new Subject(events, client, folds ? UNICODE_LOCALE : C_LOCALE, url.href, name)
  }

  async drop() {
    await this.client.close()
    await onServer(serverUrl(), server => server.query(`DROP DATABASE ${this.name} WITH (FORCE)`))
  }
}

function serverUrl(): string {
  const url = process.env.TAMMA_TEST_DATABASE_URL
  if (!url) throw new Error('TAMMA_TEST_DATABASE_URL must name a server: npm test starts one')
  return url
}

async function onServer<T>(url: string, use: (server: pg.Client) => Promise<T>): Promise<T> {
  const server = new pg.Client({ connectionString: url })
  await server.connect()
  try {
    return await use(server)
  } finally {
    await server.end()
  }
}

/** Not by the package: what it reads must not depend on how it writes. */
async function insert(server: pg.Client, events: readonly StoredEvent[]) {
  const random = new Random(1)
  const column = (value: (event: StoredEvent) => string) => events.map(value)
  await server.query(INSERT, [
    column(event => event.id),
    column(event => event.type),
    column(event => isoText(event.timestamp)),
    column(event => isoText(event.createdAt)),
    column(event => jsonText(event.tags, random)),
    column(event => jsonText(event.metadata, random)),
    column(event => jsonText(event.data, random))
  ])
  await server.query('ANALYZE events')
}
