// What `require` costs a process that has just started.

import { execFile } from 'node:child_process'
import { createRequire } from 'node:module'
import { promisify } from 'node:util'
import { ENTRY } from './lib/database.mjs'
import { against, interleave, OURS } from './lib/measure.mjs'

export const about = 'require() in a fresh process: ms'
export const server = false

const require = createRequire(import.meta.url)
const runFile = promisify(execFile)

const MODULES = { [OURS]: ENTRY, pg: require.resolve('pg'), 'postgres.js': require.resolve('postgres') }
const PROGRAM = `const start = performance.now(); require(process.argv[1]); console.log(performance.now() - start)`

async function timeToLoad(file) {
  const { stdout } = await runFile(process.execPath, ['-e', PROGRAM, file])
  return Number(stdout)
}

export async function run(context) {
  const contenders = Object.fromEntries(Object.entries(MODULES).map(([name, file]) => [name, () => timeToLoad(file)]))
  const rounds = context.rounds(21)
  const figures = await interleave(contenders, { rounds })
  const { spread, ...result } = against(figures, { higherIsBetter: false })
  context.report({
    case: 'require',
    unit: 'ms',
    higherIsBetter: false,
    ...result,
    ...(context.quick ? {} : { limit: 50 }),
    detail: { rounds, spread }
  })
}
