'use strict'

const { createHash, createHmac } = require('node:crypto')

/** Kinds of events of one commit, in the order in which they follow from it. */
const KINDS = Object.freeze({ COMMIT: 0, ISSUE: 1, DEPENDENCY: 2, CI: 3, REVERT: 4, MERGE: 5, TAG: 6 })
const KINDS_PER_COMMIT = 8
/** What is left of the 12 bits that follow the time in a UUIDv7. */
const POSITIONS = 4096 / KINDS_PER_COMMIT

/**
 * A UUIDv7 that is always the same for the same event: the time to the millisecond, then 12 bits
 * that order the events of that millisecond (place of the commit, then kind), then a hash of what
 * the event is. So a second import finds nothing but duplicates, and `ORDER BY timestamp, id`
 * keeps a commit behind its parent though git's clock ticks in seconds.
 * @param {number} milliseconds since 1970
 * @param {number} position see `SameTime`
 * @param {number} kind one of KINDS
 * @param {readonly string[]} identity what makes this event one and no other
 */
function eventId(milliseconds, position, kind, identity) {
  const bytes = createHash('sha256').update(identity.join('\0')).digest().subarray(0, 16)
  bytes.writeUIntBE(milliseconds, 0, 6)
  bytes.writeUInt16BE(0x7000 | (position * KINDS_PER_COMMIT + kind), 6)
  bytes[8] = 0x80 | (bytes[8] & 0x3f)
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/** People whose pseudonym is kept at hand. */
const PEOPLE = 10_000

/**
 * Persons without name or address: 12 hex digits of HMAC-SHA256 of the e-mail address. The key
 * is the repository's name, so that tables of hashed addresses don't fit and people can't be
 * followed from one repository to another. It is a pseudonym, not a secret: whoever has the
 * repository has the addresses and can compute it again.
 */
class People {
  #repository
  #known = new Map()

  constructor(repository) {
    this.#repository = repository
  }

  /** @param {string} email as bytes, one character each */
  idOf(email) {
    let id = this.#known.get(email)
    if (id === undefined) {
      const address = email.toLowerCase().replace(/^\d+\+(?=[^@]*@users\.noreply\.)/, '')
      id = createHmac('sha256', this.#repository).update(address, 'latin1').digest('hex').slice(0, 12)
      if (this.#known.size === PEOPLE) this.#known.clear()
      this.#known.set(email, id)
    }
    return id
  }
}

/** Far more than share a second where clocks are sound; two such generations take about 10 MB. */
const GENERATION = 32_768

/**
 * The place of a commit among those of the same second: how many of its line of parents have its
 * very time. It depends on ancestors alone, which never change, so it stays the same as history
 * grows; commits of one second that don't descend from each other share a place and are told
 * apart by their hashes. From the 512th in line on, all share the last place.
 */
class SameTime {
  #young = new Map()
  #old = new Map()

  /** Commits must come parents first. */
  placeOf(hash, seconds, parents) {
    let place = 0
    for (const parent of parents) {
      const known = this.#young.get(parent) ?? this.#old.get(parent)
      if (known?.seconds === seconds) place = Math.max(place, Math.min(known.place + 1, POSITIONS - 1))
    }
    if (this.#young.size === GENERATION) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(hash, { seconds, place })
    return place
  }
}

module.exports = { KINDS, eventId, People, SameTime }
