'use strict'

/** Conventional Commits, and what many add to them. */
const CHANGE_TYPES = new Set([
  'build',
  'chore',
  'ci',
  'deps',
  'docs',
  'examples',
  'feat',
  'fix',
  'perf',
  'refactor',
  'release',
  'revert',
  'style',
  'test',
  'types'
])
/** Branches that others are brought up to date with. */
const TRUNKS = new Set(['main', 'master', 'trunk', 'develop', 'development', 'dev', 'default', 'HEAD'])
/** Where '(#12)' at the end of a subject is a pull request; elsewhere '#12' is an issue. */
const SQUASH_PLATFORMS = new Set(['github', 'gitea', 'codeberg', 'git'])
/** More than these in one message is a changelog. */
const MAX_ISSUES = 20

/**
 * How a merge or a squashed pull request names itself, or nothing.
 * `id` is left out where the message names none; `branch` is the branch that was merged, or, of
 * a branch brought up to date, that branch.
 * @param {{ subject: string, body: string, parents?: readonly string[] }} commit
 * @param {string} platform
 * @returns {{ kind: 'merge' | 'squash' | 'sync', id?: string, branch?: string } | undefined}
 */
function mergeOf(commit, platform) {
  const { subject, body } = commit
  const merge = commit.parents ? commit.parents.length > 1 : subject.startsWith('Merge ')
  const gitlab = /^See merge request (?:[^\s!]*)!(\d+)\s*$/m.exec(body)?.[1]
  const azure = /^Merged PR (\d+): /.exec(subject)?.[1]
  const trailing = SQUASH_PLATFORMS.has(platform) ? /\(#(\d+)\)$/.exec(subject)?.[1] : undefined
  if (!merge) {
    const id = gitlab ?? azure ?? trailing
    return id && { kind: 'squash', id }
  }
  const github = /^Merge (?:pull request|PR) #(\d+)(?: from [^/\s]+\/(\S+)| in \S+ from (\S+))?/i.exec(subject)
  if (github) return { kind: 'merge', id: github[1], branch: github[2] ?? github[3] }
  const bitbucket = /^Merged in (\S+) \(pull request #(\d+)\)/.exec(subject)
  if (bitbucket) return { kind: 'merge', id: bitbucket[2], branch: bitbucket[1] }
  const named = /^Merge (?:remote-tracking )?branch '([^']+)'( of \S+)?(?: into '?([^\s']+)'?)?/.exec(subject)
  const id = gitlab ?? azure ?? trailing
  // 'of <url>' is what `git pull` writes: a branch with its own remote self.
  if (!id && named && (named[2] || TRUNKS.has(named[1].replace(/^(?:origin|upstream)\//, '')))) {
    return { kind: 'sync', branch: named[3] }
  }
  return { kind: 'merge', id, branch: named?.[1].replace(/^(?:origin|upstream)\//, '') }
}

/** Issues of this repository that the message closes, each once, by the words that platforms act on. */
function closedIssues({ subject, body }) {
  const ids = new Set()
  for (const [, id] of `${subject}\n${body}`.matchAll(
    /\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+#(\d{1,10})\b/gi
  )) {
    ids.add(id)
    if (ids.size === MAX_ISSUES) break
  }
  return [...ids]
}

/** @returns {{ commit?: string } | undefined} what a revert takes back, where it says so */
function revertOf({ subject, body }) {
  const commit = /^This reverts (?:commit|merge request) ([0-9a-f]{7,64})\b/m.exec(body)?.[1]
  return commit || /^Revert "/.test(subject) ? { commit } : undefined
}

/** The commit that `git cherry-pick -x` says it copied. */
function pickedFrom({ body }) {
  return /^\(cherry picked from commit ([0-9a-f]{7,64})\)\s*$/m.exec(body)?.[1]
}

/** As Dependabot and Renovate phrase it, and people after them. */
function bumpOf({ subject }) {
  const plain = subject.replace(/^\w+(?:\([^)]*\))?!?: /, '')
  const bump = /^bump (\S+) from (\S+) to (\S+)/i.exec(plain)
  if (bump) return { dependency: bump[1], fromVersion: bump[2], toVersion: bump[3] }
  const update =
    /^update (?:[\w.-]+ )?(?:dependency|crate|package|module|action|image|plugin) (\S+) to (v?\d\S*)/i.exec(plain)
  return update ? { dependency: update[1], toVersion: update[2] } : undefined
}

/** @returns {{ changeType?: string, breaking?: true }} */
function changeOf({ subject, body }) {
  const [, type, mark] = /^(\w+)(?:\([^)]*\))?(!)?: /.exec(subject) ?? []
  const changeType = CHANGE_TYPES.has(type?.toLowerCase()) ? type.toLowerCase() : undefined
  const breaking = (changeType && mark) || /^BREAKING[ -]CHANGE: /m.test(body)
  return { ...(changeType && { changeType }), ...(breaking && { breaking: true }) }
}

/** @returns {string[]} 'Name <address>' of each Co-authored-by line */
function coAuthorsOf({ body }) {
  return Array.from(body.matchAll(/^co-authored-by:[ \t]*(.+)$/gim), ([, person]) => person)
}

module.exports = { mergeOf, closedIssues, revertOf, pickedFrom, bumpOf, changeOf, coAuthorsOf }
