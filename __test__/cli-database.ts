// A database of its own for one test file, in the server of TAMMA_TEST_DATABASE_URL.
import { randomBytes } from 'node:crypto'
import pg from 'pg'

const server = process.env.TAMMA_TEST_DATABASE_URL

export class TestDatabase {
  private constructor(
    readonly url: string,
    readonly name: string
  ) {}

  static async create() {
    if (!server) throw new Error('TAMMA_TEST_DATABASE_URL must name a server: npm test starts one')
    const name = `cli_${randomBytes(6).toString('hex')}`
    await onServer(`CREATE DATABASE ${name}`)
    const url = new URL(server)
    url.pathname = `/${name}`
    return new TestDatabase(url.href, name)
  }

  async drop() {
    await onServer(`DROP DATABASE IF EXISTS ${this.name} WITH (FORCE)`)
  }

  async query<Row extends pg.QueryResultRow>(text: string, values: unknown[] = []) {
    const client = new pg.Client({ connectionString: this.url })
    await client.connect()
    try {
      return (await client.query<Row>(text, values)).rows
    } finally {
      await client.end()
    }
  }

  /** Connections of others to this database that are at work. */
  async running() {
    return this.query<{ pid: number; query: string }>(
      `SELECT pid, query FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`
    )
  }
}

async function onServer(statement: string) {
  const client = new pg.Client({ connectionString: server })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
