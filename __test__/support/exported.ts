// What the tests of exports share: 3,000 events, a client, and a folder that goes with the test file.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import type { EventsClient } from '../../index.js'
import { TestDatabase } from './database'

export const COUNT = 3000
export let database: TestDatabase
export let client: EventsClient
export const folder = mkdtempSync(join(tmpdir(), 'tamma-export-'))

beforeAll(async () => {
  database = await TestDatabase.create({ events: COUNT })
  client = await database.connect()
})
afterAll(async () => {
  await database?.drop()
  rmSync(folder, { recursive: true, force: true })
})

export const all = () => client.query().orderBy('timestamp').orderBy('id')
export const file = (name: string) => join(folder, name)
