// The command line as a child process.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const bin = fileURLToPath(new URL('../bin/tamma-events.js', import.meta.url))

export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export function start(args: readonly string[], env: NodeJS.ProcessEnv = {}, cwd?: string) {
  const { DATABASE_URL: _, DEBUG: __, ...inherited } = process.env
  const child = spawn(process.execPath, [bin, ...args], {
    cwd,
    env: { ...inherited, ...env },
    stdio: ['pipe', 'pipe', 'pipe']
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', text => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', text => {
    stderr += text
  })
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
  return { child, ended, output: () => stdout + stderr }
}

export async function run(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  input = '',
  cwd?: string
): Promise<Ended> {
  const { child, ended } = start(args, env, cwd)
  child.stdin.end(input)
  return ended
}
