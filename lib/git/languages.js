'use strict'

/** Extensions by language; a file of another kind is 'other'. */
const EXTENSIONS = {
  c: ['c', 'h'],
  clojure: ['clj', 'cljs'],
  cpp: ['cc', 'cpp', 'cxx', 'hpp'],
  csharp: ['cs'],
  css: ['css', 'less', 'sass', 'scss'],
  dart: ['dart'],
  elixir: ['ex', 'exs'],
  erlang: ['erl'],
  fsharp: ['fs'],
  go: ['go'],
  graphql: ['graphql'],
  haskell: ['hs'],
  html: ['htm', 'html'],
  image: ['gif', 'ico', 'jpeg', 'jpg', 'png', 'svg', 'webp'],
  java: ['java'],
  javascript: ['cjs', 'js', 'jsx', 'mjs'],
  json: ['json', 'json5', 'jsonc'],
  julia: ['jl'],
  kotlin: ['kt', 'kts'],
  lockfile: ['lock'],
  lua: ['lua'],
  markdown: ['md', 'mdx'],
  nix: ['nix'],
  notebook: ['ipynb'],
  ocaml: ['ml', 'mli'],
  perl: ['pl', 'pm'],
  php: ['php'],
  powershell: ['ps1'],
  prisma: ['prisma'],
  protobuf: ['proto'],
  python: ['py', 'pyi'],
  r: ['r'],
  ruby: ['rb'],
  rust: ['rs'],
  scala: ['scala'],
  shell: ['bash', 'sh', 'zsh'],
  snapshot: ['snap'],
  sql: ['sql'],
  svelte: ['svelte'],
  swift: ['swift'],
  terraform: ['tf'],
  text: ['rst', 'txt'],
  toml: ['toml'],
  typescript: ['cts', 'mts', 'ts', 'tsx'],
  vue: ['vue'],
  wasm: ['wasm', 'wat'],
  xml: ['xml'],
  yaml: ['yaml', 'yml'],
  zig: ['zig']
}

/** Names that say more than their extension. */
const NAMES = {
  dockerfile: ['dockerfile'],
  lockfile: ['go.sum', 'npm-shrinkwrap.json', 'package-lock.json', 'pnpm-lock.yaml'],
  makefile: ['makefile'],
  ruby: ['gemfile', 'rakefile']
}

const byExtension = invert(EXTENSIONS)
const byName = invert(NAMES)

function invert(table) {
  return new Map(Object.entries(table).flatMap(([language, keys]) => keys.map(key => [key, language])))
}

/** @param {string} path */
function languageOf(path) {
  const name = path.slice(path.lastIndexOf('/') + 1).toLowerCase()
  const dot = name.lastIndexOf('.')
  return byName.get(name) ?? (dot > 0 ? byExtension.get(name.slice(dot + 1)) : undefined) ?? 'other'
}

module.exports = { languageOf }
