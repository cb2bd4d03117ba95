'use strict'

const { FileSummary } = require('./files.js')
const { clampSeconds } = require('./time.js')

/** No diff entry starts with this byte, so it opens a commit. */
const OPENING = '\x01'
const FIELDS = ['hash', 'parents', 'committed', 'authored', 'email', 'name', 'subject', 'body']
/** For `git log -z --raw --numstat`. The author's identity goes through the repository's own .mailmap. */
const FORMAT = 'format:%x01%x00%H%x00%P%x00%ct%x00%at%x00%aE%x00%aN%x00%s%x00%b%x00'

/** Of a longer message or path only the start is kept, so that one commit can't fill the memory. */
const KEPT_BYTES = 65_536

/**
 * @typedef {object} Commit
 * @property {string} hash
 * @property {string[]} [parents] not known at the edge of a shallow clone
 * @property {number} committed seconds since 1970
 * @property {number} authored
 * @property {string} email as bytes, one character each
 * @property {string} name
 * @property {string} subject
 * @property {string} body
 * @property {number} bodyBytes
 * @property {FileSummary} [files] not known there either
 */

/** Reads the output of `git log -z --raw --numstat` chunk by chunk. */
class LogParser {
  /** The bytes of a token whose end has not arrived. */
  #started = []
  #startedBytes = 0
  #commit
  #field = 0
  /** Paths that belong to the diff entry just read. */
  #pathsDue = 0
  #change
  #finished = []

  /** @param {Buffer} chunk @returns {Commit[]} the commits that are complete */
  push(chunk) {
    let from = 0
    for (let end = chunk.indexOf(0); end !== -1; end = chunk.indexOf(0, from)) {
      if (this.#startedBytes === 0) this.#token(chunk.subarray(from, end), end - from)
      else {
        this.#keep(chunk.subarray(from, end))
        const bytes = this.#startedBytes
        const token = Buffer.concat(this.#started)
        this.#started = []
        this.#startedBytes = 0
        this.#token(token, bytes)
      }
      from = end + 1
    }
    if (from < chunk.length) this.#keep(chunk.subarray(from))
    return this.#take()
  }

  /** @returns {Commit[]} the last commit, which nothing follows */
  end() {
    this.#close()
    return this.#take()
  }

  #keep(bytes) {
    const room = KEPT_BYTES - Math.min(this.#startedBytes, KEPT_BYTES)
    // A copy: a slice would keep the whole chunk alive.
    if (room > 0) this.#started.push(Buffer.from(bytes.subarray(0, room)))
    this.#startedBytes += bytes.length
  }

  #take() {
    const finished = this.#finished
    this.#finished = []
    return finished
  }

  #close() {
    if (this.#commit) this.#finished.push(this.#commit)
    this.#commit = undefined
  }

  #token(bytes, length) {
    const field = FIELDS[this.#field]
    if (this.#commit && field !== undefined) {
      this.#field++
      this.#setField(field, bytes, length)
    } else if (this.#pathsDue > 0) {
      this.#pathsDue--
      // Of a rename the second path is the new one.
      if (this.#pathsDue === 0 && this.#change) this.#commit.files.change(this.#change, text(bytes))
    } else this.#entry(bytes)
  }

  #setField(field, bytes, length) {
    const commit = this.#commit
    if (field === 'parents') commit.parents = bytes.length === 0 ? [] : bytes.toString('latin1').split(' ')
    else if (field === 'committed' || field === 'authored') commit[field] = clampSeconds(bytes.toString('latin1'))
    else if (field === 'email' || field === 'hash') commit[field] = bytes.toString('latin1')
    else commit[field] = text(bytes)
    if (field === 'body') commit.bodyBytes = length
  }

  #entry(bytes) {
    // A newline stands between the message and the diff; an empty token between diff and end.
    const entry = text(bytes[0] === 0x0a ? bytes.subarray(1) : bytes)
    if (entry === '') return
    if (entry === OPENING) {
      this.#close()
      this.#commit = { files: new FileSummary() }
      this.#field = 0
    } else if (entry[0] === ':') {
      const [oldMode, newMode, , , status] = entry.slice(1).split(' ')
      this.#change = { status: status[0], submodule: oldMode === '160000' || newMode === '160000' }
      this.#pathsDue = status[0] === 'R' || status[0] === 'C' ? 2 : 1
    } else {
      const [insertions, deletions, path] = split(entry)
      this.#change = undefined
      this.#commit.files.lines(insertions, deletions, path)
      this.#pathsDue = path === '' ? 2 : 0
    }
  }
}

/** '<insertions>\t<deletions>\t<path>', where the path may have tabs too. */
function split(entry) {
  const first = entry.indexOf('\t')
  const second = entry.indexOf('\t', first + 1)
  return [entry.slice(0, first), entry.slice(first + 1, second), entry.slice(second + 1)]
}

/** Bytes that are not UTF-8 become U+FFFD; half a character can't arise. */
function text(bytes) {
  return (bytes.length > KEPT_BYTES ? bytes.subarray(0, KEPT_BYTES) : bytes).toString('utf8')
}

module.exports = { LogParser, FORMAT }
