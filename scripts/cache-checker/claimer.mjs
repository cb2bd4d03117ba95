// A process of writers that append under conditions: each reads the last number of a series, by way of the cache, and
// appends the next one, unless somebody else has meanwhile. No number of a series may ever be there twice.
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, generator, opened, PHASE } from './common.mjs'

const SERIES = 6
const filterOf = series => ({ eventTypes: ['CLAIM.NEXT.X'], tags: { series } })

/** Appends until it is told to stop, and then looks at what has come of it. */
export async function claim({ url, seed, lanes, quiet }) {
  const random = generator(seed)
  const told = { claimed: 0, conflicts: 0, unavailable: 0, failures: [] }
  let stopped = false
  process.on('message', () => {
    stopped = true
  })
  const client = await connect({ url, pool: { max: 6, acquireTimeout: 60_000 } })
  const lane = async () => {
    while (!stopped) {
      await sleep(20 + random.below(200))
      if ((Date.now() % PHASE) / PHASE < quiet) continue
      const series = `s${random.below(SERIES)}`
      const last = client.query().where(filterOf(series)).max('data.n', 'n').cache({ consistency: 'strict' })
      try {
        const { rows, token } = await last.execute()
        const event = { type: 'CLAIM.NEXT.X', tags: { series }, data: { n: (rows[0].n ?? 0) + 1 } }
        await client.append([event], { failIf: filterOf(series), after: token })
        told.claimed++
      } catch (error) {
        if (error.code === 'APPEND_CONFLICT') told.conflicts++
        else {
          // The server was away. Whether the event was stored is no matter: whoever reads next sees.
          told.unavailable++
          await sleep(30)
        }
      }
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane))
  await client.close()
  const admin = await opened(url)
  const { rows } = await admin.query(
    `SELECT tags->>'series' AS series, data->>'n' AS n, count(*)::int AS times FROM events
     WHERE event_type = 'CLAIM.NEXT.X' GROUP BY 1, 2 HAVING count(*) > 1`
  )
  await admin.end()
  for (const { series, n, times } of rows) told.failures.push({ what: `${series} has ${n} ${times} times` })
  process.send({ told })
}
