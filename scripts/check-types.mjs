// Compiles the type tests, every example in the documentation, and the tests, against index.d.ts.
//
// Two compilers, because users have both: TypeScript 7 and, under the name `typescript-5`, the last
// 5.x. Both packages bring a `tsc`, so each is started by its path.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const projects = {
  typescript: ['tsconfig', 'tsconfig.node16', 'tsconfig.strictest', 'tsconfig.declarations'],
  // Ten times slower: what the newer compiler already told apart is not told apart again.
  'typescript-5': ['tsconfig.node16', 'tsconfig.declarations']
}
/** What 50 chained queries may cost the compiler. */
const MAX_INSTANTIATIONS = 150_000

function tsc(compiler, project, ...more) {
  const args = [`node_modules/${compiler}/bin/tsc`, '-p', project, '--pretty', 'false', ...more]
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' })
  return { ok: status === 0, output: stdout + stderr }
}

/** The `ts` blocks of a text; inside a JSDoc comment they come with its stars. */
function examplesOf(file) {
  const text = readFileSync(`${root}/${file}`, 'utf8').replace(/^ *\* ?/gm, file.endsWith('.d.ts') ? '' : '$&')
  return [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(match => ({
    code: match[1],
    line: text.slice(0, match.index).split('\n').length + 1
  }))
}

/** Each example becomes a module: its imports, what examples take for granted, and a function around the rest. */
function writeExamples() {
  const directory = `${root}/target/type-tests/examples`
  rmSync(directory, { recursive: true, force: true })
  mkdirSync(directory, { recursive: true })
  const names = [...readFileSync(`${root}/index.d.ts`, 'utf8').matchAll(/^export (?:type|interface) (\w+)/gm)].map(
    m => m[1]
  )
  let written = 0
  for (const file of ['index.d.ts', 'README.md']) {
    if (!existsSync(`${root}/${file}`)) continue
    for (const { code, line } of examplesOf(file)) {
      const imports = code.match(/^import .*$/gm) ?? []
      const body = code.replace(/^import .*$/gm, '')
      const given = imports.some(text => text.includes('@tamma/events'))
        ? [`import type { EventsClient as Client } from '@tamma/events'`]
        : [
            `import { connect, EventsError, type EventsClient as Client } from '@tamma/events'`,
            `import type { ${names.join(', ')} } from '@tamma/events'`
          ]
      const lines = [
        ...imports,
        ...given,
        'declare function retry(): Promise<void>',
        'declare const sink: { write(rows: readonly unknown[]): Promise<void> }',
        `export async function example(events: Client) { {`,
        body,
        '} }'
      ]
      writeFileSync(`${directory}/${file.replace(/\W/g, '-')}-${String(line).padStart(4, '0')}.ts`, lines.join('\n'))
      written++
    }
  }
  return written
}

let passed = 0
let failed = 0
function report(what, { ok, output }) {
  if (ok) passed++
  else failed++
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${what}`)
  if (!ok) console.log(output.trimEnd())
}

for (const compiler of Object.keys(projects)) {
  for (const project of projects[compiler]) {
    report(`${compiler} ${project}`, tsc(compiler, `type-tests/${project}.json`))
  }
  const chains = tsc(compiler, 'type-tests/tsconfig.chains.json', '--extendedDiagnostics')
  const count = Number(/^Instantiations:\s+(\d+)/m.exec(chains.output)?.[1])
  report(`${compiler} 50 chained queries cost ${count} instantiations, at most ${MAX_INSTANTIATIONS}`, {
    ok: chains.ok && count < MAX_INSTANTIATIONS,
    output: chains.output
  })
}
report(`${writeExamples()} examples of the documentation`, tsc('typescript', 'type-tests/tsconfig.examples.json'))
report('the tests themselves', tsc('typescript', 'tsconfig.json'))

console.log(`types: ${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
