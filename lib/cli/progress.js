'use strict'

const { count, duration } = require('./text.js')

const BAR = 24
/** A terminal is redrawn this often, a log gets a line this often. */
const REDRAW = 80
const LINE = 5000

/**
 * How far long work has come, on stderr: a bar on a terminal, a line now and then elsewhere.
 * `update` takes the contract's `Progress`.
 */
class ProgressBar {
  #err
  #style
  #label
  #last = performance.now()
  #drawn = false

  /** @param {{ err: import('./output.js').Output, errStyle: import('./style.js').Style }} io @param {string} label */
  constructor({ err, errStyle }, label) {
    this.#err = err
    this.#style = errStyle
    this.#label = label
    if (err.isTTY) this.#last -= REDRAW
  }

  /** @param {import('../../index').Progress} progress */
  update(progress) {
    const now = performance.now()
    if (now - this.#last < (this.#err.isTTY ? REDRAW : LINE)) return
    this.#last = now
    if (!this.#err.isTTY) return void this.#err.line(`${this.#label}: ${describe(progress)}`)
    this.#drawn = true
    this.#err.write(`\r${this.#label} ${this.#bar(progress)}${describe(progress)}\x1b[K`)
  }

  /** Takes the bar away, as what follows says how it ended. */
  done() {
    if (this.#drawn) this.#err.write('\r\x1b[K')
    this.#drawn = false
  }

  #bar({ done, total }) {
    if (!total) return ''
    const filled = Math.round(Math.min(done / total, 1) * BAR)
    return `${this.#style.green('━'.repeat(filled))}${this.#style.dim('━'.repeat(BAR - filled))} `
  }
}

function describe({ done, total, unit, elapsed }) {
  const amount = total
    ? `${Math.floor(Math.min(done / total, 1) * 100)}%, ${size(done, unit)} of ${size(total, unit)}`
    : size(done, unit)
  const left =
    total && done > 0 && elapsed > 1000 ? `, ${duration((elapsed / done) * Math.max(total - done, 0))} left` : ''
  return `${amount}${unit === 'bytes' ? '' : ` ${unit}`}${left}`
}

function size(value, unit) {
  return unit === 'bytes' ? `${(value / 1e6).toFixed(1)} MB` : count(value)
}

module.exports = { ProgressBar }
