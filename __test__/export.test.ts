// Exports as runs: progress, ids, tables, options, snapshots.
import { existsSync, readFileSync } from 'node:fs'
import { PassThrough } from 'node:stream'
import { expect, it } from 'vitest'
import type { ExportOptions } from '../index.js'
import { TestDatabase } from './support/database'
import { failure } from './support/errors'
import { all, COUNT, client, database, file } from './support/exported'

it('tells how far it has come', async () => {
  const told: { done: number; phase: string }[] = []
  const through = new PassThrough()
  through.resume()
  await all().export({
    format: 'ndjson',
    to: through,
    onProgress: ({ done, phase, unit, total }) => {
      expect([unit, total]).toEqual(['rows', null])
      told.push({ done, phase })
    }
  })
  expect(told.at(-1)).toEqual({ done: COUNT, phase: 'done' })
  expect(told.length).toBeGreaterThan(2)
})

it('counts as a query, by its id', async () => {
  await all().export({ format: 'csv', to: file('id.csv'), queryId: 'nightly' })
  expect(await client.optimizer.getQueryStats('nightly')).toMatchObject({ status: 'done', rowsReturned: COUNT })
})

it('of matches and with a forced index are refused, not done otherwise', async () => {
  const target = { format: 'ndjson', to: file('refused.ndjson') } as const
  const steps = [{ where: { eventTypes: ['ISSUE.OPENED'] } }]
  const matches = client.query().sequence({ by: ['tags.issueId'], steps })
  expect((await failure(matches.export(target), 'UNSUPPORTED')).path).toBe('sequence')
  const forced = all().hint({ forceIndex: ['events_pkey'] })
  expect((await failure(forced.export(target), 'UNSUPPORTED')).path).toBe('hints.forceIndex')
  expect(existsSync(file('refused.ndjson'))).toBe(false)
})

it('of what is new refuses the token of another database', async () => {
  const other = await TestDatabase.create()
  try {
    const { token } = await (await other.connect()).append([{ type: 'X.Y' }])
    const target = { format: 'ndjson', to: file('since.ndjson') } as const
    const error = await failure(client.query().since(token).export(target), 'INVALID_QUERY')
    expect(error.path).toBe('since')
    const { rows } = await client.query().since(undefined).export(target)
    expect(rows).toBe(COUNT)
    const now = (await all().limit(1).execute()).token
    expect((await client.query().since(now).export(target)).rows).toBe(0)
  } finally {
    await other.drop()
  }
})

it('of other tables', async () => {
  await database.admin.query(`CREATE TABLE teams (name text, size int, since date, ok bool)`)
  await database.admin.query(`INSERT INTO teams VALUES ('a', 3, '2020-02-03', true), ('b', NULL, NULL, NULL)`)
  await client
    .query()
    .from('teams')
    .orderBy('name')
    .export({ format: 'csv', to: file('teams.csv') })
  expect(readFileSync(file('teams.csv'), 'utf8')).toBe('name,size,since,ok\r\na,3,2020-02-03,true\r\nb,,,\r\n')
  await failure(
    client
      .query()
      .from('nope')
      .export({ format: 'csv', to: file('nope.csv') }),
    'UNKNOWN_TABLE'
  )
})

it('wrong options name what is wrong', async () => {
  const wrong = async (options: unknown) => {
    const { code, path } = await failure(client.query().export(options as ExportOptions))
    return `${code} ${path}`
  }
  const to = file('x')
  expect(await wrong(undefined)).toBe('INVALID_QUERY options')
  expect(await wrong({ to })).toBe('INVALID_QUERY format')
  expect(await wrong({ format: 'xml', to })).toBe('INVALID_QUERY format')
  expect(await wrong({ format: 'csv' })).toBe('INVALID_QUERY to')
  expect(await wrong({ format: 'csv', to: {} })).toBe('INVALID_QUERY to')
  expect(await wrong({ format: 'csv', to, compression: 'snappy' })).toBe('INVALID_QUERY compression')
  expect(await wrong({ format: 'arrow', to, compression: 'gzip' })).toBe('INVALID_QUERY compression')
  expect(await wrong({ format: 'json', to, csv: {} })).toBe('INVALID_QUERY csv')
  expect(await wrong({ format: 'csv', to, csv: { delimiter: '""' } })).toBe('INVALID_QUERY csv.delimiter')
  expect(await wrong({ format: 'csv', to, csv: { separator: ';' } })).toBe('INVALID_QUERY csv.separator')
  expect(await wrong({ format: 'csv', to, level: 9 })).toBe('INVALID_QUERY level')
  expect(
    (
      await failure(
        client
          .query()
          .where('nope' as never, 'eq', 1)
          .export({ format: 'csv', to })
      )
    ).code
  ).toBe('UNKNOWN_FIELD')
  expect(existsSync(to)).toBe(false)
})

it('sees the snapshot that it is in', async () => {
  await client.snapshot(async at => {
    const count = async () => (await at.query().count().execute()).rows[0].count
    const before = await count()
    await client.append([{ type: 'LATE.EVENT.SEEN' }])
    const { rows } = await at.query().export({ format: 'ndjson', to: file('snapshot.ndjson') })
    const piped = await at.analytics.pipeline([{ group: { aggregates: [{ fn: 'count' }] } }])
    const exported = await at.analytics.exportPipeline([{ match: {} }], { format: 'csv', to: file('snapshot.csv') })
    expect([rows, piped.rows[0].count, exported.rows]).toEqual([before, before, before])
  })
  expect((await client.query().where('type', 'eq', 'LATE.EVENT.SEEN').execute()).rowCount).toBe(1)
})
