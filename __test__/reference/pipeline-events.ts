// Events for random pipelines, and how their rows are compared.
import type { TestDatabase } from '../support/database'
import type { StoredEvent } from './field'
import type { Random } from './random'

/** Events whose numbers are halves and quarters: a double holds their sums and products exactly. */
export function pipelineEvents(random: Random, count = 80): StoredEvent[] {
  let at = BigInt(Date.UTC(2026, 0, 1)) * 1000n
  return Array.from({ length: count }, (_, i) => {
    if (!random.chance(0.3)) at += BigInt(random.int(90)) * 1_000_000n + BigInt(random.int(3))
    const data: StoredEvent['data'] = {}
    if (random.chance(0.8)) data.n = random.int(30) - 8
    if (random.chance(0.7)) data.d = random.int(40) / 4 - 3
    if (random.chance(0.8)) data.mixed = random.pick([1, 2.5, 'x', 'yy', null, true, [1], { a: 1 }])
    if (random.chance(0.6)) data.t = random.pick(['Alpha', 'beta', '', 'GAMMA'])
    return {
      id: `01900000-0000-7000-8000-${String(i).padStart(12, '0')}`,
      type: random.pick(['A.X', 'A.Y', 'B.X']),
      timestamp: at,
      createdAt: at,
      tags: (random.chance(0.8) ? { k: random.pick(['a', 'b', 'AB']) } : {}) as Record<string, string>,
      metadata: {},
      data
    }
  })
}

export async function store(database: TestDatabase, events: readonly StoredEvent[]) {
  await database.admin.query(
    `INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data)
     SELECT id, type, timestamptz '1970-01-01Z' + us * interval '1 microsecond', tags, '{}', data
     FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::jsonb[], $5::jsonb[]) AS r(id, type, us, tags, data)`,
    [
      events.map(e => e.id),
      events.map(e => e.type),
      events.map(e => String(e.timestamp)),
      events.map(e => JSON.stringify(e.tags)),
      events.map(e => JSON.stringify(e.data))
    ]
  )
}

/** Numbers by their leading digits. */
const key = (row: unknown) =>
  JSON.stringify(row, (_, value) =>
    typeof value === 'number'
      ? Number(value.toPrecision(6))
      : value !== null && typeof value === 'object' && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).sort())
        : value
  )

/** Rows in an order of their own where they come in none. */
export const arranged = (rows: unknown[], ordered: boolean) =>
  ordered
    ? rows
    : rows
        .map(row => [key(row), row] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([, row]) => row)
