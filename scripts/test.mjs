// All tests: `npm test`. With arguments, only Vitest with those arguments: `npm test -- stream`.
//
//   --built    takes the addon as it lies in native/, and leaves the Rust tests out
//
// Needs Node and Rust. The database is the one of TAMMA_TEST_DATABASE_URL, else the embedded
// PostgreSQL; then, where another PostgreSQL is on the PATH, the tests that ask the database run
// against that one too.
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root, Steps, tool } from './steps.mjs'
import { startSystemPostgres, systemPostgresVersion } from './system-postgres.mjs'

const wanted = process.argv.slice(2).filter(argument => argument !== '--built')
const built = process.argv.includes('--built')
const given = process.env.TAMMA_TEST_DATABASE_URL
const npm = process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ['npm']
const steps = new Steps('test')
const reports = mkdtempSync(join(tmpdir(), 'tamma-tests-'))
chmodSync(reports, 0o755) // as root, the server runs as another user, who has to come in

/** Vitest, and then its counts in one plain line. */
async function vitest(name, url, args) {
  const report = join(reports, 'vitest.json')
  rmSync(report, { force: true })
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
  await steps.run(name, [...tool('vitest/vitest.mjs'), 'run', ...reporters, ...args], { TAMMA_TEST_DATABASE_URL: url })
  if (!existsSync(report)) return
  const { numPassedTests, numFailedTests, numPendingTests } = JSON.parse(readFileSync(report, 'utf8'))
  console.log(`vitest: ${numPassedTests} passed, ${numFailedTests} failed, ${numPendingTests} skipped`)
}

/** Runs `use` with the url of a server, which is stopped afterwards. */
async function withServer(name, start, use) {
  let server
  try {
    server = await start()
  } catch (error) {
    steps.settle(`${name}: ${error.message}`)
    return
  }
  try {
    await use(server.url)
  } finally {
    await server.stop()
  }
}

function startEmbedded() {
  const { startEmbedded } = createRequire(import.meta.url)('../lib/embedded/index.js')
  return startEmbedded({ directory: join(reports, 'database'), persistent: false })
}

async function rust(url) {
  const nextest = spawnSync('cargo', ['nextest', '--version'], { cwd: root }).status === 0
  const command = nextest
    ? ['nextest', 'run', '--cargo-profile', 'dev-fast', '--no-fail-fast']
    : ['test', '--profile', 'dev-fast', '--no-fail-fast']
  await steps.run(`cargo ${command[0]}`, ['cargo', ...command], { TAMMA_TEST_DATABASE_URL: url })
}

async function against(url) {
  if (wanted.length === 0 && !built) await rust(url)
  await vitest('vitest', url, wanted)
}

async function everything() {
  if (given) await against(given)
  else await withServer('the embedded PostgreSQL', startEmbedded, against)
  if (wanted.length > 0) return
  await steps.run('type tests', [process.execPath, 'scripts/check-types.mjs'])
  if (given) return

  const version = await systemPostgresVersion()
  if (version === undefined) {
    console.log('\nSKIPPED: the database tests against another PostgreSQL: initdb and postgres are not on the PATH')
    return
  }
  const name = `vitest, PostgreSQL ${version} of the PATH`
  await withServer(name, startSystemPostgres, url => vitest(name, url, ['--project', 'database']))
}

if (process.env.TAMMA_SHARED_DATA === undefined) {
  console.log('TAMMA_SHARED_DATA is not set: tests over the real event log go without it')
}
try {
  const installed =
    existsSync(`${root}node_modules/vitest`) || (await steps.run('npm install', [...npm, 'install', '--no-save']))
  const ready = installed && (built || (await steps.run('build the addon', [...npm, 'run', 'build:dev'])))
  if (ready) await everything()
} finally {
  rmSync(reports, { recursive: true, force: true })
  steps.close()
}
