// Shows that every guard of the exact cache is needed: patches each out in turn, builds, and runs the tests and
// the checker, which then must fail. The source is put back afterwards, whatever happens.
//
//   node scripts/mutate-cache.mjs [NAME...]     only these; --list shows them
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const never = 'CASE WHEN false'

/** The guard, the file, what stands there, and what it becomes. */
const MUTATIONS = {
  'points of transactions that were running': ['src/sql/exact/news.rs', 'if !since.running().is_empty()', 'if false'],
  'gaps between running transactions': [
    'src/sql/exact/news.rs',
    'UNION ALL SELECT r FROM s, pg_snapshot_xip(s) AS r WHERE r > ',
    'UNION ALL SELECT r FROM s, pg_snapshot_xip(s) AS r WHERE false AND r > '
  ],
  'overflow of the delta': ['src/cache/grouped.rs', 'news.left || news.events > MOST_NEW', 'news.left'],
  rotations: ['src/cache/attempt/check.rs', '&& !said.is_rotated()', ''],
  nonce: ['src/cache/stamp.rs', '&& self.nonce == later.nonce', ''],
  'an absent nonce': ['src/cache/stamp.rs', 'self.stamp.nonce.is_empty().then_some(Refusal::NoNonce)', 'None'],
  'start of the server': ['src/cache/stamp.rs', '&& self.started == later.started', ''],
  fingerprint: ['src/cache/stamp.rs', '&& self.fingerprint == later.fingerprint', ''],
  'order of snapshots': ['src/cache/stamp.rs', '&& self.snapshot.precedes(&later.snapshot)', ''],
  horizon: ['src/cache/stamp.rs', '&& self.horizon.is_none_or(|at| at > later.clock)', ''],
  'a row that left the window': [
    'src/cache/attempt/check.rs',
    'if news.left || news.events > MOST_NEW',
    'if news.events > MOST_NEW'
  ],
  'transaction ids of the future': [
    'src/sql/exact/stamp.rs',
    "pg_snapshot_xmax(s)) THEN 'a' END",
    "pg_snapshot_xmax(s)) THEN '' END"
  ],
  'guards of transaction_id': ['src/sql/exact/stamp.rs', 'CASE WHEN t.guards <> 3 THEN', `${never} THEN`],
  'sharing only checks that began later': [
    'src/cache/fresh.rs',
    'if answer.checked > asked {',
    'if answer.checked + std::time::Duration::from_millis(200) > asked {'
  ],
  'the bound of bounded reads': ['src/cache/fresh.rs', 'answer.checked.elapsed() <= *bound', 'true'],
  'the write of a session': [
    'src/cache/fresh.rs',
    'seen.is_within(&stamp.snapshot)',
    'seen.snapshot.xmin() > 0 && !stamp.nonce.is_empty()'
  ]
}

const run = (command, ...given) => spawnSync(command, given, { cwd: root, stdio: 'pipe', encoding: 'utf8' })

function survives() {
  const built = run('npm', 'run', 'build:dev')
  if (built.status !== 0) throw new Error(`does not build:\n${built.stderr.slice(-2000)}`)
  return run('node', 'scripts/test.mjs', '--built', '__test__/cache').status === 0
}

const asked = process.argv.slice(2)
if (asked.includes('--list')) {
  console.log(Object.keys(MUTATIONS).join('\n'))
  process.exit()
}
let survivors = 0
try {
  for (const [name, [file, from, to]] of Object.entries(MUTATIONS)) {
    if (asked.length > 0 && !asked.includes(name)) continue
    const path = `${root}/${file}`
    const source = readFileSync(path, 'utf8')
    if (!source.includes(from)) throw new Error(`${name}: ${file} no longer says ${from}`)
    try {
      writeFileSync(path, source.replace(from, to))
      const survived = survives()
      survivors += survived ? 1 : 0
      console.log(`${survived ? 'SURVIVED' : 'killed  '} ${name}`)
    } finally {
      writeFileSync(path, source)
    }
  }
} finally {
  run('npm', 'run', 'build:dev')
}
process.exitCode = survivors > 0 ? 1 : 0
