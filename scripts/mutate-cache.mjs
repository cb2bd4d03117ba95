// Shows that every guard of the exact cache is needed: takes each out in turn, builds, and runs the tests that are
// most likely to notice, then a short run of the checker. One of them must fail. The source is put back afterwards,
// whatever happens; where a mutation survives the exit code is 1.
//
//   node scripts/mutate-cache.mjs [NAME...]     only these; --list shows them
//
// Takes about a minute for each: it is no part of `npm test`.
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const { startEmbedded } = createRequire(import.meta.url)('../lib/embedded/index.js')

/** Tests in Rust that need no server; a file of tests, and which of them. */
const units = 'cache::tests'
const lists = ['cache.test', 'lists']
const late = ['cache.test', 'late commits']
const owner = ['cache.test', 'what the owner does']
const alone = ['cache.test', 'one at a time']
const large = ['cache.test', 'found by the index']
const groups = ['cache-groups.test', '']
const incarnation = ['cache-incarnation.test', '']
const fallbacks = ['cache-fallbacks.test', '']

/** The guard: the file, what stands there, what it becomes, and the tests. */
const MUTATIONS = {
  'points of transactions that were running': [
    'src/sql/exact/news.rs',
    'if !since.running().is_empty()',
    'if false',
    late
  ],
  'gaps between running transactions': [
    'src/sql/exact/news.rs',
    'UNION ALL SELECT r FROM s, pg_snapshot_xip(s) AS r WHERE r > ',
    'UNION ALL SELECT r FROM s, pg_snapshot_xip(s) AS r WHERE false AND r > ',
    large
  ],
  'overflow of the delta, grouped': [
    'src/cache/grouped.rs',
    'news.left || news.events > MOST_NEW',
    'news.left',
    groups
  ],
  'overflow of the delta, in lists': [
    'src/cache/attempt/check.rs',
    'if news.left || news.events > MOST_NEW',
    'if news.left',
    lists
  ],
  rotations: ['src/cache/attempt/check.rs', '&& !said.is_rotated()', '', owner],
  'the log of rotations': [
    'migrations/0001_rotations.sql',
    'INSERT INTO {{rotations}} DEFAULT',
    "INSERT INTO {{rotations}} SELECT '1' ON CONFLICT DO NOTHING; --",
    owner
  ],
  'the transaction of an event': [
    'migrations/0001_rotations.sql',
    'NEW.transaction_id := pg_current_xact_id();',
    '',
    owner
  ],
  'whether a check is believed, in lists': [
    'src/cache/attempt/check.rs',
    'said.news().filter(|_| is_believed(stamp, &said)) else',
    'said.news() else',
    owner
  ],
  'whether a check is believed, grouped': [
    'src/cache/grouped.rs',
    'said.news().filter(|_| is_believed(stamp, &said)) else',
    'said.news() else',
    owner
  ],
  nonce: ['src/cache/stamp.rs', '&& self.nonce == later.nonce', '', incarnation],
  'an absent nonce': ['src/cache/stamp.rs', 'self.stamp.nonce.is_empty().then_some(Refusal::NoNonce)', 'None', owner],
  'start of the server': ['src/cache/stamp.rs', '&& self.started == later.started', '', incarnation],
  realm: ['src/cache/stamp.rs', '&& self.realm == later.realm', '', units],
  fingerprint: ['src/cache/stamp.rs', '&& self.fingerprint == later.fingerprint', '', owner],
  'order of snapshots': ['src/cache/stamp.rs', '&& self.snapshot.precedes(&later.snapshot)', '', units],
  'a clock that goes back': ['src/cache/stamp.rs', '&& self.clock <= later.clock', '', units],
  horizon: [
    'src/cache/stamp.rs',
    '&& self.horizon.is_none_or(|at| at > later.clock)',
    '',
    ['cache.test', 'windows that end']
  ],
  'a newer entry stays': ['src/cache/mod.rs', '&& before.is_newer_than(answer)', '&& false', units],
  'a row that left the window': [
    'src/cache/attempt/check.rs',
    'if news.left || news.events > MOST_NEW',
    'if news.events > MOST_NEW',
    ['cache.test', 'windows that end']
  ],
  'transaction ids of the future': [
    'src/sql/exact/stamp.rs',
    "pg_snapshot_xmax(s)) THEN 'a' END",
    "pg_snapshot_xmax(s)) THEN '' END",
    owner
  ],
  'guards of transaction_id': [
    'src/sql/exact/stamp.rs',
    "CASE WHEN t.guards <> 3 THEN 't' END",
    "CASE WHEN false THEN 't' END",
    owner
  ],
  partitions: ['src/cache/grouped.rs', 'said.is_partitioned() && !partitioned', 'false', groups],
  'row-level security': ['src/sql/exact/stamp.rs', "THEN 'r' END", "THEN '' END", fallbacks],
  isolation: ['src/sql/exact/stamp.rs', "THEN 'i' END", "THEN '' END", fallbacks],
  'sharing only checks that began later': [
    'src/cache/fresh.rs',
    'if answer.checked > asked {',
    'if answer.checked + std::time::Duration::from_millis(200) > asked {',
    alone
  ],
  'the bound of bounded reads': [
    'src/cache/fresh.rs',
    'answer.checked.elapsed() <= *bound',
    'true',
    ['cache.test', 'bounded']
  ],
  'the write of a session': [
    'src/cache/fresh.rs',
    'seen.is_within(&stamp.snapshot)',
    'seen.snapshot.xmin() > 0 && !stamp.nonce.is_empty()',
    ['cache.test', 'session']
  ]
}

