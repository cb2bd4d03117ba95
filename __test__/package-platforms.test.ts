import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, it } from 'vitest'

const ROOT = resolve(__dirname, '..')
const manifestOf = (folder: string) => JSON.parse(readFileSync(join(ROOT, folder, 'package.json'), 'utf8'))
const main = manifestOf('.')

/** The platform package of each target that package.json names. */
const PLATFORMS: Record<string, { folder: string; os: string; cpu: string; libc?: string }> = {
  'x86_64-unknown-linux-gnu': { folder: 'linux-x64-gnu', os: 'linux', cpu: 'x64', libc: 'glibc' },
  'aarch64-unknown-linux-gnu': { folder: 'linux-arm64-gnu', os: 'linux', cpu: 'arm64', libc: 'glibc' },
  'x86_64-unknown-linux-musl': { folder: 'linux-x64-musl', os: 'linux', cpu: 'x64', libc: 'musl' },
  'aarch64-unknown-linux-musl': { folder: 'linux-arm64-musl', os: 'linux', cpu: 'arm64', libc: 'musl' },
  'x86_64-apple-darwin': { folder: 'darwin-x64', os: 'darwin', cpu: 'x64' },
  'aarch64-apple-darwin': { folder: 'darwin-arm64', os: 'darwin', cpu: 'arm64' },
  'x86_64-pc-windows-msvc': { folder: 'win32-x64-msvc', os: 'win32', cpu: 'x64' }
}

it('there is a platform package for each target, and no other', () => {
  expect([...main.napi.targets].sort()).toEqual(Object.keys(PLATFORMS).sort())
  expect(readdirSync(join(ROOT, 'npm')).sort()).toEqual(
    Object.values(PLATFORMS)
      .map(p => p.folder)
      .sort()
  )
})

it.each(Object.values(PLATFORMS))('$folder agrees with the main package', ({ folder, os, cpu, libc }) => {
  const { version, license, author, homepage, repository, bugs, engines, publishConfig, ...own } = manifestOf(
    `npm/${folder}`
  )
  const { directory, ...repositoryOf } = repository
  const shared = { version, license, author, homepage, repository: repositoryOf, bugs, engines, publishConfig }
  expect(main).toMatchObject(shared)
  expect(directory).toBe(`npm/${folder}`)
  const binary = `${main.napi.binaryName}.${folder}.node`
  expect(own).toEqual({
    name: `${main.name}-${folder}`,
    description: expect.stringContaining(`binary of ${main.name} for`),
    os: [os],
    cpu: [cpu],
    ...(libc && { libc: [libc] }),
    main: binary,
    files: [binary]
  })
  expect(readFileSync(join(ROOT, 'npm', folder, 'README.md'), 'utf8')).toContain(`${main.name}-${folder}`)
})

it('Cargo.toml has the version, and the changelog an entry for it', () => {
  expect(readFileSync(join(ROOT, 'Cargo.toml'), 'utf8')).toMatch(new RegExp(`^version = "${main.version}"$`, 'm'))
  expect(readFileSync(join(ROOT, 'CHANGELOG.md'), 'utf8')).toMatch(new RegExp(`^## \\[?${main.version}\\]?`, 'm'))
})
