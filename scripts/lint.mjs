// Everything that is checked without running it: `npm run lint`. `npm run format` mends the format.
import { root, Steps, tool } from './steps.mjs'

const steps = new Steps('lint')
await steps.run('biome: format and lint of JavaScript and TypeScript', [
  ...tool('@biomejs/biome/bin/biome'),
  'ci',
  '--error-on-warnings',
  '.'
])
await steps.run('layers of the Rust source', [process.execPath, `${root}scripts/check-layers.mjs`])
await steps.run('rustfmt', ['cargo', 'fmt', '--check'])
await steps.run('clippy', [
  'cargo',
  'clippy',
  '--profile',
  'dev-fast',
  '--all-targets',
  '--quiet',
  '--',
  '-D',
  'warnings'
])
steps.close()