const run = (env, command, ...given) =>
  spawnSync(command, given, { cwd: root, stdio: 'pipe', encoding: 'utf8', env: { ...process.env, ...env } })
const vitest = (env, ...given) =>
  run(env, process.execPath, 'node_modules/vitest/vitest.mjs', 'run', '--project', 'database', ...given)

function build() {
  const built = run({}, 'npm', 'run', 'build:dev')
  if (built.status !== 0) throw new Error(`does not build:\n${built.stderr.slice(-2000)}`)
}

/** Whose tests noticed; undefined where nobody did. */
function killer(env, tests) {
  if (tests === units) {
    const ran = run(env, 'cargo', 'test', '--profile', 'dev-fast', '--lib', units)
    if (!/test result:/.test(ran.stdout)) throw new Error(`the unit tests do not run:\n${ran.stderr.slice(-2000)}`)
    return ran.status === 0 ? undefined : units
  }
  const [file, name] = tests
  build()
  if (vitest(env, file, ...(name === '' ? [] : ['-t', name])).status !== 0) return `${file} ${name}`.trim()
  if (vitest({ ...env, TAMMA_CHECK_READS: '1500' }, 'cache-checker').status !== 0) return 'the checker'
  return undefined
}

const asked = process.argv.slice(2)
if (asked.includes('--list')) {
  console.log(Object.keys(MUTATIONS).join('\n'))
  process.exit()
}
const unknown = asked.filter(name => !(name in MUTATIONS))
if (unknown.length > 0) throw new Error(`no such mutations: ${unknown.join(', ')}`)
// Before the first is built: a guard that has moved would be found after an hour.
for (const [name, [file, from]] of Object.entries(MUTATIONS)) {
  if (!readFileSync(join(root, file), 'utf8').includes(from)) throw new Error(`${name}: ${file} no longer says ${from}`)
}

const folder = mkdtempSync(join(tmpdir(), 'tamma-mutations-'))
chmodSync(folder, 0o755) // as root, the server runs as another user, who has to come in
let pending
const putBack = () => pending && writeFileSync(...pending)
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    putBack()
    process.exit(1)
  })
}
const survivors = []
const server = await startEmbedded({ directory: join(folder, 'database'), persistent: false })
try {
  const env = { TAMMA_TEST_DATABASE_URL: server.url }
  for (const [name, [file, from, to, tests]] of Object.entries(MUTATIONS)) {
    if (asked.length > 0 && !asked.includes(name)) continue
    const path = join(root, file)
    const source = readFileSync(path, 'utf8')
    const began = performance.now()
    pending = [path, source]
    let killed
    try {
      writeFileSync(path, source.replace(from, to))
      killed = killer(env, tests)
    } finally {
      putBack()
      pending = undefined
    }
    if (killed === undefined) survivors.push(name)
    const seconds = Math.round((performance.now() - began) / 1000)
    console.log(
      `${killed === undefined ? 'SURVIVED' : 'killed'}  ${name}  ${killed ? `by ${killed}` : ''}  (${seconds} s)`
    )
  }
} finally {
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
  build()
}
if (survivors.length > 0) console.log(`survived: ${survivors.join(', ')}`)
process.exitCode = survivors.length > 0 ? 1 : 0
