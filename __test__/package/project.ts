// Fresh projects that install the package as users get it: from the packed tarballs.
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import pg from 'pg'

export const ROOT = resolve(__dirname, '../..')
const npm = process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ['npm']

export interface Outcome {
  code: number | string | null
  stdout: string
  stderr: string
}

/** Runs a program to its end; a failure is an outcome, and so is one that does not end. */
export function run(command: readonly string[], cwd: string, env: Record<string, string> = {}): Promise<Outcome> {
  const [program = '', ...args] = command
  const { NODE_OPTIONS: _, VITEST: __, ...outside } = process.env
  const options = { cwd, env: { ...outside, ...env }, timeout: 180_000, maxBuffer: 1 << 26 }
  return new Promise(settle => {
    execFile(program, args, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : error.killed ? 'did not end' : (error.code ?? error.signal ?? null)
      settle({ code, stdout, stderr })
    })
  })
}

async function succeed(command: readonly string[], cwd: string): Promise<string> {
  const { code, stdout, stderr } = await run(command, cwd)
  if (code !== 0) throw new Error(`${command.join(' ')} failed (${code})\n${stdout}${stderr}`)
  return stdout
}

/** The name of this machine's platform package, as napi has it. */
export function platform(): string {
  if (process.platform === 'darwin') return `darwin-${process.arch}`
  if (process.platform === 'win32') return `win32-${process.arch}-msvc`
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } }
  return `linux-${process.arch}-${header.glibcVersionRuntime ? 'gnu' : 'musl'}`
}

export interface Packed {
  filename: string
  files: { path: string; size: number }[]
}

async function pack(folder: string, destination: string): Promise<Packed> {
  const command = [...npm, 'pack', '--json', '--ignore-scripts', '--pack-destination', destination]
  const [packed] = JSON.parse(await succeed(command, folder)) as Packed[]
  if (packed === undefined) throw new Error(`npm pack said nothing in ${folder}`)
  return packed
}

/** A temporary folder with the tarballs, in which projects are made. */
export class Workshop {
  private installed: string | undefined

  private constructor(
    private readonly folder: string,
    readonly main: Packed,
    readonly binary: Packed
  ) {}

  static async open(): Promise<Workshop> {
    const folder = realpathSync(mkdtempSync(join(tmpdir(), 'tamma-package-')))
    const name = platform()
    const staged = join(folder, 'platform')
    cpSync(join(ROOT, 'npm', name), staged, { recursive: true })
    cpSync(join(ROOT, 'native', `events.${name}.node`), join(staged, `events.${name}.node`))
    return new Workshop(folder, await pack(ROOT, folder), await pack(staged, folder))
  }

  /** A new project with these files, in which npm installs both packages. */
  async install(name: string, manifest: object, files: Record<string, string>): Promise<Project> {
    const project = this.make(name, manifest, files)
    const tarballs = [this.main, this.binary].map(packed => join(this.folder, packed.filename))
    const quiet = ['--no-audit', '--no-fund', '--prefer-offline', '--omit=optional', '--ignore-scripts']
    await succeed([...npm, 'install', ...quiet, ...tarballs], project.folder)
    this.installed ??= join(project.folder, 'node_modules')
    return project
  }

  /** The same without waiting for npm: with a copy of what it installed before. */
  async project(name: string, manifest: object, files: Record<string, string>): Promise<Project> {
    if (this.installed === undefined) return this.install(name, manifest, files)
    const project = this.make(name, manifest, files)
    cpSync(this.installed, join(project.folder, 'node_modules'), { recursive: true, verbatimSymlinks: true })
    return project
  }

  private make(name: string, manifest: object, files: Record<string, string>): Project {
    const project = new Project(join(this.folder, name))
    project.write({ 'package.json': JSON.stringify({ name, private: true, ...manifest }), ...files })
    return project
  }

  /** The same project under another name, to be spoilt. */
  copy(project: Project, name: string): Project {
    const folder = join(this.folder, name)
    cpSync(project.folder, folder, { recursive: true, verbatimSymlinks: true })
    return new Project(folder)
  }

  close(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}

export class Project {
  constructor(readonly folder: string) {}

  write(files: Record<string, string>): void {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(this.folder, path)), { recursive: true })
      writeFileSync(join(this.folder, path), text)
    }
  }

  /** Lends the project development tools of this repository. */
  link(...packages: string[]): void {
    for (const name of packages) {
      const path = join(this.folder, 'node_modules', name)
      if (existsSync(path)) continue
      mkdirSync(dirname(path), { recursive: true })
      symlinkSync(join(ROOT, 'node_modules', name), path, 'junction')
    }
  }

  /** The file of the native addon that this project would load. */
  get addon(): string {
    const name = platform()
    return join(this.folder, 'node_modules/@tamma', `events-${name}`, `events.${name}.node`)
  }

  node(args: readonly string[], env?: Record<string, string>): Promise<Outcome> {
    return run([process.execPath, ...args], this.folder, env)
  }
}

/** Databases of the test server, one for each project. */
export class Databases {
  private readonly names: string[] = []
  private readonly url: string

  constructor() {
    const url = process.env.TAMMA_TEST_DATABASE_URL
    if (!url) throw new Error('TAMMA_TEST_DATABASE_URL is not set; `npm test -- package` sets it')
    this.url = url
  }

  private async ask(statement: string): Promise<pg.QueryResult> {
    const client = new pg.Client({ connectionString: this.url })
    await client.connect()
    try {
      return await client.query(statement)
    } finally {
      await client.end()
    }
  }

  /** The url of a new, empty database. */
  async create(): Promise<string> {
    const name = `package_${randomBytes(6).toString('hex')}`
    await this.ask(`create database ${name}`)
    this.names.push(name)
    const url = new URL(this.url)
    url.pathname = `/${name}`
    return url.href
  }

  /** How many sessions the database of this url has. */
  async sessions(url: string): Promise<number> {
    const name = new URL(url).pathname.slice(1)
    const { rows } = await this.ask(`select count(*)::int as n from pg_stat_activity where datname = '${name}'`)
    return rows[0].n
  }

  async close(): Promise<void> {
    for (const name of this.names) await this.ask(`drop database if exists ${name} with (force)`)
  }
}
