'use strict'

/**
 * The one error type of the package. It is made here, in JavaScript, so that `instanceof` holds
 * in every realm that loaded this file and the stack shows the caller.
 */
class EventsError extends Error {
  /**
   * @param {import('../index').EventsErrorCode} code
   * @param {string} message
   * @param {{ path?: string, queryId?: string, sqlState?: string, position?: number, retryable?: boolean, cause?: unknown, name?: string }} [context]
   */
  constructor(code, message, context = {}) {
    super(message, context.cause === undefined ? undefined : { cause: context.cause })
    // Not enumerable, as in the platform's own errors: it stays out of console output.
    if (context.name) Object.defineProperty(this, 'name', { value: context.name, writable: true, configurable: true })
    this.code = code
    for (const key of ['path', 'queryId', 'sqlState', 'position']) {
      if (context[key] !== undefined) this[key] = context[key]
    }
    this.retryable = context.retryable ?? false
  }
}

Object.defineProperty(EventsError.prototype, 'name', { value: 'EventsError', writable: true, configurable: true })

/**
 * The error that the Rust core described.
 * @param {{ code: import('../index').EventsErrorCode, message: string, path?: string, queryId?: string, sqlState?: string, position?: number, retryable: boolean }} described
 * @param {{ cause?: unknown, name?: string }} [more]
 */
function fromNative(described, more) {
  return new EventsError(described.code, described.message, { ...described, ...more })
}

/** What an aborted signal means: the name says AbortError, as the platform's own functions do. */
function aborted(reason, queryId) {
  return new EventsError('QUERY_CANCELLED', 'the query was aborted by its signal', {
    name: 'AbortError',
    cause: reason,
    queryId
  })
}

/** The stack here, for errors that are made later, where the stack says nothing about the caller. */
function whereCalled(above) {
  const here = {}
  Error.captureStackTrace(here, above)
  return here
}

/** Gives an error the stack of the call that it belongs to. */
function calledFrom(here, error) {
  if (error instanceof EventsError)
    error.stack = `${error.name}: ${error.message}\n${here.stack.slice(here.stack.indexOf('\n') + 1)}`
  return error
}

/** Parses what a native call answered; a described error is thrown. */
function unwrap(text) {
  const value = JSON.parse(text)
  // A query's statistics have an `error` too: a text.
  if (typeof value?.error === 'object') throw fromNative(value.error)
  return value
}

module.exports = { EventsError, fromNative, aborted, whereCalled, calledFrom, unwrap }
