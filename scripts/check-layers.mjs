// Holds the Rust source to the layer rules of CONTRIBUTING.md.
//
//   node scripts/check-layers.mjs [FOLDER]     a crate's folder; default this one
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readRust } from './rust-source.mjs'

/** From the bottom up. A module may use its own layer's lower neighbours, never its equals. */
const LAYERS = [
  ['model'],
  ['query'],
  ['sql'],
  ['plan'],
  ['exec'],
  ['ddl'],
  ['migrate', 'ingest', 'cache', 'index', 'monitor', 'export'],
  ['analytics'],
  ['bindings']
]
const RANK = new Map(LAYERS.flatMap((names, rank) => names.map(name => [name, rank])))
/** Longer than this is worth a second thought. */
const LONG_FILE = 400
/** Where a subsystem's own fixed statements stand. */
const STATEMENT_FILES = new Set(['catalog.rs', 'store.rs'])

const STATEMENT =
  /^\s*(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH|VALUES|CREATE|ALTER|DROP|TRUNCATE|COPY|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|START TRANSACTION|SET|RESET|SHOW|EXPLAIN|ANALYZE|VACUUM|LOCK TABLE|LISTEN|NOTIFY|DECLARE|FETCH|DISCARD)\b(?=\s|;|$)/
const CLAUSE =
  'SELECT|FROM|WHERE|GROUP BY|ORDER BY|HAVING|LIMIT|OFFSET|(?:LEFT |INNER |CROSS )?JOIN|UNION ALL|RETURNING|ON CONFLICT'
const CLAUSE_AT_EDGE = new RegExp(`^\\s*(?:${CLAUSE})(?:\\s|$)|(?:^|\\s)(?:${CLAUSE})\\s*$`)
const CLAUSE_INSIDE = new RegExp(`\\b(?:${CLAUSE})\\b`, 'g')
/** 'EXPLAIN gave no plan': a message that begins with a keyword. */
const SENTENCE = /^[A-Z]+(?: [a-z]+){2,}[.:]?$/

/** A statement, or a piece that statements are put together from. Keywords are written in capitals. */
function looksLikeSql(text) {
  if (SENTENCE.test(text)) return false
  return STATEMENT.test(text) || CLAUSE_AT_EDGE.test(text) || (text.match(CLAUSE_INSIDE)?.length ?? 0) >= 2
}

function rustFiles(folder) {
  return readdirSync(folder, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap(entry => {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) return rustFiles(path)
      return entry.name.endsWith('.rs') ? [path] : []
    })
}

/** @returns {{ errors: string[], warnings: string[], files: number }} */
export function checkLayers(crate) {
  const src = join(crate, 'src')
  const errors = []
  const warnings = []
  const files = rustFiles(src)

  for (const path of files) {
    const inSrc = relative(src, path).split(sep)
    const file = inSrc.at(-1)
    const modulePath = inSrc.map(part => part.replace(/\.rs$/, '')).filter(part => part !== 'mod' && part !== 'lib')
    const layer = modulePath[0]
    const rank = RANK.get(layer)
    const rust = readRust(readFileSync(path, 'utf8'), modulePath)
    const where = offset => `src/${inSrc.join('/')}:${rust.lineOf(offset)}`

    if (rust.lines > LONG_FILE)
      warnings.push(`src/${inSrc.join('/')}: ${rust.lines} lines; over ${LONG_FILE} is worth splitting`)
    if (layer === undefined) continue
    if (rank === undefined) {
      errors.push(`src/${inSrc.join('/')}: the module '${layer}' has no layer; give it one in scripts/check-layers.mjs`)
      continue
    }
    for (const { name, offset } of rust.roots) {
      const other = RANK.get(name)
      if (other === undefined || name === layer || other < rank) continue
      errors.push(`${where(offset)}: ${layer} uses ${name}, which is not below it`)
    }
    if (layer !== 'bindings') {
      for (const { index, 0: word } of rust.code.matchAll(/\b(?:napi|napi_derive|napi_sys)\b|\bunsafe\b/g)) {
        errors.push(`${where(index)}: '${word}' belongs in src/bindings alone`)
      }
    }
    const isTest = file === 'tests.rs' || modulePath.includes('tests')
    if (layer !== 'sql' && !STATEMENT_FILES.has(file) && !isTest) {
      for (const { text, offset } of rust.strings) {
        if (rust.inTest(offset) || !looksLikeSql(text)) continue
        const shown = text.trim().replace(/\s+/g, ' ').slice(0, 40)
        errors.push(`${where(offset)}: SQL outside src/sql, catalog.rs and store.rs: "${shown}"`)
      }
    }
  }
  return { errors, warnings, files: files.length }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { errors, warnings, files } = checkLayers(process.argv[2] ?? fileURLToPath(new URL('..', import.meta.url)))
  for (const warning of warnings) console.log(`warning: ${warning}`)
  for (const error of errors) console.log(`error: ${error}`)
  console.log(`layers: ${files} files, ${errors.length} errors, ${warnings.length} warnings`)
  process.exitCode = errors.length === 0 ? 0 : 1
}
