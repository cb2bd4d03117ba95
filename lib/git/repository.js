'use strict'

const { readFile, stat } = require('node:fs/promises')
const path = require('node:path')
const { EventsError } = require('../errors.js')
const { gitOutput, gitText } = require('./process.js')

/** Parts of a host name that tell the platform; what else serves git over a network is 'git'. */
const PLATFORMS = ['github', 'gitlab', 'bitbucket', 'codeberg', 'gitea', 'azure', 'sourcehut']

/**
 * A repository that can be read.
 * @typedef {object} Repository
 * @property {string} directory where git is run
 * @property {string} name 'owner/name' of its remote, else the name of its folder
 * @property {string} platform
 * @property {boolean} counted lines and renames can be told; not in a partial clone, where blobs may be missing
 * @property {Set<string>} edge the commits of a shallow clone whose parents are missing
 * @property {string[]} revisions what `git log` starts from; empty where there is no commit
 */

/**
 * @param {string} directory any folder inside the repository, or a bare repository
 * @param {AbortSignal} [signal]
 * @returns {Promise<Repository>}
 */
async function openRepository(directory, signal) {
  if (typeof directory !== 'string' || directory === '' || directory.includes('\0')) {
    throw new EventsError('INVALID_EVENT', 'the path of a git repository must be text and not empty', { path: 'path' })
  }
  const folder = await stat(directory).catch(() => undefined)
  if (!folder) throw new EventsError('INVALID_EVENT', `there is no folder ${directory}`, { path: 'path' })
  if (!folder.isDirectory()) throw new EventsError('INVALID_EVENT', `${directory} is not a folder`, { path: 'path' })

  const common = await commonDirectory(directory, signal)
  const config = await remoteConfig(directory, signal)
  const remote = identifyRemote(config.url)
  return {
    directory,
    name: remote?.name ?? folderName(common),
    platform: remote?.platform ?? 'git',
    counted: !config.partial,
    edge: await shallowEdge(directory, signal),
    revisions: await revisions(directory, signal)
  }
}

/** The name under which a repository's events are kept, as `tags.repo`. */
async function repositoryName(directory, options = {}) {
  return (await openRepository(directory, options.signal)).name
}

/** The folder that holds the objects: one for all worktrees. */
async function commonDirectory(directory, signal) {
  try {
    const answer = await gitText(directory, ['rev-parse', '--git-common-dir'], signal)
    return path.resolve(directory, answer.replace(/\r?\n$/, ''))
  } catch (error) {
    const complaint = error.gitComplaint ?? ''
    if (complaint.includes('not a git repository')) {
      throw new EventsError('INVALID_EVENT', `${directory} is not in a git repository`, { path: 'path' })
    }
    if (complaint.includes('dubious ownership')) {
      throw new EventsError(
        'INVALID_EVENT',
        `git refuses ${directory}, which belongs to another user; allow it with: git config --global --add safe.directory <path>`,
        { path: 'path' }
      )
    }
    throw error
  }
}

/** '/src/shop/.git' and '/srv/shop.git' are both 'shop'. */
function folderName(common) {
  const folder = path.basename(common) === '.git' ? path.dirname(common) : common
  return path.basename(folder).replace(/\.git$/, '') || 'repository'
}

/** The URL of `origin`, else of the first remote; it may hold a password and stays in this file. */
async function remoteConfig(directory, signal) {
  let url
  let partial = false
  const wanted = '^(remote\\..*\\.(url|promisor)|extensions\\.partialclone)$'
  const answer = await optional(gitText(directory, ['config', '-z', '--get-regexp', wanted], signal))
  for (const entry of answer.split('\0')) {
    const [key, value = ''] = entry.split('\n', 2)
    if (key.endsWith('.url') && (url === undefined || key === 'remote.origin.url')) url = value
    if (key.endsWith('.promisor') || key === 'extensions.partialclone') partial = true
  }
  return { url, partial }
}

/**
 * Name and platform of a remote, without user, password and host: the same for a clone over
 * HTTPS and one over SSH, so that both import the same events.
 */
function identifyRemote(url) {
  if (url === undefined) return undefined
  const remote =
    /^[a-z][a-z0-9+.-]*:\/\/(?:[^@/]*@)?([^/:]*)(?::\d+)?\/(.*)$/i.exec(url) ??
    /^(?:[^@/]*@)?([^/:\\]{2,}):(.*)$/.exec(url)
  const segments = (remote ? remote[2] : url)
    .split(/[/\\]+/)
    .filter(segment => segment !== '' && segment !== '.' && segment !== '..')
  if (segments.length === 0) return undefined
  segments.push(segments.pop().replace(/\.git$/, '') || 'repository')
  if (!remote || remote[1] === '') return { name: segments.at(-1), platform: 'git' }
  const platform = PLATFORMS.find(known => remote[1].toLowerCase().includes(known))
  // On an unknown host the path may be that of a home folder.
  return { name: (platform ? segments : segments.slice(-2)).join('/'), platform: platform ?? 'git' }
}

/** As git shows them, these commits have no parents and add every file there is, which is not what they did. */
async function shallowEdge(directory, signal) {
  const file = (await gitText(directory, ['rev-parse', '--git-path', 'shallow'], signal)).replace(/\r?\n$/, '')
  try {
    return new Set((await readFile(path.resolve(directory, file), 'latin1')).split('\n').filter(Boolean))
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
    return new Set()
  }
}

/** Local and remote branches, tags and what is checked out; not the stash, notes or replaced objects. */
async function revisions(directory, signal) {
  const head = await optional(gitText(directory, ['rev-parse', '--verify', '--quiet', 'HEAD^{commit}'], signal))
  const globs = ['--branches', '--tags', '--remotes']
  if (head !== '') return [head.trim(), ...globs]
  for await (const _ of gitOutput(directory, ['rev-list', '--max-count=1', ...globs], signal)) return globs
  return []
}

/** '' where git answers that there is none, which it says by an exit code without a word. */
async function optional(text) {
  try {
    return await text
  } catch (error) {
    if (error.gitComplaint === '') return ''
    throw error
  }
}

module.exports = { openRepository, repositoryName, identifyRemote }
