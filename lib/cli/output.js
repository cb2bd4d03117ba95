'use strict'

const { once } = require('node:events')

/**
 * A stream of the process, written to no faster than it is read. When the reader goes away, as
 * `head` does, everything under way is aborted.
 */
class Output {
  #stream
  #controller
  closed = false

  /** @param {NodeJS.WriteStream} stream @param {AbortController} controller */
  constructor(stream, controller) {
    this.#stream = stream
    this.#controller = controller
    stream.on('error', error => {
      // Whatever is wrong with the stream, there is nowhere to tell it.
      this.closed = true
      controller.abort(error)
    })
  }

  get isTTY() {
    return Boolean(this.#stream.isTTY)
  }

  get columns() {
    return this.#stream.columns
  }

  /** @param {string} text */
  async write(text) {
    if (this.closed || this.#stream.write(text)) return
    await once(this.#stream, 'drain', { signal: this.#controller.signal }).catch(() => {})
  }

  /** @param {string} [text] */
  line(text = '') {
    return this.write(`${text}\n`)
  }
}

module.exports = { Output }
