/** What the tests of the embedded server share: directories, processes, and proof that a server answers. */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { Client } from 'pg'

const require = createRequire(import.meta.url)

export interface EmbeddedOptions {
  directory?: string
  port?: number
  persistent?: boolean
}
export interface Server {
  url: string
  port: number
  pid: number
  joined: boolean
  directory: string
}
export type StartEmbedded = (options?: EmbeddedOptions) => Promise<Server & { stop(): Promise<boolean> }>

export const lib = path.resolve(import.meta.dirname, '..', 'lib')
export const { startEmbedded } = require('../lib/embedded') as { startEmbedded: StartEmbedded }
export const isRoot = process.getuid?.() === 0
export const sleep = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms))

/** Everything of one test file lies in here; every user may pass through, as the server's user must. */
export const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'tamma-embedded-test-')))
fs.chmodSync(root, 0o755)
let count = 0

export const freshDirectory = () => path.join(root, `db-${++count}`)

export function copyTree(from: string, to: string) {
  if (process.platform === 'win32') fs.cpSync(from, to, { recursive: true })
  else execFileSync('cp', ['-a', from, to])
}

let template: Promise<string> | undefined
/** A directory of the caller's own, with a database that was stopped: a copy, as initdb takes long. */
export async function ownDatabase() {
  template ??= (async () => {
    const server = await startEmbedded({ directory: path.join(root, 'template') })
    await query(server.url, 'CREATE TABLE kept AS SELECT 42 AS answer')
    await server.stop()
    return server.directory
  })()
  const directory = freshDirectory()
  copyTree(await template, directory)
  return directory
}

const databases: string[] = []
/** The same for callers who leave it as it was: reused once it is stopped. */
export async function stoppedDatabase() {
  const isFree = (directory: string) => !fs.existsSync(path.join(directory, 'data', 'postmaster.pid'))
  const free = databases.find(isFree) ?? (await ownDatabase())
  if (!databases.includes(free)) databases.push(free)
  return free
}

export async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new Client(url)
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}

/** Of every server and initdb below the folder. */
export function processesUnder(folder: string): { pid: number; args: string }[] {
  return execFileSync('ps', ['-ww', '-eo', 'pid=,args='], { encoding: 'utf8' })
    .split('\n')
    .map(line => /^\s*(\d+) (.*)$/.exec(line))
    .filter(match => match !== null)
    .map(match => ({ pid: Number(match[1]), args: match[2] as string }))
    .filter(({ args }) => /\b(postgres|initdb) -D /.test(args) && args.includes(`${folder}/`))
}

/** A process that ended may stay in the table until its parent asks for it. */
export function isRunning(pid: number) {
  try {
    return !/^Z/.test(execFileSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' }).trim())
  } catch {
    return false
  }
}

export interface ChildError {
  name: string
  code: string
  path?: string
  message: string
}

export class Child {
  readonly process: ChildProcess
  readonly exited: Promise<number | null>
  #waiting: ((line: string) => void)[] = []
  stderr = ''

  constructor(
    options: EmbeddedOptions,
    {
      uid,
      lib: from = lib,
      env = {},
      cwd,
      umask
    }: { uid?: number; lib?: string; env?: object; cwd?: string; umask?: string } = {}
  ) {
    const node = [
      process.execPath,
      path.join(import.meta.dirname, 'embedded-child.cjs'),
      JSON.stringify({ lib: from, options })
    ]
    const [file, ...args] = umask ? ['sh', '-c', `umask ${umask}; exec "$@"`, 'sh', ...node] : node
    this.process = spawn(file as string, args, {
      env: { ...process.env, ...env },
      stdio: 'pipe',
      ...(cwd && { cwd }),
      ...(uid !== undefined && { uid, gid: uid })
    })
    children.add(this)
    this.exited = new Promise(resolve => this.process.once('close', code => resolve(code)))
    this.exited.then(() => {
      children.delete(this)
      for (const waiting of this.#waiting.splice(0)) waiting('{"error":{"code":"EXITED"}}')
    })
    this.process.stderr?.on('data', chunk => {
      this.stderr += chunk
    })
    this.process.stdin?.on('error', () => {})
    createInterface({ input: this.process.stdout as NodeJS.ReadableStream }).on('line', line =>
      this.#waiting.shift()?.(line)
    )
  }

  async ask<T>(command: string): Promise<T> {
    const line = new Promise<string>(resolve => this.#waiting.push(resolve))
    this.process.stdin?.write(`${command}\n`)
    const { value, error } = JSON.parse(await line) as { value: T; error?: ChildError }
    if (error) throw Object.assign(new Error(error.message), error)
    return value
  }

  start = () => this.ask<Server>('start')
  stop = () => this.ask<boolean>('stop')

  kill() {
    this.process.kill('SIGKILL')
    return this.exited
  }

  end() {
    this.process.stdin?.end()
    return this.exited
  }
}

const children = new Set<Child>()

/** Answers the error of a promise that has to fail. */
export async function failure(promise: Promise<unknown>): Promise<ChildError> {
  const answer = await promise.then(
    value => ({ value }),
    (error: ChildError) => ({ error })
  )
  if ('error' in answer) return answer.error
  throw new Error(`expected an error, got ${JSON.stringify(answer.value)}`)
}

/** Ends what this file started, removes its files, and answers the servers that had been left. */
export async function cleanUp() {
  for (const child of children) await child.kill()
  await sleep(50)
  const left = processesUnder(root)
  for (const { pid } of left) {
    try {
      process.kill(pid, 'SIGQUIT')
    } catch {}
  }
  if (left.length > 0) await sleep(300)
  fs.rmSync(root, { recursive: true, force: true, maxRetries: 5 })
  return left.map(({ args }) => args)
}
