// A process that asks for what is new since its last answer, and must get every event that stays exactly once.
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, generator, opened } from './common.mjs'

/** Asks for what is new until it is told to stop, and then to the end. */
export async function follow({ url, seed }) {
  const random = generator(seed)
  const failures = []
  const seen = new Set()
  let stopped = false
  process.on('message', () => {
    stopped = true
  })
  const client = await connect({ url, pool: { max: 2 } })
  let token
  for (;;) {
    const last = stopped
    try {
      const page = await client
        .query()
        .select(['id'])
        .since(token)
        .limit(1 + random.below(200))
        .execute()
      for (const { id } of page.rows) {
        if (seen.has(id)) failures.push({ what: `since gave ${id} twice` })
        seen.add(id)
      }
      token = page.token
      // Told to stop before it asked, and nothing was left.
      if (last && page.rows.length === 0) break
      if (page.rows.length === 0) await sleep(random.below(50))
    } catch {
      await sleep(50)
    }
  }
  await client.close()
  const admin = await opened(url)
  const { rows } = await admin.query('SELECT event_id::text AS id FROM events')
  await admin.end()
  const missing = rows.filter(({ id }) => !seen.has(id))
  if (missing.length > 0) failures.push({ what: `since left out ${missing.length}, such as ${missing[0].id}` })
  process.send({ followed: { events: seen.size, failures } })
}
