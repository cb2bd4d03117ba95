// The databases of a run. Nothing is written to the database that the url names: each data set, and each empty log
// that a write bench fills, is a database of its own beside it, made from one migrated template, so that ours and the
// peers' tables have the same columns, defaults, triggers and indexes. They are dropped at the end.

import { createRequire } from 'node:module'
import pg from 'pg'

const require = createRequire(import.meta.url)
export const ENTRY = require.resolve('../../index.js')

/** The package under test, loaded by its own entry. */
export const loadPackage = () => require(ENTRY)

const quoted = name => `"${name.replaceAll('"', '""')}"`

export function urlOf(url, database) {
  const changed = new URL(url)
  changed.pathname = `/${encodeURIComponent(database)}`
  return changed.href
}

export class Databases {
  /** @param {string} url a database this role may connect to, with the right to create others */
  constructor(url, prefix) {
    this.url = url
    this.prefix = prefix
    this.count = 0
  }

  async #admin(statement, values) {
    const client = new pg.Client({ connectionString: this.url })
    await client.connect()
    try {
      return await client.query(statement, values)
    } finally {
      await client.end()
    }
  }

  get #template() {
    return `${this.prefix}_empty`
  }

  async createTemplate() {
    await this.#admin(`create database ${quoted(this.#template)}`)
    const client = await loadPackage().connect({ url: urlOf(this.url, this.#template), migrate: true })
    await client.close()
  }

  /** A migrated database without events; its url. */
  async fresh(name = `${process.pid}_${++this.count}`) {
    const database = `${this.prefix}_${name}`
    await this.#admin(`create database ${quoted(database)} template ${quoted(this.#template)}`)
    return urlOf(this.url, database)
  }

  /** A migrated database with these events, vacuumed and analysed, so that no reader pays for hint bits; its url. */
  async filled(name, events) {
    const url = await this.fresh(name)
    const client = await loadPackage().connect({ url })
    try {
      await client.importEvents(events)
    } finally {
      await client.close()
    }
    const session = new pg.Client({ connectionString: url })
    await session.connect()
    try {
      await session.query('vacuum (analyze, freeze) events')
      await session.query('checkpoint')
    } finally {
      await session.end()
    }
    return url
  }

  /** Another database with the same content; nobody may be connected to that one. Its url. */
  async copy(url) {
    const database = `${this.prefix}_${process.pid}_${++this.count}`
    const from = decodeURIComponent(new URL(url).pathname.slice(1))
    await this.#admin(`create database ${quoted(database)} template ${quoted(from)}`)
    return urlOf(this.url, database)
  }

  async drop(url) {
    await this.#admin(
      `drop database if exists ${quoted(decodeURIComponent(new URL(url).pathname.slice(1)))} with (force)`
    )
  }

  async dropAll() {
    const found = await this.#admin('select datname from pg_database where starts_with(datname, $1)', [
      `${this.prefix}_`
    ])
    for (const { datname } of found.rows) await this.#admin(`drop database if exists ${quoted(datname)} with (force)`)
  }
}
