// `tamma-events cache`, the cache in the report, and in what monitoring knows of each statement.
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { EventsClient } from '../index.js'
import { run } from './cli-process'
import { TestDatabase } from './support/database'
import { until } from './support/wait'

let database: TestDatabase
let client: EventsClient
beforeAll(async () => {
  database = await TestDatabase.create({ events: 300 })
  client = await database.connect({ cache: { persistent: true } })
  for (let i = 0; i < 4; i++) await ask(3, 'dashboard:a')
  await ask(4, 'report')
  await until('both', async () =>
    (await database.admin.query('SELECT FROM query_cache')).rowCount === 2 ? true : undefined
  )
})
afterAll(() => database?.drop())
const ask = async (limit: number, tag: string) =>
  (
    await client
      .query()
      .orderBy('timestamp')
      .limit(limit)
      .cache({ consistency: 'bounded', maxStaleness: '1 hour', tags: [tag] })
      .execute()
  ).cache
const cli = (...args: string[]) => run(['cache', '--url', database.url, ...args])

test('shows what is kept', async () => {
  const { code, stdout, stderr } = await cli()
  expect([code, stderr]).toEqual([0, ''])
  expect(stdout).toMatch(/^2 answers, .*, taken up 0 times, 0 expired\n/)
  expect(stdout).toMatch(/dashboard:a/)
  const told = JSON.parse((await cli('-f', 'json', '--limit', '1')).stdout)
  expect(told).toMatchObject({ entries: 2, hits: 0, expired: 0 })
  expect(told.top).toHaveLength(1)
  expect(Object.keys(told.top[0])).toEqual([
    'key',
    'rows',
    'bytes',
    'cost',
    'hits',
    'saved',
    'tags',
    'idle',
    'expired',
    'query'
  ])
})

test('warms, forgets in all processes, and prunes', async () => {
  const warmed = await cli('--warm')
  expect([warmed.code, warmed.stderr]).toEqual([0, 'warmed 2 answers: 2 true, 0 brought up to date, 0 read anew\n'])
  expect([await ask(3, 'dashboard:a'), await ask(4, 'report')]).toEqual(['memory', 'memory'])
  const forgotten = await cli('--invalidate', 'dashboard:*')
  expect([forgotten.code, forgotten.stderr]).toEqual([0, 'forgotten, here and in the other processes\n'])
  await until('word of it', async () => ((await client.cache.getCacheStats()).peers.received === 1 ? true : undefined))
  expect([await ask(3, 'dashboard:a'), await ask(4, 'report')]).toEqual(['miss', 'memory'])
  await database.admin.query("UPDATE query_cache SET expires_at = now() - interval '1 s'")
  expect((await cli('--prune')).stderr).toBe('removed what had expired\n')
  expect((await cli('--all')).code).toBe(0)
  expect(JSON.parse((await cli('-f', 'json')).stdout)).toMatchObject({ entries: 0, top: [] })
})

test.each([
  [['--all', '--warm'], '--all and --warm exclude each other'],
  [['--key', ''], '--key needs a value'],
  [['--format', 'x'], '--format is one of table, json'],
  [['--limit', 'x'], '--limit is a whole number']
])('refuses %j', async (args, message) => {
  const { code, stderr } = await cli(...args)
  expect(code).toBe(2)
  expect(stderr).toContain(message)
})

test('the report has a section, and statements their hit rate', async () => {
  const own = await database.connect()
  expect(await own.monitor.report()).toContain('No query has asked for it.')
  const query = () => own.query().groupBy(['type']).count().cache({ consistency: 'strict' }).execute()
  for (let i = 0; i < 4; i++) await query()
  await own.query().limit(1).execute()
  const html = await own.monitor.report()
  expect(html).toContain('<h2>Cache</h2>')
  expect(html).toContain('<b>75 %</b><span>from the cache</span>')
  expect(html).toContain('Hears what other processes forget.')
  const rates = (await own.monitor.getFingerprints()).map(one => [one.calls, one.cacheHitRate])
  expect(rates).toContainEqual([4, 0.75])
  expect(rates).toContainEqual([1, 0])
})
