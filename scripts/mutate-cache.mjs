// Shows that every guard of the exact cache is needed: takes each out in turn and runs the tests that are most
// likely to notice, then a short run of the checker. One of them must fail. Exit code 1 where a mutation survives.
//
//   node scripts/mutate-cache.mjs [NAME...]     only these; --list shows them
//
// All mutations are built into one addon, each behind a number that the environment names, so that a mutation costs
// the time of its tests and not that of a build. The sources are put back, and the addon built anew, whatever happens.
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
const strict = ['cache.test', 'strict']
const owner = ['cache.test', 'what the owner does']
const windows = ['cache.test', 'windows that end']
const alone = ['cache.test', 'one at a time']
const large = ['cache.test', 'found by the index']
const groups = ['cache-groups.test', '']
const spliced = ['cache-splice.test', '']
const incarnation = ['cache-incarnation.test', '']
const fallbacks = ['cache-fallbacks.test', '']

const check = 'src/cache/attempt/check.rs'
const fresh = 'src/cache/fresh.rs'
const grouped = 'src/cache/grouped.rs'
const leaders = 'src/cache/splice/leaders.rs'
const splice = 'src/cache/splice/mod.rs'
const stamp = 'src/cache/stamp.rs'
const stampSql = 'src/sql/exact/stamp.rs'
const news = 'src/sql/exact/news.rs'
const render = 'src/migrate/render.rs'

/** A condition that a conjunction does without. */
const without = condition => [condition, `(MUTANT || ${condition})`]
/** A text that becomes another. */
const text = (from, to) => [`"${from}"`, `(if MUTANT { "${to}" } else { "${from}" })`]
/** A text of a migration that becomes another. */
const migration = (from, to) => [
  '    sql.push_str(rest);\n',
  `    sql.push_str(rest);\n    if MUTANT { sql = sql.replace(r#"${from}"#, r#"${to}"#); }\n`
]

