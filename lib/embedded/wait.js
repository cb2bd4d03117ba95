'use strict'

/** Waiting for what only polling can tell: kernel locks, and files that another process writes. */

const { EventsError } = require('../errors.js')

/** Crash recovery of a large database takes this long; everything else ends far earlier. */
const PATIENCE = 120_000

const sleep = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds))

/**
 * Polls until `check` answers something truthy, and answers that.
 * @template T
 * @param {() => T | false | undefined | Promise<T | false | undefined>} check
 * @param {string} what completes 'timed out waiting for …'
 * @param {number} [patience] in milliseconds
 * @returns {Promise<T>}
 */
async function until(check, what, patience = PATIENCE) {
  const end = performance.now() + patience
  for (;;) {
    const answer = await check()
    if (answer) return answer
    if (performance.now() > end) {
      throw new EventsError('CONNECTION_FAILED', `timed out after ${patience / 1000} s waiting for ${what}`, {
        retryable: true
      })
    }
    await sleep(8)
  }
}

module.exports = { sleep, until }
