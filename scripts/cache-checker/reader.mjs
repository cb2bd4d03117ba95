// A process that asks cached questions and compares each answer with what plain SQL says of its snapshot.
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, generator, opened, TYPES } from './common.mjs'
import { comparable, QUESTIONS } from './questions.mjs'

/** How old a bounded answer may be, in milliseconds. */
const BOUND = 300

/** The snapshot of a token: version, database, what was seen. */
const snapshotOf = token => Buffer.from(token, 'base64url').toString().split('|')[2].split('+')[0]

function parsed(text) {
  const [, max, running] = text.split(':')
  return { max: BigInt(max), running: new Set(running.split(',').filter(Boolean).map(BigInt)) }
}

/** Whether the later snapshot sees all that the earlier one does. */
function precedes(earlier, later) {
  const [a, b] = [parsed(earlier), parsed(later)]
  return a.max <= b.max && [...b.running].every(id => id >= a.max || a.running.has(id))
}

/** A crash makes the server use transaction ids again that it had not made durable: snapshots step back. */
const comparableSnapshots = (before, after) => before.nonce !== null && before.nonce === after.nonce

const STATE = `SELECT pg_current_snapshot()::text AS snapshot, (SELECT nonce FROM events_incarnation) AS nonce, (SELECT count(*) FROM events_rotations)::text || ',' ||
  coalesce((SELECT nonce::text FROM events_incarnation), '') || ',' || (SELECT relfilenode FROM pg_class WHERE oid = 'events'::regclass) AS state`

export async function read({ url, seed, reads, burst, redis }) {
  const random = generator(seed)
  const summary = { reads: 0, compared: 0, skipped: 0, unavailable: 0, outcomes: {}, failures: [] }
  const joined = () => connect({ url, pool: { max: 4 }, ...(redis && { redis: { url: redis } }) })
  const client = await joined()
  const history = []
  const note = (mode, answer) => {
    summary.reads++
    summary.outcomes[`${mode} ${answer.cache}`] = (summary.outcomes[`${mode} ${answer.cache}`] ?? 0) + 1
  }
  const one = async (question, admin) => {
    const mode = random.pick(['strict', 'strict', 'strict', 'bounded', 'session'])
    const hint = { consistency: mode }
    let least
    const before = (await admin.query(STATE)).rows[0]
    if (mode === 'bounded') {
      hint.maxStaleness = BOUND
      least = history.findLast(({ at, nonce }) => at < performance.now() - BOUND && nonce === before.nonce)?.snapshot
    } else if (mode === 'session') {
      const { token } = await client.append([{ type: random.pick(TYPES), tags: { k: '2' }, data: { n: 5 } }])
      hint.token = token
      const own = Buffer.from(token, 'base64url').toString().split('|')[2].split('+')[1]
      least = undefined
      hint.own = own
    } else least = before.snapshot
    const { own, ...cache } = hint
    history.push({ at: performance.now(), snapshot: before.snapshot, nonce: before.nonce })
    if (history.length > 5000) history.splice(0, 2500)
    const answer = await client.optimizer.executeQuery({ ...question.query, hints: { cache } })
    const snapshot = snapshotOf(answer.token)
    const expected = (await admin.query(question.sql, [snapshot])).rows
    const visible =
      own &&
      (await admin.query('SELECT pg_visible_in_snapshot($1::text::xid8, $2::text::pg_snapshot) AS it', [own, snapshot]))
        .rows[0].it
    const after = (await admin.query(STATE)).rows[0]
    note(mode, answer)
    const wrong = what =>
      summary.failures.push({ what, mode, cache: answer.cache, snapshot, before, query: question.query })
    if (least !== undefined && comparableSnapshots(before, after) && !precedes(least, snapshot))
      wrong('older than promised')
    if (visible === false) wrong('without the write of its token')
    // Where events were changed meanwhile, what that snapshot saw can't be read any more. A bounded answer may
    // be of before such a change.
    if (before.state !== after.state || mode !== 'strict') summary.skipped++
    else {
      summary.compared++
      const [got, want] = [comparable(question, answer.rows), comparable(question, expected)]
      if (got !== want) wrong(`other rows: ${got.slice(0, 300)} instead of ${want.slice(0, 300)}`)
    }
  }
  /** Strict reads one after the other: each sees at least what the one before saw. */
  const many = async admin => {
    const before = (await admin.query(STATE)).rows[0]
    const answers = []
    let least = before.snapshot
    // A new process finds nothing but what others have shared.
    const fresh = redis && random.next() < 0.1 ? await joined() : undefined
    try {
      for (let i = 0; i < burst; i++) {
        const question = random.pick(QUESTIONS)
        const query = { ...question.query, hints: { cache: { consistency: 'strict' } } }
        const answer = await (fresh ?? client).optimizer.executeQuery(query)
        note('strict', answer)
        const snapshot = snapshotOf(answer.token)
        answers.push({ question, snapshot, least, cache: answer.cache, got: comparable(question, answer.rows) })
        least = snapshot
      }
    } finally {
      await fresh?.close()
    }
    // What a snapshot saw is computed once, however many answers are of it.
    const direct = new Map()
    for (const answer of answers) {
      const key = `${QUESTIONS.indexOf(answer.question)} ${answer.snapshot}`
      if (!direct.has(key))
        direct.set(key, comparable(answer.question, (await admin.query(answer.question.sql, [answer.snapshot])).rows))
      answer.want = direct.get(key)
    }
    const after = (await admin.query(STATE)).rows[0]
    for (const { snapshot, least, cache } of answers)
      if (comparableSnapshots(before, after) && !precedes(least, snapshot))
        summary.failures.push({ what: 'older than promised', cache, snapshot, least })
    if (after.state !== before.state) {
      summary.skipped += answers.length
      return
    }
    for (const { question, snapshot, cache, got, want } of answers) {
      summary.compared++
      if (got !== want)
        summary.failures.push({
          what: `other rows: ${got.slice(0, 300)} instead of ${want.slice(0, 300)}`,
          mode: 'strict',
          cache,
          snapshot,
          before,
          query: question.query
        })
    }
  }
  const lane = async () => {
    let admin
    while (summary.reads < reads && summary.failures.length < 5) {
      try {
        admin ??= await opened(url)
        await one(random.pick(QUESTIONS), admin)
        if (burst > 0) await many(admin)
      } catch (error) {
        // The server was away, or the lane's own connection was ended.
        if (error.code === 'INVALID_QUERY' || error.code === 'DATABASE_ERROR') {
          // Tokens of a server that crashed in between are not of another database; anything else is a failure.
          if (!/restart|recovery|terminat|shutting|cancel/i.test(error.message))
            summary.failures.push({ what: String(error) })
        }
        summary.unavailable++
        const gone = admin
        admin = undefined
        await gone?.end().catch(() => {})
        await sleep(30)
      }
    }
    await admin?.end().catch(() => {})
  }
  const told = setInterval(() => process.send({ progress: summary.reads }), 10_000)
  // Lanes of one client, so that checks are shared.
  await Promise.all([lane(), lane(), lane()])
  clearInterval(told)
  await client.close()
  process.send({ summary })
}
