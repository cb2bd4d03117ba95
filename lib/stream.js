'use strict'

/** Async iterators over a run: row by row, or batch by batch. */

const { aborted, calledFrom, whereCalled } = require('./errors.js')
const { RowReader } = require('./rows.js')
const { StreamTrace } = require('./tracing.js')
const { checkOptions, immediate, listen, nativeOptions, parsed, TURN } = require('./run.js')

const AsyncIteratorPrototype = Object.getPrototypeOf(Object.getPrototypeOf(async function* () {}.prototype))

/**
 * The rows of a run, one at a time or `batchSize` at a time, as an async generator has it: lazy,
 * single use, in order even for callers that do not wait. Unlike a generator's, `return()` does
 * not wait for rows that are under way: the statement is cancelled at once.
 */
class RowStream {
  #makeCall
  #options
  #batchSize
  #native
  #reader
  #rows = []
  #at = 0
  #state = 'new'
  #failure
  #waiting = []
  #turned = 0
  #onAbort
  #trace
  #here

  /**
   * @param {() => import('./run.js').Call} makeCall asked at the first `next()`: what is wrong with
   *   a query shows there, as a generator's errors do
   * @param {object} [options]
   * @param {number} [batchSize] rows of one value; 0 for single rows
   */
  constructor(makeCall, options, batchSize = 0) {
    this.#makeCall = makeCall
    this.#options = options
    this.#batchSize = batchSize
    this.#here = whereCalled(RowStream)
  }

  next() {
    if (this.#waiting.length === 0 && this.#isReady() && performance.now() - this.#turned < TURN) {
      return Promise.resolve({ value: this.#take(), done: false })
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      if (this.#waiting.length === 1) this.#pump()
    })
  }

  return(value) {
    this.#finish()
    this.#drop()
    this.#failure = undefined
    for (const { resolve } of this.#waiting.splice(0)) resolve({ value: undefined, done: true })
    return Promise.resolve({ value, done: true })
  }

  throw(error) {
    this.return()
    return Promise.reject(error)
  }

  [Symbol.asyncIterator]() {
    return this
  }

  get [Symbol.toStringTag]() {
    return 'AsyncGenerator'
  }

  #isReady() {
    const left = this.#rows.length - this.#at
    return left > 0 && (left >= this.#batchSize || this.#state === 'done')
  }

  #take() {
    if (this.#batchSize === 0) return this.#rows[this.#at++]
    const from = this.#at
    this.#at += this.#batchSize
    return this.#rows.slice(from, this.#at)
  }

  #keep(rows) {
    if (this.#at >= this.#rows.length) {
      this.#rows = rows
    } else {
      if (this.#at > 0) this.#rows = this.#rows.slice(this.#at)
      // Row by row: a value of a million rows is gathered from thousands of these.
      for (const row of rows) this.#rows.push(row)
    }
    this.#at = 0
  }

  #drop() {
    this.#rows = []
    this.#at = 0
  }

  /** Answers those who wait, in order; pulls when there is nothing to answer with. */
  async #pump() {
    while (this.#waiting.length > 0) {
      if (performance.now() - this.#turned >= TURN) {
        if (this.#turned !== 0) await immediate()
        this.#turned = performance.now()
        continue
      }
      if (this.#isReady()) {
        this.#waiting.shift().resolve({ value: this.#take(), done: false })
      } else if (this.#failure !== undefined) {
        const failure = this.#failure
        this.#failure = undefined
        this.#waiting.shift()?.reject(failure)
      } else if (this.#state === 'done') {
        this.#waiting.shift().resolve({ value: undefined, done: true })
      } else {
        await this.#pull()
      }
    }
  }

  /** Takes the next batch. Never throws: what goes wrong is kept for the next answer. */
  async #pull() {
    try {
      if (this.#state === 'new') this.#begin()
      let text = this.#native.next()
      if (typeof text !== 'string') {
        text = await text
        // A batch that had to come from the server came with a turn; one that was there did not.
        this.#turned = performance.now()
      }
      const batch = parsed(text)
      if (this.#state === 'done') return
      const rows = this.#reader.rows(batch)
      this.#trace?.rows(rows.length)
      this.#keep(rows)
      if (batch.end !== undefined) this.#finish(batch.end.queryId)
    } catch (error) {
      if (this.#state !== 'done') this.#fail(error)
    }
  }

  #begin() {
    const options = checkOptions(this.#options)
    const { signal } = options
    if (signal?.aborted) throw aborted(signal.reason, options.queryId)
    const call = this.#makeCall()
    this.#trace = StreamTrace.begin(call, () => {
      this.#native = call.native.stream(call.text, call.isSql, false, nativeOptions(options))
    })
    this.#reader = new RowReader(call.bigints)
    this.#state = 'running'
    if (signal) {
      // Weak: a signal can outlive a stream that was dropped half read, which only its collection ends.
      const stream = new WeakRef(this)
      this.#onAbort = () => stream.deref()?.#abort(signal.reason)
      listen(signal, this.#onAbort)
    }
  }

  /** The batch under way may never come: whoever waits is answered now. */
  #abort(reason) {
    this.#fail(aborted(reason, this.#options.queryId))
    const failure = this.#failure
    const first = this.#waiting.shift()
    if (first === undefined) return
    this.#failure = undefined
    first.reject(failure)
    for (const { resolve } of this.#waiting.splice(0)) resolve({ value: undefined, done: true })
  }

  #fail(error) {
    this.#failure = calledFrom(this.#here, error)
    this.#trace?.end(this.#failure)
    this.#drop()
    this.#finish()
  }

  #finish(queryId) {
    if (this.#state === 'done') return
    this.#state = 'done'
    this.#trace?.end(undefined, queryId ?? this.#options?.queryId)
    this.#native?.close()
    if (this.#onAbort !== undefined) this.#options.signal.removeEventListener('abort', this.#onAbort)
  }
}

Object.setPrototypeOf(RowStream.prototype, AsyncIteratorPrototype)
if (Symbol.asyncDispose !== undefined) {
  Object.defineProperty(RowStream.prototype, Symbol.asyncDispose, {
    value: async function asyncDispose() {
      await this.return()
    },
    writable: true,
    configurable: true
  })
}

module.exports = { RowStream }
