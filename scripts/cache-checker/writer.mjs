// A process that writes: appends, savepoints, transactions held open, late events, deletes, updates, truncates.
import { setTimeout as sleep } from 'node:timers/promises'
import { generator, opened, PHASE, TYPES } from './common.mjs'

const CHANGE = `SELECT set_config('tamma_events.change_in_transaction', pg_current_xact_id()::text, true)`
const INSERT = `INSERT INTO events (event_id, event_type, "timestamp", tags, data)
  SELECT gen_random_uuid(), $1, $2::timestamptz + i * interval '1 second', jsonb_build_object('k', $3::text), jsonb_build_object('n', $4::numeric + i)
  FROM generate_series(1, $5) AS i`

function events({ below, pick, next }) {
  const late = next() < 0.5
  const at = late ? new Date(Date.UTC(2024, 0, 1 + below(6), below(24))) : new Date()
  return [pick(TYPES), at.toISOString(), String(below(4)), String(below(1000) / 8), 1 + below(3)]
}

/** Writes until it is told to stop. Failures are no matter: what did not commit must not be seen. */
export async function write({ url, seed, truncates, quiet }) {
  const random = generator(seed)
  let stopped = false
  process.on('message', () => {
    stopped = true
  })
  let client
  while (!stopped) {
    // All writers are quiet at the same time.
    if ((Date.now() % PHASE) / PHASE < quiet) {
      await sleep(20)
      continue
    }
    try {
      client ??= await opened(url)
      const dice = random.next()
      if (dice < 0.5) await client.query(INSERT, events(random))
      else if (dice < 0.62) {
        await client.query('BEGIN')
        await client.query(INSERT, events(random))
        await client.query('SAVEPOINT s')
        await client.query(INSERT, events(random))
        await client.query(random.next() < 0.5 ? 'ROLLBACK TO s' : 'RELEASE s')
        await client.query(random.next() < 0.8 ? 'COMMIT' : 'ROLLBACK')
      } else if (dice < 0.7) {
        // Held open while others begin and end.
        await client.query('BEGIN')
        await client.query(INSERT, events(random))
        await sleep(random.below(random.next() < 0.1 ? 1500 : 150))
        await client.query(random.next() < 0.8 ? 'COMMIT' : 'ROLLBACK')
      } else if (dice < 0.73) {
        await client.query('BEGIN')
        await client.query(CHANGE)
        const [type] = events(random)
        const some = `SELECT event_id FROM events WHERE event_type = '${type}' LIMIT 2`
        if (random.next() < 0.5) await client.query(`DELETE FROM events WHERE event_id IN (${some})`)
        else await client.query(`UPDATE events SET data = data || '{"n": 1}' WHERE event_id IN (${some})`)
        await client.query(random.next() < 0.8 ? 'COMMIT' : 'ROLLBACK')
      } else if (truncates && dice < 0.732) {
        await client.query(`BEGIN; ${CHANGE}; TRUNCATE events; COMMIT`)
      } else if (dice < 0.735) {
        // Nobody can write past the guard, not even with the owner's rights.
        await client.query(
          `INSERT INTO events (event_id, event_type, "timestamp", transaction_id) VALUES (gen_random_uuid(), 'A.ONE.X', now(), '3')`
        )
      } else await sleep(random.below(12))
    } catch {
      await client?.end().catch(() => {})
      client = undefined
      await sleep(20)
    }
  }
  await client?.end().catch(() => {})
}
