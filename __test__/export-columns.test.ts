// Exports as columns, read back by readers that have nothing to do with this package.
import { readFileSync } from 'node:fs'
import { tableFromIPC } from 'apache-arrow'
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet'
import { describe, expect, it } from 'vitest'
import type { DomainEvent } from '../index.js'
import { eventsUpTo } from './support/database'
import { duck } from './support/duck'
import { all, COUNT, client, file } from './support/exported'

const events = eventsUpTo(COUNT)
/** Rows of typed formats have JSON as text, and times as their readers have them. */
const event = (row: Record<string, unknown>): DomainEvent => ({
  id: row.id as string,
  type: row.type as string,
  timestamp: iso(row.timestamp),
  tags: JSON.parse(row.tags as string),
  metadata: JSON.parse(row.metadata as string),
  data: JSON.parse(row.data as string)
})
/** Microseconds since 1970, or a Date with milliseconds. */
function iso(value: unknown) {
  const micros = typeof value === 'bigint' ? value : BigInt((value as Date).getTime()) * 1000n
  const text = new Date(Number(micros / 1000n)).toISOString()
  return micros % 1000n === 0n ? text : text.replace('Z', `${String(micros % 1000n).padStart(3, '0')}Z`)
}
const inMillis = ({ timestamp, ...rest }: DomainEvent) => ({ ...rest, timestamp: new Date(timestamp).toISOString() })

describe('Parquet', () => {
  it('is read back by hyparquet and by DuckDB', async () => {
    for (const compression of ['snappy', 'none'] as const) {
      await all().export({ format: 'parquet', to: file('all.parquet'), compression })
      const buffer = await asyncBufferFromFile(file('all.parquet'))
      const rows = await parquetReadObjects({ file: buffer })
      // It has times as Dates, which end at milliseconds.
      expect(rows.map(row => inMillis(event(row)))).toEqual(events.map(inMillis))
      expect(Number((await parquetMetadataAsync(buffer)).num_rows)).toBe(COUNT)
    }
    for (const compression of ['gzip', 'zstd', 'snappy'] as const) {
      await all().export({ format: 'parquet', to: file(`all-${compression}.parquet`), compression })
      const rows = await duck(
        `SELECT * REPLACE (epoch_us("timestamp") AS "timestamp") FROM read_parquet('${file(`all-${compression}.parquet`)}')`
      )
      expect(rows.map(event)).toEqual(events)
    }
    const [{ t }] = await duck(`SELECT typeof("timestamp") AS t FROM read_parquet('${file('all.parquet')}') LIMIT 1`)
    expect(t).toBe('TIMESTAMP WITH TIME ZONE')
  })

  it('keeps the types of computed columns', async () => {
    const q = client
      .query()
      .groupBy(['type'])
      .count()
      .sum('data.half', 'halves')
      .avg('data.n', 'mean')
      .min('timestamp', 'first')
      .orderBy('type')
    const { rows } = await q.execute()
    const { columns } = await q.export({ format: 'parquet', to: file('groups.parquet') })
    expect(columns.map(c => c.type)).toEqual(['string', 'int64', 'float64', 'float64', 'timestamp'])
    const found = await duck(
      `SELECT type, count, halves, mean, epoch_us(first) AS first FROM read_parquet('${file('groups.parquet')}')`
    )
    expect(found.map(row => ({ ...row, count: Number(row.count), first: iso(row.first) }))).toEqual(rows)
  })
})

describe('Arrow', () => {
  it('is read back by apache-arrow', async () => {
    await all().export({ format: 'arrow', to: file('all.arrow') })
    const table = tableFromIPC(readFileSync(file('all.arrow')))
    expect(String(table.schema.fields[2].type)).toBe('Timestamp<MICROSECOND, UTC>')
    const stamps = table.getChild('timestamp')?.data.flatMap(chunk => Array.from(chunk.values as BigInt64Array)) ?? []
    const rows = table.toArray().map((row, i) => event({ ...row.toJSON(), timestamp: stamps[i] }))
    expect(rows).toEqual(events)
  })
})
