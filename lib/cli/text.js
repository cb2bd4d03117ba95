'use strict'

/** C0, DEL, C1 and changes of direction: an event's text could otherwise move the cursor or hide what follows. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROLS = /[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u
const ZERO = /^[\p{M}\p{Cf}]$/u
// biome-ignore lint/suspicious/noControlCharactersInRegex: colours take no room
const COLOUR = /\x1b\[\d+m/g

const SHORT = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

/** @param {string} text */
function printable(text) {
  return text.replace(
    CONTROLS,
    character => SHORT[character] ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  )
}

/** How many cells of a terminal a text takes. @param {string} text */
function widthOf(text) {
  const plain = text.replace(COLOUR, '')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the whole of ASCII
  if (/^[\x00-\x7f]*$/.test(plain)) return plain.length
  let width = 0
  for (const character of plain) width += cells(character)
  return width
}

function cells(character) {
  return ZERO.test(character) ? 0 : WIDE.test(character) ? 2 : 1
}

/** At most so many cells, with '…' where something was cut. @param {string} text @param {number} width */
function truncate(text, width) {
  if (widthOf(text) <= width) return text
  let kept = ''
  let used = 1
  for (const character of text) {
    used += cells(character)
    if (used > width) break
    kept += character
  }
  return `${kept}…`
}

/** @param {string} text @param {number} width */
function padEnd(text, width) {
  return text + ' '.repeat(Math.max(0, width - widthOf(text)))
}

/** @param {string} text @param {number} width */
function padStart(text, width) {
  return ' '.repeat(Math.max(0, width - widthOf(text))) + text
}

const integers = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 })

/** 196137 as '196,137'. @param {number} value */
function count(value) {
  return integers.format(value)
}

/** @param {number} value @param {string} unit in the singular */
function plural(value, unit) {
  return `${count(value)} ${unit}${value === 1 ? '' : 's'}`
}

/** '0.42 ms', '17 ms', '3.4 s'. @param {number} milliseconds */
function duration(milliseconds) {
  if (milliseconds < 10) return `${milliseconds.toFixed(2)} ms`
  if (milliseconds < 1000) return `${milliseconds.toFixed(0)} ms`
  if (milliseconds < 120_000) return `${(milliseconds / 1000).toFixed(1)} s`
  return `${(milliseconds / 60_000).toFixed(1)} min`
}

module.exports = { printable, widthOf, truncate, padEnd, padStart, count, plural, duration }
