'use strict'

/** The last second of the year 9999; a broken clock can say anything. */
const LAST_SECOND = 253_402_300_799

/** Seconds since 1970 as git writes them, within what an event's time can be. @param {string} digits */
function clampSeconds(digits) {
  const value = Number(digits)
  return Number.isFinite(value) ? Math.min(Math.max(Math.trunc(value), 0), LAST_SECOND) : 0
}

module.exports = { clampSeconds }
