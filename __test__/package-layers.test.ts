import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { checkLayers } from '../scripts/check-layers.mjs'

const crates: string[] = []
afterEach(() => {
  for (const crate of crates.splice(0)) rmSync(crate, { recursive: true })
})

/** What the check says of a crate with these files. */
function check(files: Record<string, string>) {
  const crate = mkdtempSync(join(tmpdir(), 'tamma-layers-'))
  crates.push(crate)
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(crate, 'src', path)), { recursive: true })
    writeFileSync(join(crate, 'src', path), text)
  }
  return checkLayers(crate)
}
const errorsOf = (path: string, text: string) => check({ [path]: text }).errors

it('lets a layer use itself and those below', () => {
  expect(
    check({
      'lib.rs': 'pub mod model;\npub mod bindings;\n',
      'model/mod.rs': 'pub use crate::model::field::Field;',
      'sql/mod.rs': 'use crate::{model::{Field, path::Path}, query::EventQuery};',
      'exec/pool.rs': 'use super::super::model::Error;',
      'bindings/mod.rs': 'use napi::Result;\nuse crate::analytics::Engine;\nunsafe fn raw() {}'
    }).errors
  ).toEqual([])
})

it.each([
  ['by a path', 'sql/mod.rs', '\nuse crate::exec::Pool;', 'src/sql/mod.rs:2: sql uses exec, which is not below it'],
  ['by a group', 'query/a.rs', 'use crate::{\n model::X,\n  plan::{Y, Z},\n};', 'src/query/a.rs:3: query uses plan,'],
  ['in an expression', 'model/a.rs', 'fn f() { crate::query::parse() }', 'src/model/a.rs:1: model uses query,'],
  ['by super', 'model/a.rs', 'use super::super::sql::compile;', 'src/model/a.rs:1: model uses sql,'],
  ['sideways', 'cache/mod.rs', 'use crate::monitor::Stats;', 'src/cache/mod.rs:1: cache uses monitor,'],
  [
    'in a test',
    'plan/a.rs',
    '#[cfg(test)]\nmod tests {\n  use crate::exec::Pool;\n}',
    'src/plan/a.rs:3: plan uses exec,'
  ]
])('refuses a dependency that points up: %s', (_how, path, text, error) => {
  expect(errorsOf(path, text)).toEqual([expect.stringContaining(error)])
})

it('knows that super in an inline module stays in the file', () => {
  expect(errorsOf('model/a.rs', 'mod tests { use super::super::value::Value; }')).toEqual([])
  expect(errorsOf('model/a.rs', 'mod tests { use super::super::super::exec::Pool; }')).toHaveLength(1)
})

it('reads neither comments nor literals as code', () => {
  const text = [
    '//! napi, unsafe and crate::exec are words here',
    '/* crate::exec /* nested */ unsafe */',
    "fn f<'a>(x: &'a str) -> char { '\"' }",
    'const A: &str = "crate::exec unsafe \\" napi";',
    'const B: &str = r#"crate::exec "unsafe" napi"#;',
    'fn unsafe_code() {}'
  ].join('\n')
  expect(errorsOf('model/a.rs', text)).toEqual([])
})

it.each(['use napi::Env;', '#[napi]\nfn f() {}', 'unsafe { call() }', '#[unsafe(no_mangle)]\nfn f() {}'])(
  'keeps N-API and unsafe code in the bindings: %s',
  text => {
    expect(errorsOf('exec/mod.rs', text)).toEqual([expect.stringContaining('belongs in src/bindings alone')])
    expect(errorsOf('bindings/mod.rs', text)).toEqual([])
  }
)

it.each([
  'SELECT 1',
  'BEGIN',
  ' WHERE ',
  'x = $1 ORDER BY',
  'a FROM b WHERE c',
  '\n  INSERT INTO t VALUES ($1)',
  'SET LOCAL x = 1'
])('finds SQL outside its places: %j', sql => {
  const text = `const A: &str = r#"${sql}"#;`
  expect(errorsOf('exec/pool.rs', text)).toEqual([expect.stringContaining('src/exec/pool.rs:1: SQL outside')])
  for (const path of ['sql/select.rs', 'exec/catalog.rs', 'monitor/store.rs', 'plan/tests.rs']) {
    expect(errorsOf(path, text)).toEqual([])
  }
  expect(errorsOf('plan/a.rs', `#[cfg(test)]\nmod tests {\n ${text}\n}`)).toEqual([])
})

it.each([
  'the query was stopped where it ran',
  'Select a table',
  'set by the caller',
  'with a LIMIT of its own',
  'SELECTED',
  'EXPLAIN gave no plan'
])('takes prose for what it is: %j', prose =>
  expect(errorsOf('exec/pool.rs', `const A: &str = "${prose}";`)).toEqual([])
)

it('wants a layer for every module, and warns of long files', () => {
  expect(errorsOf('misc/mod.rs', '')).toEqual([expect.stringContaining("the module 'misc' has no layer")])
  const { errors, warnings } = check({
    'model/long.rs': 'const A: u8 = 1;\n'.repeat(401),
    'model/ok.rs': '\n'.repeat(400)
  })
  expect(errors).toEqual([])
  expect(warnings).toEqual([expect.stringContaining('src/model/long.rs: 401 lines')])
})
