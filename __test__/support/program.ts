// Programs in processes of their own: crashes, exit codes and signals are seen from outside.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export const PACKAGE = fileURLToPath(new URL('../../index.js', import.meta.url))

export interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
  ms: number
}

/** Runs CommonJS text under Node, with `connect` and `url` at hand; ended after `limit` milliseconds. */
export function program(url: string, text: string, { flags = [] as string[], limit = 60_000 } = {}): Promise<Exit> {
  const source = `const { connect, EventsError } = require(${JSON.stringify(PACKAGE)}); const url = process.env.TEST_URL; ${text}`
  const started = performance.now()
  const child = spawn(process.execPath, [...flags, '-e', source], {
    env: { ...process.env, TEST_URL: url, NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), limit)
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', text => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', text => {
    stderr += text
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ code, signal, stdout, stderr, ms: performance.now() - started })
    })
  })
}