/** The guard: the file, what stands there and what it becomes, in which MUTANT is whether it is on; the tests. */
const MUTATIONS = {
  'the last of the first that was not touched': [
    leaders,
    [
      'Some(place) => first.keys.truncate(place + 1)',
      'Some(place) => { if !MUTANT { first.keys.truncate(place + 1) } }'
    ],
    spliced
  ],
  'as many of the first as are wanted': [leaders, without('first.keys.len() as u64 > wanted'), spliced],
  'keys that are equal byte by byte': [splice, ['!new.are_bytewise()', '!MUTANT && !new.are_bytewise()'], spliced],
  'groups of a window that moved': [grouped, without('!moved && states.is_looked_up_like(&new)'), spliced],
  'points of transactions that were running': [
    news,
    ['!since.running().is_empty()', '!MUTANT && !since.running().is_empty()'],
    strict
  ],
  'gaps between running transactions': [
    news,
    text(
      ' UNION ALL SELECT pg_snapshot_xmax(s) FROM s UNION ALL SELECT r FROM s, pg_snapshot_xip(s) AS r WHERE r > ',
      ' UNION ALL SELECT pg_snapshot_xmax(s) FROM s UNION ALL SELECT r FROM s, pg_snapshot_xip(s) AS r WHERE false AND r > '
    ),
    large
  ],
  'overflow of the delta, grouped': [
    grouped,
    ['news.events > base.most_new', '(!MUTANT && news.events > base.most_new)'],
    groups
  ],
  'overflow of the delta, in lists': [
    check,
    ['news.events > base.most_new', '(!MUTANT && news.events > base.most_new)'],
    lists
  ],
  'a row that left the window': [check, ['if news.left ||', 'if (!MUTANT && news.left) ||'], windows],
  rotations: [check, without('!said.is_rotated()'), owner],
  'the log of rotations': [
    render,
    migration('DEFAULT VALUES ON CONFLICT DO NOTHING;\n  -- Undone', "SELECT '1' ON CONFLICT DO NOTHING;\n  -- Undone"),
    owner
  ],
  'the transaction of an event': [render, migration('NEW.transaction_id := pg_current_xact_id();', ''), owner],
  'whether a check is believed, in lists': [
    check,
    ['.filter(|_| is_believed', '.filter(|_| MUTANT || is_believed'],
    owner
  ],
  'whether a check is believed, grouped': [
    grouped,
    ['.filter(|_| is_believed', '.filter(|_| MUTANT || is_believed'],
    owner
  ],
  nonce: [stamp, without('self.nonce == later.nonce'), incarnation],
  'an absent nonce': [
    stamp,
    ['self.stamp.nonce.is_empty().then_some', '(!MUTANT && self.stamp.nonce.is_empty()).then_some'],
    owner
  ],
  'start of the server': [stamp, without('self.started == later.started'), incarnation],
  realm: [stamp, without('self.realm == later.realm'), units],
  fingerprint: [stamp, without('self.fingerprint == later.fingerprint'), owner],
  'order of snapshots': [stamp, without('self.snapshot.precedes(&later.snapshot)'), units],
  'a clock that goes back': [stamp, without('self.clock <= later.clock'), units],
  horizon: [stamp, without('self.horizon.is_none_or(|at| at > later.clock)'), windows],
  'the snapshot of the cheapest check': [
    stamp,
    ['is(&self.snapshot.to_string())', '(is(&self.snapshot.to_string()) | MUTANT)'],
    strict
  ],
  'the nonce of the cheapest check': [stamp, ['is(&self.nonce)', '(is(&self.nonce) | MUTANT)'], units],
  'the start of the cheapest check': [stamp, ['is(&self.started)', '(is(&self.started) | MUTANT)'], units],
  'the realm of the cheapest check': [stamp, ['is(&self.realm)', '(is(&self.realm) | MUTANT)'], units],
  'the clock and the cheapest check': [
    'src/cache/attempt/unchanged.rs',
    without('!is_of_the_clock(&self.plan.query)'),
    windows
  ],
  'a newer entry stays': [
    'src/cache/mod.rs',
    ['before.is_newer_than(answer)', '(!MUTANT && before.is_newer_than(answer))'],
    units
  ],
  'transaction ids of the future': [
    stampSql,
    text(" >= pg_snapshot_xmax(s)) THEN 'a' END", " >= pg_snapshot_xmax(s)) THEN '' END"),
    owner
  ],
  'guards of transaction_id': [
    stampSql,
    text(
      "CASE WHEN t.guards <> 3 THEN 't' END) FROM pg_class AS c",
      "CASE WHEN t.guards <> 3 THEN '' END) FROM pg_class AS c"
    ),
    owner
  ],
  'row-level security': [stampSql, text(") THEN 'r' END, ", ") THEN '' END, "), fallbacks],
  isolation: [
    stampSql,
    text(
      "CASE WHEN current_setting('transaction_isolation') NOT IN ('repeatable read', 'serializable') THEN 'i' END",
      'NULL'
    ),
    fallbacks
  ],
  partitions: [
    grouped,
    ['said.is_partitioned() && !partitioned', '!MUTANT && said.is_partitioned() && !partitioned'],
    groups
  ],
  'sharing only checks that began later': [
    fresh,
    ['answer.checked > asked', 'answer.checked + Duration::from_millis(if MUTANT { 200 } else { 0 }) > asked'],
    alone
  ],
  'the bound of bounded reads': [fresh, without('answer.checked.elapsed() <= *bound'), ['cache.test', 'bounded']],
  'the write of a session': [fresh, without('seen.is_within(&stamp.snapshot)'), ['cache.test', 'session']]
}

const SWITCH = `
/// Whether a mutation is on: see scripts/mutate-cache.mjs.
pub fn mutant(number: u32) -> bool {
    static ON: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    let on = || std::env::var("TAMMA_MUTANT").ok().and_then(|on| on.parse().ok()).unwrap_or(0);
    *ON.get_or_init(on) == number
}
`

