'use strict'

const { actorOf } = require('./actors.js')
const { KINDS, eventId } = require('./ids.js')
const { bumpOf, changeOf, closedIssues, coAuthorsOf, mergeOf, pickedFrom, revertOf } = require('./message.js')
const { versionOf } = require('./tags.js')

const SHORT_HASH = 12
const SUBJECT_CHARACTERS = 200

/**
 * The events that one commit tells, in the order in which they follow from it. They depend on
 * the commit and its tags alone, so another clone, or the same one later, tells the same.
 * @param {import('./log-parser.js').Commit} commit
 * @param {number} place among the commits of its second
 * @param {readonly import('./tags.js').Tag[]} tags
 * @param {{ repository: import('./repository.js').Repository, people: import('./ids.js').People, subjects: boolean }} context
 * @returns {import('../../index').DomainEvent[]}
 */
function eventsOf(commit, place, tags, { repository, people, subjects }) {
  const repo = repository.name
  const coAuthors = coAuthorsOf(commit)
  const merge = mergeOf(commit, repository.platform)
  const issues = closedIssues(commit)
  const sha = commit.hash.slice(0, SHORT_HASH)
  const about = {
    repo,
    platform: repository.platform,
    userId: people.idOf(commit.email),
    ...actorOf(commit.name, commit.email, coAuthors),
    ...(commit.files?.area !== undefined && { area: tagText(commit.files.area) }),
    ...(merge?.id && { prId: merge.id }),
    ...(merge?.branch && { branch: tagText(merge.branch) })
  }
  const metadata = {
    source: 'git',
    commit: commit.hash,
    correlationId: merge?.id ? `${repo}#${merge.id}` : `${repo}@${sha}`
  }
  const events = []
  const add = (kind, type, parts = {}) => {
    const seconds = parts.seconds ?? commit.committed
    const id = eventId(seconds * 1000, place, kind, [repo, type, commit.hash, ...(parts.identity ?? [])])
    events.push({
      id,
      type,
      timestamp: new Date(seconds * 1000).toISOString(),
      tags: parts.tags ?? about,
      metadata: events.length === 0 ? metadata : { ...metadata, causationId: events[0].id },
      data: { sha, ...parts.data }
    })
  }

  add(KINDS.COMMIT, 'CODE.COMMITTED.SUCCESS', {
    tags: issues.length > 0 ? { ...about, issueId: issues[0] } : about,
    data: commitData(commit, repository, coAuthors.length, subjects)
  })
  for (const issue of issues) {
    add(KINDS.ISSUE, 'ISSUE.CLOSED.SUCCESS', {
      identity: [issue],
      tags: { ...about, issueId: issue },
      data: { closesInCommit: issues.length }
    })
  }
  const bump = bumpOf(commit)
  if (bump) add(KINDS.DEPENDENCY, 'DEPENDENCY.BUMPED.SUCCESS', { data: bump })
  if (commit.files?.ciFiles > 0) add(KINDS.CI, 'CI.CONFIG.CHANGED', { data: { ciFiles: commit.files.ciFiles } })
  const revert = revertOf(commit)
  if (revert) {
    add(KINDS.REVERT, 'CODE.REVERTED.SUCCESS', {
      data: {
        ...commit.files?.size(repository.counted),
        ...(revert.commit && { revertedSha: revert.commit.slice(0, SHORT_HASH) })
      }
    })
  }
  if (merge?.kind === 'sync')
    add(KINDS.MERGE, 'BRANCH.SYNCED.SUCCESS', {
      data: commit.parents ? { parents: commit.parents.length } : {}
    })
  else if (merge) addMerge(add, commit, merge, repository)
  for (const tag of tags) addTag(add, commit, tag, tag.email ? { ...about, userId: people.idOf(tag.email) } : about)
  return events
}

function addMerge(add, commit, merge, repository) {
  const picked = pickedFrom(commit)
  add(KINDS.MERGE, picked ? 'PR.BACKPORTED.SUCCESS' : 'PR.MERGED.SUCCESS', {
    data: {
      mergeMethod: merge.kind === 'merge' ? 'merge' : 'squash_or_rebase',
      ...(merge.kind === 'squash' && commit.files?.size(repository.counted)),
      ...(picked && { pickedSha: picked.slice(0, SHORT_HASH) })
    }
  })
}

/** A light tag has no time and no author of its own: it stands behind its commit. */
function addTag(add, commit, tag, { repo, platform, userId }) {
  const version = versionOf(tag.name)
  // A tag can't be older than what it names; where its clock says so, the commit's time holds.
  const seconds = Math.max(tag.tagged ?? 0, commit.committed)
  add(KINDS.TAG, 'RELEASE.TAGGED.SUCCESS', {
    seconds,
    identity: [tag.name],
    tags: {
      repo,
      platform,
      userId,
      ...(version && { version: tagText(version.version) }),
      ...(version?.package && { package: tagText(version.package) })
    },
    data: {
      tag: tag.name,
      annotated: tag.annotated,
      prerelease: version?.prerelease ?? false,
      commitAgeSeconds: seconds - commit.committed
    }
  })
}

function commitData(commit, repository, coAuthors, subjects) {
  const { files, parents } = commit
  return {
    ...(subjects && { subject: Array.from(commit.subject).slice(0, SUBJECT_CHARACTERS).join('') }),
    ...files?.facts(repository.counted),
    subjectLength: Array.from(commit.subject).length,
    bodyLength: commit.bodyBytes,
    ...(parents && { isMerge: parents.length > 1, parents: parents.length }),
    coAuthors,
    commitDelaySeconds: commit.committed - commit.authored,
    ...changeOf(commit)
  }
}

/** Names of folders and branches come from the repository: long ones would bloat every index on tags. */
function tagText(text) {
  return Array.from(text.slice(0, 256)).slice(0, 128).join('').toWellFormed()
}

module.exports = { eventsOf }
