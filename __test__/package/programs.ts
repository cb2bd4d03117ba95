// What each project does with the package: append, query, stream, fail on purpose, close.

/** The body of an async function `use(api, url)` that returns what it saw. */
const USE = `
  const { connect, EventsError } = api
  const events = await connect({ url, migrate: true })
  try {
    const receipt = await events.append([1, 2, 3].map(n => ({
      type: 'PACKAGE.TESTED.SUCCESS',
      timestamp: new Date(Date.UTC(2026, 0, n)),
      tags: { project: 'é ✓ 🦀' },
      data: { n }
    })))
    const mine = events.query().where({ eventIds: receipt.ids })
    const { rows } = await mine.where('data.n', 'gt', 1).orderBy('timestamp').execute()
    const streamed = []
    for await (const event of mine.executeStream()) streamed.push(event.data.n)
    for await (const event of mine.executeStream()) break
    const error = await mine.where('data.n', 'in', []).execute().catch(error => error)
    return {
      ids: receipt.ids.length,
      rows: rows.map(row => [row.type, row.timestamp, row.tags.project, row.data.n]),
      streamed: streamed.sort(),
      error: { ours: error instanceof EventsError, standard: error instanceof Error, code: error.code }
    }
  } finally {
    await events.close()
  }
`

export const SEEN = {
  ids: 3,
  rows: [
    ['PACKAGE.TESTED.SUCCESS', '2026-01-02T00:00:00.000Z', 'é ✓ 🦀', 2],
    ['PACKAGE.TESTED.SUCCESS', '2026-01-03T00:00:00.000Z', 'é ✓ 🦀', 3]
  ],
  streamed: [1, 2, 3],
  error: { ours: true, standard: true, code: 'INVALID_QUERY' }
}

export const esm = `
import { connect, EventsError } from '@tamma/events'
import * as all from '@tamma/events'
import whole from '@tamma/events'

async function use(api, url) {${USE}}
const same = all.connect === connect && whole.connect === connect && whole.EventsError === EventsError
console.log(JSON.stringify({ same, seen: await use({ connect, EventsError }, process.env.URL) }))
`

export const cjs = `
const { connect, EventsError } = require('@tamma/events')

async function use(api, url) {${USE}}
use({ connect, EventsError }, process.env.URL).then(async seen => {
  const same = (await import('@tamma/events')).connect === connect
  console.log(JSON.stringify({ same, seen }))
})
`

/** Four workers at once; one more is terminated in the middle of a query. */
export const workers = `
const { Worker, isMainThread, parentPort } = require('node:worker_threads')
const { once } = require('node:events')
const url = process.env.URL

async function use(api, url) {${USE}}

if (isMainThread) {
  const seen = async () => {
    const worker = new Worker(__filename)
    const [[message], [code]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')])
    return { message, code }
  }
  const terminated = async () => {
    const worker = new Worker(__filename, { env: { ...process.env, ENDLESS: '1' } })
    await once(worker, 'message')
    await new Promise(resolve => setTimeout(resolve, 100))
    return worker.terminate()
  }
  seen().then(async first => {
    const rest = await Promise.all([seen(), seen(), seen(), terminated()])
    console.log(JSON.stringify({ all: [first, ...rest.slice(0, 3)], terminated: rest[3] }))
  })
} else if (process.env.ENDLESS) {
  require('@tamma/events').connect({ url }).then(events => {
    parentPort.postMessage('running')
    return events.sql\`SELECT pg_sleep(600)\`.execute()
  })
} else {
  use(require('@tamma/events'), url).then(seen => parentPort.postMessage(seen))
}
`

/** For Jest, as CommonJS, and for Vitest, as a module. The files of a project run at the same time. */
const testFile = (imports: string) => `
${imports}
async function use(api, url) {${USE}}
test('append, query, stream, close', async () => {
  expect(await use(api, process.env.URL)).toEqual(${JSON.stringify(SEEN)})
}, 30_000)
test('errors know their realm', async () => {
  await expect(api.connect({ url: 'postgres://127.0.0.1:1/none' })).rejects.toThrow(api.EventsError)
  await expect(api.connect({ url: 'postgres://127.0.0.1:1/none' })).rejects.toBeInstanceOf(Error)
}, 30_000)
`
export const jest = testFile(`const api = require('@tamma/events')`)
export const vitest = testFile(`import { expect, test } from 'vitest'\nimport * as api from '@tamma/events'`)

export const typescript = `
import { connect, EventsError, type DomainEvent, type EventsClient, type QueryResult } from '@tamma/events'

interface Schema {
  types: 'CODE.COMMITTED.SUCCESS'
  tags: { repo: string }
  data: { insertions: number }
}

export async function use(url: string): Promise<number> {
  const events: EventsClient<Schema> = await connect<Schema>({ url })
  try {
    const result: QueryResult<{ type: 'CODE.COMMITTED.SUCCESS'; 'data.insertions': number | null }> = await events
      .query()
      .where('tags.repo', 'eq', 'api')
      .select(['type', 'data.insertions'])
      .execute()
    // @ts-expect-error misspelt
    events.query().where('tags.rpo', 'eq', 'api')
    let last: DomainEvent | undefined
    for await (const event of events.query().executeStream()) last = event
    return result.rows.length + (last === undefined ? 0 : 1)
  } catch (error) {
    if (error instanceof EventsError && error.code === 'POOL_TIMEOUT') return -1
    throw error
  } finally {
    await events.close()
  }
}
`