const run = (env, command, ...given) =>
  spawnSync(command, given, { cwd: root, stdio: 'pipe', encoding: 'utf8', env: { ...process.env, ...env } })
const tail = ({ stdout, stderr }) => `${stdout}\n${stderr}`.slice(-3000)

function must(what, ran) {
  if (ran.status !== 0) throw new Error(`${what}:\n${tail(ran)}`)
}

function passes(env, tests) {
  const [command, ...given] =
    tests === units
      ? ['cargo', 'test', '--profile', 'dev-fast', '--lib', units]
      : [
          process.execPath,
          'node_modules/vitest/vitest.mjs',
          'run',
          '--project',
          'database',
          tests[0],
          ...(tests[1] && ['-t', tests[1]])
        ]
  const ran = run(env, command, ...given)
  // Nothing ran at all: that notices nothing.
  if (!/test result:|Tests .*(passed|failed)/.test(ran.stdout)) throw new Error(`${tests} did not run:\n${tail(ran)}`)
  return ran.status === 0
}

const asked = process.argv.slice(2)
if (asked.includes('--list')) {
  console.log(Object.keys(MUTATIONS).join('\n'))
  process.exit()
}
const unknown = asked.filter(name => !(name in MUTATIONS))
if (unknown.length > 0) throw new Error(`no such mutations: ${unknown.join(', ')}`)

const sources = new Map()
const sourceOf = file => sources.get(file) ?? readFileSync(join(root, file), 'utf8')
const mutated = new Map([['src/lib.rs', sourceOf('src/lib.rs') + SWITCH]])
let number = 0
for (const [name, mutation] of Object.entries(MUTATIONS)) {
  number += 1
  const [file, [from, to]] = mutation
  if (!sources.has(file)) sources.set(file, sourceOf(file))
  const source = mutated.get(file) ?? sources.get(file)
  if (!source.includes(from)) throw new Error(`${name}: ${file} no longer says ${from}`)
  mutated.set(
    file,
    source.replace(from, () => to.replaceAll('MUTANT', `crate::mutant(${number})`))
  )
  mutation.push(number)
}
sources.set('src/lib.rs', sourceOf('src/lib.rs'))

const folder = mkdtempSync(join(tmpdir(), 'tamma-mutations-'))
chmodSync(folder, 0o755) // as root, the server runs as another user, who has to come in
const write = files => {
  for (const [file, source] of files) writeFileSync(join(root, file), source)
}
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    write(sources)
    process.exit(1)
  })
}

const wanted = Object.entries(MUTATIONS).filter(([name]) => asked.length === 0 || asked.includes(name))
const survivors = []
const server = await startEmbedded({ directory: join(folder, 'database'), persistent: false })
try {
  write(mutated)
  must('does not build', run({}, 'npm', 'run', 'build:dev'))
  const env = { TAMMA_TEST_DATABASE_URL: server.url, TAMMA_CHECK_READS: '1500' }
  // All off: what fails now would kill everything.
  const files = [...new Set(wanted.map(([, [, , tests]]) => tests))]
  for (const tests of files) if (!passes(env, tests)) throw new Error(`fails without a mutation: ${tests}`)
  console.log('all pass without a mutation')
  for (const [name, [, , tests, number]] of wanted) {
    const began = performance.now()
    const on = { ...env, TAMMA_MUTANT: String(number) }
    const killer = [tests, ['cache-checker', '']].find(tests => !passes(on, tests))
    if (killer === undefined) survivors.push(name)
    const seconds = Math.round((performance.now() - began) / 1000)
    const by = killer === undefined ? '' : ` by ${[killer].flat().join(' ').trim()}`
    console.log(`${killer === undefined ? 'SURVIVED' : 'killed  '} ${name}${by} (${seconds} s)`)
  }
} finally {
  write(sources)
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
  must('does not build again', run({}, 'npm', 'run', 'build:dev'))
}
console.log(`${wanted.length - survivors.length} of ${wanted.length} killed`)
process.exitCode = survivors.length > 0 ? 1 : 0
