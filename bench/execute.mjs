// A large result in one piece.

import { loadPackage } from './lib/database.mjs'
import { against, fastest, interleave, OURS, perSecond } from './lib/measure.mjs'
import { assertSame, COLUMNS, Digest, pgPool, postgresJs, TIMES } from './lib/peers.mjs'

export const about = 'whole events, all columns, in one result: rows/s'
export const datasets = ({ quick }) => (quick ? [2000] : [100_000])

const STATEMENT = `select ${COLUMNS} from events`

const PEERS = {
  pg: (url, times) => {
    const pool = pgPool(url, times)
    return { all: async () => (await pool.query({ name: 'all', text: STATEMENT })).rows, close: () => pool.end() }
  },
  'postgres.js': (url, times) => {
    const sql = postgresJs(url, times)
    return { all: () => sql.unsafe(STATEMENT, [], { prepare: true }), close: () => sql.end() }
  }
}

export async function run(context) {
  const [rows] = datasets(context)
  const url = context.dataset(rows)
  const client = await loadPackage().connect({ url })
  const opened = { [OURS]: { all: async () => (await client.query().execute()).rows, close: () => client.close() } }
  const settings = {}
  try {
    for (const name of Object.keys(PEERS)) {
      settings[name] = await fastestTimes(name, url)
      opened[name] = PEERS[name](url, settings[name])
    }
    const digests = {}
    for (const [name, { all }] of Object.entries(opened)) {
      digests[name] = new Digest()
      for (const row of await all()) digests[name].add(row)
    }
    assertSame(digests)

    const contenders = Object.fromEntries(
      Object.entries(opened).map(([name, { all }]) => [name, () => perSecond(async () => (await all()).length)])
    )
    const rounds = context.rounds(9)
    const figures = await interleave(contenders, { rounds })
    const { spread, ...result } = against(figures, { higherIsBetter: true, peers: Object.keys(PEERS) })
    const texts = Object.fromEntries(Object.entries(settings).map(([name, times]) => [name, `timestamps as ${times}`]))
    context.report({
      case: `${rows.toLocaleString('en-US')} rows`,
      unit: 'rows/s',
      higherIsBetter: true,
      ...result,
      ...(context.quick ? {} : { atLeast: 1.6 }),
      detail: { rounds, spread, settings: texts }
    })
  } finally {
    for (const { close } of Object.values(opened)) await close()
  }
}

async function fastestTimes(name, url) {
  const opened = TIMES.map(times => PEERS[name](url, times))
  try {
    const candidates = opened.map(({ all }, i) => [TIMES[i], () => perSecond(async () => (await all()).length)])
    return await fastest(Object.fromEntries(candidates))
  } finally {
    for (const { close } of opened) await close()
  }
}
