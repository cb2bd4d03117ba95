// The checker of the exact cache. Processes of readers ask cached questions while processes of writers append,
// roll back, hold transactions open, come late, delete, update and truncate, and backends are killed. Every
// answer is compared with one that plain SQL computes, by `pg`, from the events visible in the answer's own
// snapshot (that of its token); and the snapshot itself must be as fresh as was promised. Beside them one process
// asks for what is new since its last answer, and must get every event that stays exactly once.
//
//   node scripts/check-cache.mjs --url postgres://… [--reads 5000] [--readers 2] [--writers 3] [--seed 1] [--crash]
//     [--burst 40] [--quiet 0.5] [--redis] [--truncates] [--package FOLDER]
//
// The database must be migrated, and its own. `--crash` also kills a backend with SIGKILL now and then, which
// crash-restarts a server on this machine. `--burst`: so many strict reads one after the other between those that
// are bracketed one by one. `--quiet`: the share of the time in which nobody writes, so that what is new is nothing
// too. `--redis` starts a redis-server that the readers share, and stops and starts it. Prints a summary as JSON;
// exit code 1 where an answer was wrong.
import { fork, spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import pg from 'pg'

/** Another build of the package, such as one in a copy of the repository. */
const PACKAGE = process.argv.includes('--package') ? process.argv[process.argv.indexOf('--package') + 1] : '..'
const { connect } = createRequire(import.meta.url)(process.env.TAMMA_CHECK_PACKAGE ?? `${PACKAGE}/index.js`)
const TYPES = ['A.ONE.X', 'A.TWO.X', 'B.ONE.X', 'C.RARE.X']
const BOUND = 300
const PHASE = 4000

function generator(seed) {
  let state = seed >>> 0
  const next = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
  return { next, below: n => Math.floor(next() * n), pick: items => items[Math.floor(next() * items.length)] }
}

const number = `CASE WHEN jsonb_typeof(data->'n') = 'number' THEN (data->>'n')::numeric END`
const seen = 'pg_visible_in_snapshot(transaction_id, $1::text::pg_snapshot)'
const days = { from: '2024-01-01T00:00:00Z', to: '2024-01-06T00:00:00Z' }

/** Questions, and the same by hand: $1 is the snapshot. Rows are compared as JSON, sorted where `loose`. */
const QUESTIONS = [
  {
    query: { filter: {}, groupBy: ['type'], aggregates: [{ fn: 'count' }, { fn: 'sum', field: 'data.n', as: 's' }] },
    sql: `SELECT event_type AS type, count(*)::int AS count, sum(${number})::float8 AS s FROM events WHERE ${seen} GROUP BY 1`,
    loose: true
  },
  {
    query: { filter: { eventTypes: ['A.*'] }, aggregates: [{ fn: 'count' }, { fn: 'max', field: 'data.n', as: 'm' }] },
    sql: `SELECT count(*)::int AS count, max(${number})::float8 AS m FROM events WHERE event_type LIKE 'A.%' AND ${seen}`
  },
  {
    query: { filter: {}, timeBucket: { interval: '1 day' }, aggregates: [{ fn: 'count' }], timeWindow: days },
    sql: `SELECT to_char(date_trunc('day', "timestamp" AT TIME ZONE 'UTC'), 'YYYY-MM-DD"T"HH24:MI:SS.000"Z"') AS bucket, count(*)::int AS count
      FROM events WHERE "timestamp" >= '2024-01-01Z' AND "timestamp" < '2024-01-06Z' AND ${seen} GROUP BY 1 ORDER BY 1`
  },
  {
    query: { filter: {}, select: ['id'], orderBy: [{ field: 'timestamp', direction: 'desc' }], limit: 10 },
    sql: `SELECT event_id::text AS id FROM events WHERE ${seen} ORDER BY "timestamp" DESC, event_id LIMIT 10`
  },
  {
    query: { filter: { eventTypes: ['C.RARE.X'] } },
    sql: `SELECT event_id::text AS id FROM events WHERE event_type = 'C.RARE.X' AND ${seen}`,
    only: 'id',
    loose: true
  },
  {
    query: { filter: { tags: { k: '1' } }, aggregates: [{ fn: 'median', field: 'data.n', as: 'm' }] },
    sql: `SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY (${number})::float8) AS m FROM events WHERE tags->>'k' = '1' AND ${seen}`
  },
  {
    query: { filter: { eventTypes: ['C.RARE.X'], tags: { k: '2' } }, aggregates: [{ fn: 'count' }] },
    sql: `SELECT count(*)::int AS count FROM events WHERE event_type = 'C.RARE.X' AND tags->>'k' = '2' AND ${seen}`
  }
]

const CHANGE = `SELECT set_config('tamma_events.change_in_transaction', pg_current_xact_id()::text, true)`
const INSERT = `INSERT INTO events (event_id, event_type, "timestamp", tags, data)
  SELECT gen_random_uuid(), $1, $2::timestamptz + i * interval '1 second', jsonb_build_object('k', $3::text), jsonb_build_object('n', $4::numeric + i)
  FROM generate_series(1, $5) AS i`

function events({ below, pick, next }) {
  const late = next() < 0.5
  const at = late ? new Date(Date.UTC(2024, 0, 1 + below(6), below(24))) : new Date()
  return [pick(TYPES), at.toISOString(), String(below(4)), String(below(1000) / 8), 1 + below(3)]
}

async function opened(url) {
  const client = new pg.Client({ connectionString: url, application_name: 'checker' })
  client.on('error', () => {})
  await client.connect()
  return client
}

/** Writes until it is told to stop. Failures are no matter: what did not commit must not be seen. */
async function write({ url, seed, truncates, quiet }) {
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

const STATE = `SELECT pg_current_snapshot()::text AS snapshot, (SELECT count(*) FROM events_rotations)::text || ',' ||
  coalesce((SELECT nonce::text FROM events_incarnation), '') || ',' || (SELECT relfilenode FROM pg_class WHERE oid = 'events'::regclass) AS state`

function comparable({ only, loose }, rows) {
  const texts = rows.map(row => JSON.stringify(only ? { [only]: row[only] } : row))
  return JSON.stringify(loose ? texts.sort() : texts)
}

async function read({ url, seed, reads, burst, redis }) {
  const random = generator(seed)
  const summary = { reads: 0, compared: 0, skipped: 0, unavailable: 0, outcomes: {}, failures: [] }
  const client = await connect({ url, pool: { max: 4 }, ...(redis && { cache: { redis: { url: redis } } }) })
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
      least = history.findLast(({ at }) => at < performance.now() - BOUND)?.snapshot
    } else if (mode === 'session') {
      const { token } = await client.append([{ type: random.pick(TYPES), tags: { k: '2' }, data: { n: 5 } }])
      hint.token = token
      const own = Buffer.from(token, 'base64url').toString().split('|')[2].split('+')[1]
      least = undefined
      hint.own = own
    } else least = before.snapshot
    const { own, ...cache } = hint
    history.push({ at: performance.now(), snapshot: before.snapshot })
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
    if (least !== undefined && !precedes(least, snapshot)) wrong('older than promised')
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
    for (let i = 0; i < burst; i++) {
      const question = random.pick(QUESTIONS)
      const answer = await client.optimizer.executeQuery({
        ...question.query,
        hints: { cache: { consistency: 'strict' } }
      })
      note('strict', answer)
      const snapshot = snapshotOf(answer.token)
      if (!precedes(least, snapshot))
        summary.failures.push({ what: 'older than promised', cache: answer.cache, snapshot, least })
      least = snapshot
      answers.push({ question, snapshot, cache: answer.cache, got: comparable(question, answer.rows) })
    }
    // What a snapshot saw is computed once, however many answers are of it.
    const direct = new Map()
    for (const answer of answers) {
      const key = `${QUESTIONS.indexOf(answer.question)} ${answer.snapshot}`
      if (!direct.has(key))
        direct.set(key, comparable(answer.question, (await admin.query(answer.question.sql, [answer.snapshot])).rows))
      answer.want = direct.get(key)
    }
    if ((await admin.query(STATE)).rows[0].state !== before.state) {
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

/** Asks for what is new until it is told to stop, and then to the end. */
async function follow({ url, seed }) {
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

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  const { port } = server.address()
  await new Promise(resolve => server.close(resolve))
  return port
}

/** A Redis that is stopped and started, now and then in mid-answer. */
async function flicker(port, random, ended) {
  const start = () =>
    spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'], {
      stdio: 'ignore'
    })
  let child = start()
  let stops = 0
  while (!ended()) {
    await sleep(2000 + random.below(4000))
    const gone = new Promise(resolve => child.once('exit', resolve))
    child.kill(random.next() < 0.5 ? 'SIGKILL' : 'SIGTERM')
    await gone
    stops++
    await sleep(random.below(1500))
    child = start()
  }
  child.kill('SIGKILL')
  return stops
}

async function main(options) {
  const started = performance.now()
  const { url, reads, readers, writers, seed, crash, truncates, burst, quiet } = options
  const port = options.redis ? await freePort() : undefined
  const redis = port && `redis://127.0.0.1:${port}/0`
  const child = (role, given) => {
    const forked = fork(fileURLToPath(import.meta.url), [JSON.stringify({ role, ...given })], {
      env: { ...process.env, TAMMA_CHECK_PACKAGE: process.env.TAMMA_CHECK_PACKAGE ?? `${PACKAGE}/index.js` }
    })
    return { forked, exited: new Promise(resolve => forked.on('exit', resolve)) }
  }
  const writing = Array.from({ length: writers }, (_, i) =>
    child('write', { url, seed: seed + 100 + i, truncates, quiet })
  )
  const summaries = []
  const reading = Array.from({ length: readers }, (_, i) => {
    const started = child('read', { url, seed: seed + i, reads: Math.ceil(reads / readers), burst, redis })
    started.forked.on('message', ({ summary, progress }) => {
      if (summary) summaries.push(summary)
      else console.error(`reader ${i}: ${progress} reads`)
    })
    return started
  })
  const following = child('follow', { url, seed: seed + 500 })
  let followed
  following.forked.on('message', told => {
    followed = told.followed
  })
  let ended = false
  const random = generator(seed + 999)
  const flickering = port && flicker(port, generator(seed + 998), () => ended)
  const killer = (async () => {
    let admin
    for (let turn = 1; !ended; turn++) {
      await sleep(700 + random.below(900))
      try {
        admin ??= await opened(url)
        const { rows } = await admin.query(
          `SELECT pid FROM pg_stat_activity WHERE application_name = 'tamma-events' AND datname = current_database()`
        )
        const victim = random.pick(rows)?.pid
        if (victim === undefined) continue
        if (crash && turn % 12 === 0) process.kill(victim, 'SIGKILL')
        else await admin.query('SELECT pg_terminate_backend($1)', [victim])
      } catch {
        await admin?.end().catch(() => {})
        admin = undefined
      }
    }
    await admin?.end().catch(() => {})
  })()
  const codes = await Promise.all(reading.map(({ exited }) => exited))
  ended = true
  for (const { forked } of writing) forked.send('stop')
  await Promise.all([killer, ...writing.map(({ exited }) => exited)])
  following.forked.send('stop')
  const [stops] = await Promise.all([flickering, following.exited])
  const total = {
    seed,
    seconds: Math.round((performance.now() - started) / 1000),
    reads: 0,
    compared: 0,
    skipped: 0,
    unavailable: 0,
    outcomes: {},
    followed: followed?.events,
    redisStops: stops,
    failures: followed?.failures ?? [{ what: 'the one that asks for what is new ended without a word' }]
  }
  for (const summary of summaries) {
    for (const key of ['reads', 'compared', 'skipped', 'unavailable']) total[key] += summary[key]
    for (const [key, n] of Object.entries(summary.outcomes)) total.outcomes[key] = (total.outcomes[key] ?? 0) + n
    total.failures.push(...summary.failures)
  }
  if (summaries.length < readers) total.failures.push({ what: `a reader ended without a word: ${codes}` })
  return total
}

if (process.send !== undefined && process.argv[2]?.startsWith('{')) {
  const { role, ...given } = JSON.parse(process.argv[2])
  await { read, write, follow }[role](given)
  process.disconnect()
} else {
  const { values } = parseArgs({
    options: {
      url: { type: 'string' },
      reads: { type: 'string', default: '5000' },
      readers: { type: 'string', default: '2' },
      writers: { type: 'string', default: '3' },
      seed: { type: 'string', default: String(Date.now() % 1e6) },
      burst: { type: 'string', default: '0' },
      quiet: { type: 'string', default: '0' },
      package: { type: 'string' },
      redis: { type: 'boolean', default: false },
      crash: { type: 'boolean', default: false },
      truncates: { type: 'boolean', default: false }
    }
  })
  const numbers = Object.fromEntries(
    ['reads', 'readers', 'writers', 'seed', 'burst', 'quiet'].map(key => [key, Number(values[key])])
  )
  const total = await main({ ...values, ...numbers })
  console.log(JSON.stringify(total, null, 2))
  process.exitCode = total.failures.length > 0 ? 1 : 0
}
