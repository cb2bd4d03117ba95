import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import * as programs from './package/programs'
import { Databases, type Project, platform, ROOT, Workshop } from './package/project'

// Each test starts other programs, compilers among them: much of it is waiting for a busy machine.
vi.setConfig({ testTimeout: 240_000 })

const databases = new Databases()
let workshop: Workshop

beforeAll(async () => {
  workshop = await Workshop.open()
})
afterAll(async () => {
  workshop?.close()
  await databases.close()
})

const seenBy = (stdout: string) => JSON.parse(stdout.trim().split('\n').at(-1) ?? '')

describe('the tarballs', () => {
  it('hold what runs and nothing else', () => {
    const files = workshop.main.files.map(file => file.path)
    for (const path of [
      'index.js',
      'index.d.ts',
      'native/binding.js',
      'bin/tamma-events.js',
      'LICENSE',
      'CHANGELOG.md'
    ]) {
      expect(files).toContain(path)
    }
    const kept =
      /^(?:index\.(?:js|d\.ts)|package\.json|README\.md|LICENSE|CHANGELOG\.md|bin\/.*|lib\/.*|native\/binding\.(?:js|d\.ts))$/
    expect(files.filter(path => !kept.test(path))).toEqual([])
    expect(workshop.binary.files.map(file => file.path).sort()).toEqual([
      'README.md',
      `events.${platform()}.node`,
      'package.json'
    ])
  })

  it('have no install script and need nothing', () => {
    const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
    expect(manifest.dependencies).toBeUndefined()
    expect(Object.keys(manifest.scripts).filter(name => /^(?:pre|post)?(?:install|prepare)$/.test(name))).toEqual([])
  })
})

describe('a fresh project', () => {
  it('uses it by import', async () => {
    const project = await workshop.install('esm', { type: 'module' }, { 'main.js': programs.esm })
    const { code, stdout, stderr } = await project.node(['main.js'], { URL: await databases.create() })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(seenBy(stdout)).toEqual({ same: true, seen: programs.SEEN })
  })

  it('uses it by require, and its command line', async () => {
    const project = await workshop.install('cjs', {}, { 'main.js': programs.cjs })
    const { code, stdout, stderr } = await project.node(['main.js'], { URL: await databases.create() })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(seenBy(stdout)).toEqual({ same: true, seen: programs.SEEN })

    const help = await project.node(['node_modules/@tamma/events/bin/tamma-events.js', '--help'])
    expect(help).toMatchObject({ code: 0, stdout: expect.stringContaining('tamma-events') })
  })

  it('uses it in worker threads, and may terminate them', async () => {
    const url = await databases.create()
    const project = await workshop.project('workers', {}, { 'main.js': programs.workers })
    const { code, stdout, stderr } = await project.node(['main.js'], { URL: url })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(seenBy(stdout)).toEqual({ all: Array(4).fill({ message: programs.SEEN, code: 0 }), terminated: 1 })
    await expect.poll(() => databases.sessions(url), { timeout: 10_000 }).toBe(0)
  })

  it.each([
    ['bundler', 'esnext', ['typescript']],
    ['node16', 'node16', ['typescript', 'typescript-5']]
  ])('compiles under strict with moduleResolution %s', async (moduleResolution, module, compilers) => {
    const compilerOptions = { strict: true, noEmit: true, target: 'es2022', types: ['node'], module, moduleResolution }
    const project = await workshop.project(
      `typescript-${moduleResolution}`,
      {},
      {
        'tsconfig.json': JSON.stringify({ compilerOptions, include: ['*'] }),
        'module.mts': programs.typescript,
        'common.cts': programs.typescript
      }
    )
    project.link('typescript', 'typescript-5', '@types/node')
    for (const compiler of compilers) {
      expect(await project.node([`node_modules/${compiler}/bin/tsc`])).toEqual({ code: 0, stdout: '', stderr: '' })
    }
  })

  it.each([
    ['one process', ['--runInBand']],
    ['several', ['--maxWorkers=2']]
  ])('uses it under Jest: %s', async (how, args) => {
    const url = await databases.create()
    const project = await workshop.project(
      `jest-${how.split(' ')[0]}`,
      {},
      {
        'jest.config.js': 'module.exports = { transform: {} }',
        'a.test.js': programs.jest,
        'b.test.js': programs.jest
      }
    )
    project.link('jest')
    const { code, stdout, stderr } = await project.node(['node_modules/jest/bin/jest.js', ...args], {
      URL: url,
      CI: 'true'
    })
    expect(stdout + stderr).toMatch(/Tests: +4 passed, 4 total/)
    expect(stdout + stderr).not.toMatch(/did not exit|failed to exit/)
    expect(code).toBe(0)
    expect(await databases.sessions(url)).toBe(0)
  })

  it.each(['threads', 'forks'])('uses it under Vitest: %s', async pool => {
    const url = await databases.create()
    const project = await workshop.project(
      `vitest-${pool}`,
      { type: 'module' },
      {
        'a.test.js': programs.vitest,
        'b.test.js': programs.vitest
      }
    )
    project.link('vitest')
    const command = ['node_modules/vitest/vitest.mjs', 'run', '--pool', pool, '--no-color']
    const { code, stdout, stderr } = await project.node(command, { URL: url, CI: 'true' })
    expect(stdout + stderr).toMatch(/Tests +4 passed \(4\)/)
    expect(code).toBe(0)
    expect(await databases.sessions(url)).toBe(0)
  })
})

describe('where the addon cannot be loaded', () => {
  const main = `require('@tamma/events').connect({ url: 'postgres://127.0.0.1:1/none' })`
  let whole: Project

  beforeAll(async () => {
    whole = await workshop.project('load', {}, { 'main.js': main })
  })

  async function failure(project: Project) {
    const { code, stderr } = await project.node(['main.js'])
    expect(code).toBe(1)
    return stderr
  }
  function spoilt(name: string, spoil: (addon: string) => void) {
    const project = workshop.copy(whole, name)
    spoil(project.addon)
    return failure(project)
  }

  it('is loaded as it was installed', async () => {
    expect(await failure(whole)).toContain('CONNECTION_FAILED')
  })

  it('says that the platform package is missing', async () => {
    const said = await spoilt('load-no-package', addon => rmSync(join(addon, '..'), { recursive: true }))
    expect(said).toContain(`Cannot find module '@tamma/events-${platform()}'`)
  })

  it('says that its file is missing', async () => {
    expect(await spoilt('load-no-file', rmSync)).toContain(`events-${platform()}`)
  })

  it.each([
    ['empty', (addon: string) => truncateSync(addon, 0)],
    ['cut short', (addon: string) => truncateSync(addon, 40)],
    ['something else', (addon: string) => writeFileSync(addon, 'not a library\n'.repeat(100))]
  ])("says the system loader's own reason for a file that is %s", async (what, spoil) => {
    const said = await spoilt(`load-${what.replaceAll(' ', '-')}`, spoil)
    expect(said).toContain(`events.${platform()}.node`)
    if (process.platform === 'linux')
      expect(said).toMatch(/invalid ELF header|file too short|cannot read file data|exec format/i)
  })
})
