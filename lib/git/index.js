'use strict'

const { eventsOf } = require('./events.js')
const { People, SameTime } = require('./ids.js')
const { FORMAT, LogParser } = require('./log-parser.js')
const { gitOutput, gitText } = require('./process.js')
const { openRepository, repositoryName } = require('./repository.js')
const { readTags } = require('./tags.js')

/**
 * Everything in a user's own configuration that would change the output is set here, and nothing
 * that a repository's configuration could name is run: no pager, no diff driver, no signature check.
 */
const LOG = [
  '-c',
  'log.showRoot=true',
  '-c',
  'diff.renameLimit=1000',
  'log',
  '-z',
  '--date-order',
  '--reverse',
  '--no-color',
  '--no-decorate',
  '--no-notes',
  '--no-show-signature',
  '--no-ext-diff',
  '--no-textconv',
  '--ignore-submodules=none',
  '--submodule=short',
  '--diff-algorithm=default',
  '--encoding=UTF-8',
  `--format=${FORMAT}`,
  '--raw'
]

const NO_TAGS = Object.freeze([])
/** Commits between two reports of progress. */
const REPORT_EVERY = 500

/**
 * The history of a local git repository as events, parents before children and by time otherwise.
 * One commit is held at a time; git itself holds the list of commits, as ordering them takes.
 * @param {string} path any folder in the repository, or a bare repository
 * @param {{ signal?: AbortSignal, onProgress?: (progress: import('../../index').Progress) => void, subjects?: boolean }} [options]
 *   `subjects`: the first line of each message too, which is somebody's text; left out by default
 * @returns {AsyncGenerator<import('../../index').DomainEvent, void, undefined>}
 */
async function* gitEvents(path, options = {}) {
  const { signal, onProgress, subjects = false } = options
  const started = performance.now()
  const repository = await openRepository(path, signal)
  if (repository.revisions.length === 0) return
  const tags = await readTags(path, signal)
  const order = new SameTime()
  const context = { repository, people: new People(repository.name), subjects }
  const counting = new AbortController()
  let total = null
  const counted = onProgress && countCommits(repository, counting.signal).then(count => (total = count), ignore)
  let done = 0
  const report = () =>
    onProgress?.({ done, total, unit: 'commits', phase: 'read', elapsed: performance.now() - started })

  try {
    // One loop, as each generator between git and the reader costs every event a few microtasks.
    for await (const commits of parsed(repository, signal)) {
      for (const commit of commits) {
        const place = order.placeOf(commit.hash, commit.committed, commit.parents)
        if (repository.edge.has(commit.hash)) commit.parents = commit.files = undefined
        for (const event of eventsOf(commit, place, tags.get(commit.hash) ?? NO_TAGS, context)) yield event
        if (++done % REPORT_EVERY === 0) report()
      }
    }
    total = done
    report()
  } finally {
    counting.abort()
    await counted
  }
}

/** The commits of each chunk that git writes. */
async function* parsed(repository, signal) {
  const parser = new LogParser()
  // Finding renames and counting lines needs the blobs, which a partial clone may lack.
  const detail = repository.counted ? ['--numstat', '-M'] : ['--no-renames']
  for await (const chunk of gitOutput(
    repository.directory,
    [...LOG, ...detail, ...repository.revisions, '--'],
    signal
  )) {
    yield parser.push(chunk)
  }
  yield parser.end()
}

/** Without the number of commits there is still progress to tell. */
function ignore() {}

async function countCommits(repository, signal) {
  return Number(await gitText(repository.directory, ['rev-list', '--count', ...repository.revisions, '--'], signal))
}

module.exports = { gitEvents, repositoryName }
