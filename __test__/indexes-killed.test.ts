// A maintainer that is killed at any moment: what stands under a name is whole, and whoever comes next finds no lock and
// leaves no half-built index. TAMMA_KILLS sets how often; a few are in every run.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventsClient } from '../index.js'
import { TestDatabase } from './support/database'
import { until } from './support/wait'

const KILLS = Number(process.env.TAMMA_KILLS ?? 12)
const SEED = Number(process.env.TAMMA_SEED ?? Date.now() % 1_000_000)

let database: TestDatabase
let client: EventsClient
beforeAll(async () => {
  database = await TestDatabase.create({ events: 5000 })
  client = await database.connect()
  await client.indexes.createIndex({
    name: 'recent',
    table: 'events',
    type: 'btree',
    columns: [{ field: 'timestamp', direction: 'desc' }],
    rolling: { field: 'timestamp', keep: '400 days' }
  })
})
afterAll(() => database?.drop())

const server = async <T = string>(sql: string) =>
  (await database.admin.query({ text: sql, rowMode: 'array' })).rows.map(row => row[0] as T)
/** Mulberry32: the same points for the same seed. */
function random(seed: number) {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

describe('a maintainer that is killed', () => {
  it(`leaves nothing half-done, at ${KILLS} moments (seed ${SEED})`, { timeout: 60_000 + KILLS * 15_000 }, async () => {
    const next = random(SEED)
    for (let kill = 0; kill < KILLS; kill++) {
      const child = spawn(process.execPath, [path.join(__dirname, 'indexes-child.cjs'), database.url], {
        stdio: ['ignore', 'pipe', 'inherit']
      })
      await once(child.stdout, 'data')
      await sleep(next() * 700)
      child.kill('SIGKILL')
      await once(child, 'close')
      // Under its name the rolling index serves, whatever was going on.
      expect(await server<boolean>(`SELECT indisvalid FROM pg_index WHERE indexrelid = 'recent'::regclass`)).toEqual([
        true
      ])
      // The next that builds sweeps out what is left.
      await client.indexes.createIndex({ name: 'probe', table: 'events', type: 'hash', columns: [{ field: 'type' }] })
      await client.indexes.dropIndex('probe')
      expect(
        await server(`SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid OR NOT indisready
          OR indexrelid::regclass::text ~ 'tamma~|_cc(new|old)'`)
      ).toEqual([])
      expect(await server<boolean>(`SELECT indisvalid FROM pg_index WHERE indexrelid = 'recent'::regclass`)).toEqual([
        true
      ])
    }
    await until('no lock to be held', async () =>
      (await server(`SELECT pid::text FROM pg_locks WHERE locktype = 'advisory'`)).length === 0 ? true : undefined
    )
  })

  it('and its statements end with it, without anybody who builds next', { timeout: 40_000 }, async () => {
    const child = spawn(process.execPath, [path.join(__dirname, 'indexes-child.cjs'), database.url], {
      stdio: ['ignore', 'pipe', 'inherit']
    })
    await once(child.stdout, 'data')
    child.kill('SIGKILL')
    await once(child, 'close')
    const left = () =>
      server(
        `SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tamma-events indexes'`
      )
    await until('no session of it', async () => ((await left()).length === 0 ? true : undefined), 30_000)
  })
})
