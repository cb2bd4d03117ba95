// An answer from memory, beside a driver that asks each time and a Redis that is asked and parsed each time; and a
// strict one, beside the shortest round trip that there is.

import { loadPackage } from './lib/database.mjs'
import { against, interleave, OURS, perSecond } from './lib/measure.mjs'
import { COLUMNS, pgPool, TIMES } from './lib/peers.mjs'

export const about = 'the latest 20 events from the cache: answers/s, one after the other'
export const datasets = ({ quick }) => (quick ? [2000] : [100_000])

const LATEST = `select ${COLUMNS} from events order by "timestamp" desc, event_id limit 20`

/** ioredis and a server of REDIS_URL, where there are both. */
async function redis(value) {
  if (!process.env.REDIS_URL) return undefined
  const found = await import('ioredis').catch(() => undefined)
  if (found === undefined) return undefined
  const client = new found.default(process.env.REDIS_URL)
  await client.set('tamma_bench', value)
  return client
}

export async function run(context) {
  const [rows] = datasets(context)
  const url = context.dataset(rows)
  const client = await loadPackage().connect({ url })
  const pool = pgPool(url, TIMES[0])
  const latest = client.query().orderBy('timestamp', 'desc').limit(20)
  const bounded = latest.cache('1 hour')
  const strict = latest.cache({ consistency: 'strict' })
  const store = await redis(JSON.stringify((await latest.execute()).rows))
  const count = context.quick ? 200 : 5000
  const each = work => () =>
    perSecond(async () => {
      for (let i = 0; i < count; i++) await work()
      return count
    })
  try {
    if ((await bounded.execute()).rows.length !== 20) throw new Error('expected 20 events')
    const rounds = context.rounds(9)
    const peers = ['pg', ...(store ? ['ioredis'] : [])]
    const figures = await interleave(
      {
        [OURS]: each(() => bounded.execute()),
        pg: each(() => pool.query({ name: 'latest', text: LATEST })),
        ...(store ? { ioredis: each(async () => JSON.parse(await store.get('tamma_bench'))) } : {})
      },
      { rounds }
    )
    for (const peer of peers) {
      const { spread, ...result } = against(figures, { higherIsBetter: true, peers: [peer] })
      const atLeast = peer === 'pg' ? 6 : 4
      const shown = { case: `bounded, beside ${peer}`, unit: 'answers/s', higherIsBetter: true, ...result }
      context.report({ ...shown, ...(context.quick ? {} : { atLeast }), detail: { rounds, spread } })
    }
    const checked = await interleave(
      {
        [OURS]: each(() => strict.execute()),
        'SELECT 1': each(() => client.sql`SELECT 1 AS one`.execute()),
        'pg SELECT 1': each(() => pool.query({ name: 'one', text: 'SELECT 1' }))
      },
      { rounds }
    )
    const { spread, ...result } = against(checked, { higherIsBetter: true, peers: ['pg SELECT 1'] })
    context.report({
      case: 'strict, nothing new, beside the round trip of SELECT 1',
      unit: 'answers/s',
      higherIsBetter: true,
      ...result,
      ...(context.quick ? {} : { atLeast: 1 / 1.3 }),
      detail: { rounds, spread }
    })
  } finally {
    await client.close()
    await pool.end()
    store?.disconnect()
  }
}
