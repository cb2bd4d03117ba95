'use strict'

const { gitOutput, gitText } = require('./process.js')
const { clampSeconds } = require('./time.js')

const FORMAT =
  '%(refname:strip=2)%00%(objecttype)%00%(objectname)%00%(*objecttype)%00%(*objectname)%00%(taggerdate:unix)%00%(taggeremail)%00'
const FIELDS = 7

/**
 * @typedef {object} Tag
 * @property {string} name
 * @property {boolean} annotated
 * @property {number} [tagged] seconds since 1970, where the tag says
 * @property {string} [email] of the tagger, as bytes, one character each
 */

/**
 * The tags by the commit they name. All are held, as one commit may bear many and git tells a
 * commit's tags only from the side of the tags.
 * @param {string} directory
 * @param {AbortSignal} [signal]
 * @returns {Promise<Map<string, Tag[]>>}
 */
async function readTags(directory, signal) {
  const tags = new Map()
  const listed = gitOutput(directory, ['for-each-ref', `--format=${FORMAT}`, 'refs/tags'], signal)
  for await (const [name, ...fields] of records(listed)) {
    const [type, object, innerType, inner, tagged, address] = fields.map(bytes => bytes.toString('latin1'))
    let commit = type === 'commit' ? object : innerType === 'commit' ? inner : undefined
    if (innerType === 'tag') commit = await peel(directory, inner, signal)
    if (commit === undefined) continue
    const tag = { name: name.toString('utf8'), annotated: type === 'tag' }
    if (/^\d+$/.test(tagged)) tag.tagged = clampSeconds(tagged)
    const email = /<(.*)>/.exec(address)?.[1]
    if (email) tag.email = email
    const others = tags.get(commit)
    if (others) others.push(tag)
    else tags.set(commit, [tag])
  }
  return tags
}

/** A tag of a tag: the commit at its end, or nothing where something else is there. */
async function peel(directory, object, signal) {
  try {
    return (await gitText(directory, ['rev-parse', '--verify', '--quiet', `${object}^{commit}`], signal)).trim()
  } catch (error) {
    if (error.gitComplaint === undefined) throw error
    return undefined
  }
}

async function* records(chunks) {
  let rest = Buffer.alloc(0)
  let fields = []
  for await (const chunk of chunks) {
    rest = Buffer.concat([rest, chunk])
    let from = 0
    for (let end = rest.indexOf(0); end !== -1; end = rest.indexOf(0, from)) {
      // for-each-ref ends each record with a newline, which lands before the next name.
      fields.push(rest.subarray(rest[from] === 0x0a ? from + 1 : from, end))
      if (fields.length === FIELDS) {
        yield fields
        fields = []
      }
      from = end + 1
    }
    rest = rest.subarray(from)
  }
}

/** A longer name is no version's, and the pattern below would take its time over it. */
const LONGEST_VERSIONED = 100

/**
 * The version that a tag's name ends with: 'v1.2.3', 'core@2.0.0-rc.1', 'release-2024.1'.
 * @returns {{ version: string, prerelease: boolean, package?: string } | undefined}
 */
function versionOf(name) {
  if (name.length > LONGEST_VERSIONED) return undefined
  const match = /^(?:(.+?)[@/_-])?v?(\d+(?:\.\d+)+)([-+.]?[0-9A-Za-z][0-9A-Za-z.+-]*)?$/.exec(name)
  if (!match) return undefined
  const [, prefix, numbers, suffix = ''] = match
  const named = prefix !== undefined && !/^(?:v|ver|version|rel|release)$/i.test(prefix)
  return {
    version: numbers + suffix,
    prerelease: suffix !== '' && !suffix.startsWith('+'),
    ...(named && { package: prefix })
  }
}

module.exports = { readTags, versionOf }
