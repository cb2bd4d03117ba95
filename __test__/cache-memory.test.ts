// Many times its size goes through the cache: `scripts/cache-memory.mjs` does the same with 2 GB.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { TestDatabase } from './support/database'

let database: TestDatabase
beforeAll(async () => {
  database = await TestDatabase.create()
})
afterAll(() => database?.drop())

it('takes no more memory than it may', async () => {
  const script = join(import.meta.dirname, '../scripts/cache-memory.mjs')
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--expose-gc', script, '--through', '96', '--limit', '16'],
    { env: { ...process.env, TAMMA_TEST_DATABASE_URL: database.url } }
  )
  const { accounted, growth, entries, evictions } = JSON.parse(stdout)
  expect(accounted).toBeGreaterThan(12)
  expect(accounted).toBeLessThanOrEqual(16)
  expect(growth).toBeLessThan(60)
  expect(evictions).toBeGreaterThan(3 * entries)
})
