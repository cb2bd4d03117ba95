// Where exports go, and what is left of one that fails.
import { execFileSync } from 'node:child_process'
import { createWriteStream, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough, Writable } from 'node:stream'
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet'
import { describe, expect, it } from 'vitest'
import { eventAt } from './support/database'
import { failure } from './support/errors'
import { all, COUNT, client, database, file, folder } from './support/exported'
import { until } from './support/wait'

/** A connection whose statement was stopped comes back once it is in step with the server. */
const returned = () =>
  until('the connection is back', async () => (client.monitor.getPool().inUse === 0 ? true : undefined))

describe('streams', () => {
  it('of Node.js get the same bytes, with backpressure', async () => {
    const { bytes } = await all().export({ format: 'ndjson', to: file('all.ndjson') })
    const chunks: Buffer[] = []
    let waiting = 0
    const slow = new Writable({
      highWaterMark: 1,
      write(chunk, _encoding, done) {
        expect(++waiting).toBe(1)
        chunks.push(chunk)
        setTimeout(() => {
          waiting--
          done()
        }, 5)
      }
    })
    const report = await all().export({ format: 'ndjson', to: slow })
    expect([report.rows, report.bytes]).toEqual([COUNT, bytes])
    expect(slow.writableFinished).toBe(true)
    expect(Buffer.concat(chunks).equals(readFileSync(file('all.ndjson')))).toBe(true)
  })

  it('of the web too', async () => {
    const chunks: Uint8Array[] = []
    let closed = false
    const to = new WritableStream<Uint8Array>({
      write: chunk => void chunks.push(chunk),
      close: () => {
        closed = true
      }
    })
    await all().export({ format: 'parquet', to })
    expect(closed).toBe(true)
    writeFileSync(file('web.parquet'), Buffer.concat(chunks))
    expect((await parquetReadObjects({ file: await asyncBufferFromFile(file('web.parquet')) })).length).toBe(COUNT)
  })

  it('that fail end the export, and the statement', async () => {
    if (existsSync('/dev/full')) {
      const error = await failure(all().export({ format: 'csv', to: createWriteStream('/dev/full') }), 'EXPORT_FAILED')
      expect((error.cause as NodeJS.ErrnoException).code).toBe('ENOSPC')
    }
    const closed = new PassThrough()
    closed.destroy()
    await failure(all().export({ format: 'csv', to: closed }), 'EXPORT_FAILED')
    const refusing = new WritableStream({ write: () => Promise.reject(new Error('no')) })
    await failure(all().export({ format: 'csv', to: refusing }), 'EXPORT_FAILED')
    await database.quiet()
    await returned()
  })

  it('that are stopped by a signal are destroyed', async () => {
    const abort = new AbortController()
    const stuck = new Writable({ highWaterMark: 1, write: () => abort.abort(new Error('enough')) })
    const error = await failure(all().export({ format: 'ndjson', to: stuck, signal: abort.signal }), 'QUERY_CANCELLED')
    expect([error.name, (error.cause as Error).message]).toEqual(['AbortError', 'enough'])
    expect(stuck.destroyed).toBe(true)
    await database.quiet()
  })
})

describe('files', () => {
  const left = (where: string) => readdirSync(where)

  it('are there whole or not at all', async () => {
    const where = join(folder, 'whole')
    mkdirSync(where)
    const to = join(where, 'out.ndjson')
    writeFileSync(to, 'before')
    const abort = new AbortController()
    // Slow enough to be stopped in the middle.
    const slow = client
      .query()
      .where({ field: 'data.n', op: 'gte', value: 0 })
      .join('events', { alias: 'o', on: { 'tags.issueId': 'tags.issueId' } })
      .join('events', { alias: 'p', on: { 'tags.issueId': 'tags.issueId' } })
      .select({ a: 'id', b: 'o.id', c: 'p.id' })
    const running = slow.export({
      format: 'ndjson',
      to,
      signal: abort.signal,
      onProgress: ({ done }) => done > 0 && abort.abort()
    })
    expect((await failure(running, 'QUERY_CANCELLED')).name).toBe('AbortError')
    expect(left(where)).toEqual(['out.ndjson'])
    expect(readFileSync(to, 'utf8')).toBe('before')
    await database.quiet(10_000)
    await returned()
    await client.query().limit(1).export({ format: 'ndjson', to })
    expect(JSON.parse(readFileSync(to, 'utf8'))).toEqual(eventAt(0))
    await failure(slow.export({ format: 'csv', to, timeout: 150 }), 'QUERY_TIMEOUT')
    await until('the temporary file is gone', async () => (left(where).length === 1 ? true : undefined))
  })

  it('on a disk that fills up leave nothing behind', async context => {
    const where = join(folder, 'small')
    mkdirSync(where)
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', where], { stdio: 'ignore' })
    } catch {
      return context.skip()
    }
    try {
      for (const format of ['csv', 'parquet', 'arrow'] as const) {
        const error = await failure(
          client.query().export({ format, to: join(where, 'out'), compression: 'none' }),
          'EXPORT_FAILED'
        )
        expect(error.message).toContain('No space left')
        expect(left(where)).toEqual([])
      }
      await database.quiet()
      await returned()
    } finally {
      execFileSync('umount', [where])
    }
  })

  it('that cannot be made cost no query', async () => {
    await failure(client.query().export({ format: 'csv', to: join(folder, 'no', 'such', 'folder') }), 'EXPORT_FAILED')
    await failure(client.query().export({ format: 'csv', to: folder }), 'EXPORT_FAILED')
    if (existsSync('/dev/null'))
      await failure(client.query().export({ format: 'csv', to: '/dev/null' }), 'EXPORT_FAILED')
  })
})
