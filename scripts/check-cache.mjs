// The checker of the exact cache. Processes of readers ask cached questions while processes of writers append,
// roll back, hold transactions open, come late, delete, update and truncate, and backends are killed. Every
// answer is compared with one that plain SQL computes, by `pg`, from the events visible in the answer's own
// snapshot (that of its token); and the snapshot itself must be as fresh as was promised. Beside them one process
// asks for what is new since its last answer, and must get every event that stays exactly once; and others append
// under conditions, of which none may ever be broken.
//
//   node scripts/check-cache.mjs --url postgres://… [--reads 5000] [--readers 2] [--writers 3] [--seed 1] [--crash]
//     [--claimers 64] [--burst 40] [--quiet 0.5] [--redis] [--truncates] [--package FOLDER]
//
// The database must be migrated, and its own. `--crash` also kills a backend with SIGKILL now and then, which
// crash-restarts a server on this machine. `--claimers`: so many writers that append under conditions, in four
// processes. `--burst`: so many strict reads one after the other between those that
// are bracketed one by one. `--quiet`: the share of the time in which nobody writes, so that what is new is nothing
// too. `--redis` starts a redis-server that the readers share, and stops and starts it. Prints a summary as JSON;
// exit code 1 where an answer was wrong.
import { fork, spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { claim } from './cache-checker/claimer.mjs'
import { generator, opened } from './cache-checker/common.mjs'
import { follow } from './cache-checker/follower.mjs'
import { read } from './cache-checker/reader.mjs'
import { write } from './cache-checker/writer.mjs'

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
  const { url, reads, readers, writers, claimers, seed, crash, truncates, burst, quiet } = options
  const port = options.redis ? await freePort() : undefined
  const redis = port && `redis://127.0.0.1:${port}/0`
  const child = (role, given) => {
    const forked = fork(fileURLToPath(import.meta.url), [JSON.stringify({ role, ...given })], {
      env: {
        ...process.env,
        ...(options.package && { TAMMA_CHECK_PACKAGE: join(resolve(options.package), 'index.js') })
      }
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
  const claims = []
  const claiming = Array.from({ length: Math.min(claimers, 4) }, (_, i) => {
    const lanes = Math.ceil((claimers - i) / 4)
    const started = child('claim', { url, seed: seed + 300 + i, lanes, quiet })
    started.forked.on('message', ({ told }) => claims.push(told))
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
  const others = [...writing, ...claiming]
  for (const { forked } of others) forked.send('stop')
  await Promise.all([killer, ...others.map(({ exited }) => exited)])
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
    claimed: claims.reduce((sum, { claimed }) => sum + claimed, 0),
    conflicts: claims.reduce((sum, { conflicts }) => sum + conflicts, 0),
    followed: followed?.events,
    redisStops: stops,
    failures: followed?.failures ?? [{ what: 'the one that asks for what is new ended without a word' }]
  }
  for (const summary of summaries) {
    for (const key of ['reads', 'compared', 'skipped', 'unavailable']) total[key] += summary[key]
    for (const [key, n] of Object.entries(summary.outcomes)) total.outcomes[key] = (total.outcomes[key] ?? 0) + n
    total.failures.push(...summary.failures)
  }
  for (const { failures } of claims) total.failures.push(...failures)
  if (claims.length < claiming.length) total.failures.push({ what: 'a writer under conditions ended without a word' })
  if (summaries.length < readers) total.failures.push({ what: `a reader ended without a word: ${codes}` })
  return total
}

if (process.send !== undefined && process.argv[2]?.startsWith('{')) {
  const { role, ...given } = JSON.parse(process.argv[2])
  await { read, write, claim, follow }[role](given)
  process.disconnect()
} else {
  const { values } = parseArgs({
    options: {
      url: { type: 'string' },
      reads: { type: 'string', default: '5000' },
      readers: { type: 'string', default: '2' },
      writers: { type: 'string', default: '3' },
      claimers: { type: 'string', default: '0' },
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
    ['reads', 'readers', 'writers', 'claimers', 'seed', 'burst', 'quiet'].map(key => [key, Number(values[key])])
  )
  const total = await main({ ...values, ...numbers })
  console.log(JSON.stringify(total, null, 2))
  process.exitCode = total.failures.length > 0 ? 1 : 0
}
