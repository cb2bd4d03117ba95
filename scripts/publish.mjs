// Publishes the platform packages, then the main one that names them. Safe to run again: what is
// published already is left alone. Arguments go to `npm publish`: --provenance, --dry-run.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const root = new URL('..', import.meta.url).pathname
const manifestOf = folder => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))

function isPublished({ name, version }) {
  const { status, stdout } = spawnSync('npm', ['view', `${name}@${version}`, 'version'], { encoding: 'utf8' })
  return status === 0 && stdout.trim() === version
}

const main = manifestOf(root)
const platforms = readdirSync(join(root, 'npm'))
  .map(entry => join(root, 'npm', entry))
  .filter(folder => existsSync(join(folder, 'package.json')))

for (const folder of platforms) {
  const { name, version, main: binary } = manifestOf(folder)
  if (version !== main.version) throw new Error(`${name} is ${version}, and ${main.name} is ${main.version}`)
  if (main.optionalDependencies?.[name] !== version) throw new Error(`${main.name} does not name ${name}@${version}`)
  if (!existsSync(join(folder, binary))) throw new Error(`${name} lacks its binary ${binary}`)
}
for (const folder of [...platforms, root]) {
  const manifest = manifestOf(folder)
  if (isPublished(manifest)) {
    console.log(`${manifest.name}@${manifest.version} is published already`)
    continue
  }
  const tag = manifest.version.includes('-') ? 'next' : 'latest'
  const args = ['publish', folder, '--access', 'public', '--tag', tag, ...process.argv.slice(2)]
  execFileSync('npm', args, { stdio: 'inherit' })
}
