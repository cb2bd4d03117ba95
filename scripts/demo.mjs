// From a fresh clone to answers: installs and builds what is missing, then runs `tamma-events demo`.
// Arguments go to that command: npm run demo -- --ndjson FILE, or --git PATH.
import { spawn } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const SOURCES = ['src', 'migrations', 'Cargo.toml', 'Cargo.lock', 'build.rs']

/** The newest change below a path; 0 where there is nothing. */
function changedAt(path) {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (!stat) return 0
  if (!stat.isDirectory()) return stat.mtimeMs
  return Math.max(0, ...readdirSync(path).map(name => changedAt(join(path, name))))
}

function findAddon() {
  const folder = join(root, 'native')
  const name = existsSync(folder) && readdirSync(folder).find(file => file.endsWith('.node'))
  return name ? join(folder, name) : undefined
}

/** Why the addon must be built, or nothing. */
function whyBuild() {
  const addon = findAddon()
  if (!addon) return 'it is not there yet'
  const { mtimeMs, size } = statSync(addon)
  if (SOURCES.some(source => changedAt(join(root, source)) > mtimeMs)) return 'its sources have changed'
  return isDevelopmentBuild(size) ? 'this one is a development build' : undefined
}

/** `npm run build:dev` puts its addon in the same place; cargo still has the library it is a copy of. */
function isDevelopmentBuild(size) {
  const target = join(root, 'target')
  if (!existsSync(target)) return false
  const folders = ['.', ...readdirSync(target)].map(name => join(target, name, 'dev-fast')).filter(existsSync)
  return folders.some(folder =>
    readdirSync(folder).some(name => /\.(?:so|dylib|dll)$/.test(name) && statSync(join(folder, name)).size === size)
  )
}

/** Runs npm and shows only that it is under way; what it says is shown when it fails. */
async function npm(args, doing) {
  const started = performance.now()
  const seconds = () => `${Math.round((performance.now() - started) / 1000)} s`
  // npm is a script: under `npm run` its path is known, else the shell finds it on Windows too.
  const script = process.env.npm_execpath
  const [command, first] = script?.endsWith('.js') ? [process.execPath, [script]] : ['npm', []]
  const child = spawn(command, [...first, ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    shell: command === 'npm' && process.platform === 'win32'
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', text => (said += text))
  const tty = process.stderr.isTTY
  process.stderr.write(tty ? `${doing} …` : `${doing} …\n`)
  const timer = tty ? setInterval(() => process.stderr.write(`\r${doing} … ${seconds()}`), 1000) : undefined
  const code = await new Promise(resolve => {
    child.once('error', error => {
      said += error.message
      resolve(1)
    })
    child.once('close', resolve)
  })
  clearInterval(timer)
  if (tty) process.stderr.write('\r\x1b[K')
  if (code === 0) return
  console.error(said)
  console.error(`${doing} failed: npm ${args.join(' ')}. It needs Node.js 20 and Rust (https://rustup.rs).`)
  process.exit(1)
}

const args = process.argv.slice(2)
const has = (...options) => args.some(arg => options.some(option => arg === option || arg.startsWith(`${option}=`)))

if (!has('--help', '-h')) {
  if (!existsSync(join(root, 'node_modules'))) {
    await npm(['install', '--no-audit', '--no-fund'], 'installing what package.json names')
  }
  const reason = whyBuild()
  if (reason) await npm(['run', 'build'], `building the addon, as ${reason}; the first time takes some minutes`)
}
const { main } = createRequire(import.meta.url)('../lib/cli/main.js')
await main(['demo', ...(has('--git', '--ndjson') ? [] : ['--git', root]), ...args])
