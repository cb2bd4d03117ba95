// The real event log, imported and counted: the same numbers as a few lines of plain JavaScript take from the file.
// Needs the folder of TAMMA_SHARED_DATA, which is no part of this repository.
import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { createGunzip } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { DomainEvent, EventFilter, EventsClient } from '../index.js'
import { TestDatabase } from './support/database'

const folder = process.env.TAMMA_SHARED_DATA
const path = join(folder ?? '', 'dev-events.ndjson.gz')

describe.skipIf(!folder)('dev-events (skipped unless TAMMA_SHARED_DATA names its folder)', () => {
  let database: TestDatabase
  let client: EventsClient
  const events: DomainEvent[] = []
  beforeAll(async () => {
    database = await TestDatabase.create()
    client = await database.connect()
    for await (const line of createInterface({ input: createReadStream(path).pipe(createGunzip()) }))
      events.push(JSON.parse(line))
  })
  afterAll(() => database?.drop())

  it('imports whole, and once', async () => {
    const whole = { imported: events.length, duplicates: 0, rejected: [], rejectedCount: 0 }
    expect(await client.importEvents(path)).toMatchObject(whole)
    expect(await client.importEvents(path)).toMatchObject({ ...whole, imported: 0, duplicates: events.length })
  }, 120_000)

  const count = async (filter: EventFilter) => {
    let counted = 0
    for await (const batch of client.query().where(filter).select(['id']).executeBatches({ batchSize: 10_000 }))
      counted += batch.length
    return counted
  }
  const grouped = (key: (event: DomainEvent) => string | undefined) => {
    const groups = new Map<string, number>()
    for (const event of events) {
      const value = key(event)
      if (value !== undefined) groups.set(value, (groups.get(value) ?? 0) + 1)
    }
    return groups
  }

  it('counts by type', async () => {
    for (const [type, expected] of grouped(event => event.type))
      expect(await count({ eventTypes: [type] }), type).toBe(expected)
    for (const [prefix, expected] of grouped(event => `${event.type.split('.')[0]}.*`))
      expect(await count({ eventTypes: [prefix] }), prefix).toBe(expected)
  })

  it('counts by tag', async () => {
    for (const [repo, expected] of grouped(event => event.tags.repo))
      expect(await count({ tags: { repo } }), repo).toBe(expected)
    const users = [...grouped(event => event.tags.userId)].filter((_, i) => i % 100 === 0).slice(0, 20)
    for (const [user, expected] of users) expect(await count({ userIds: [user] }), user).toBe(expected)
    const total = [...grouped(event => event.tags.userId).values()].reduce((a, b) => a + b, 0)
    expect(await count({ where: { field: 'tags.userId', op: 'exists' } })).toBe(total)
  })

  it('counts by time range', async () => {
    const times = events.map(event => event.timestamp).sort()
    for (const [from, to] of [
      [0.1, 0.2],
      [0.5, 0.50001],
      [0.9, 1]
    ]) {
      const startTime = times[Math.floor(from * (times.length - 1))]
      const endTime = times[Math.floor(to * (times.length - 1))]
      const expected = events.filter(
        ({ timestamp: at }) => Date.parse(at) >= Date.parse(startTime) && Date.parse(at) < Date.parse(endTime)
      )
      expect(await count({ startTime, endTime }), `${startTime} to ${endTime}`).toBe(expected.length)
    }
  })

  it('counts by number', async () => {
    const insertions = (event: DomainEvent) => event.data.insertions
    for (const limit of [0, 1, 10, 100, 12_345]) {
      const more = events.filter(
        event => typeof insertions(event) === 'number' && (insertions(event) as number) > limit
      )
      expect(await count({ where: { field: 'data.insertions', op: 'gt', value: limit } })).toBe(more.length)
      const same = events.filter(event => insertions(event) === limit)
      expect(await count({ where: { field: 'data.insertions', op: 'eq', value: limit } })).toBe(same.length)
      const rest = events.filter(
        event => typeof insertions(event) === 'number' && !((insertions(event) as number) > limit)
      )
      expect(await count({ where: { not: { field: 'data.insertions', op: 'gt', value: limit } } })).toBe(rest.length)
    }
  })

  it('comes back as it went in', async () => {
    const given = new Map(events.map(event => [event.id, event]))
    for await (const event of client
      .query()
      .where({ eventTypes: ['PR.*'] })
      .executeStream()) {
      const { timestamp, ...expected } = given.get(event.id)!
      expect(event).toEqual({ ...expected, timestamp: new Date(timestamp).toISOString() })
    }
  })
})
