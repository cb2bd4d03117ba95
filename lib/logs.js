'use strict'

/** What the core has to say, handed to the caller's `onLog`. */

const { unwrap } = require('./errors.js')

/**
 * Hands records on until the client is gone. It must not hold the client: one that nobody else
 * holds is collected.
 * @param {import('../native/binding').NativeClient} native
 * @param {(record: object) => void} onLog
 */
function forwardLogs(native, onLog) {
  const { NativeLogs } = require('./native.js')
  void forward(NativeLogs.of(native), onLog)
}

async function forward(logs, onLog) {
  for (;;) {
    const records = unwrap(await logs.next())
    if (records.length === 0) return
    for (const record of records) tell(onLog, record)
  }
}

/** What a listener throws is its own mistake, and shows as one, but ends neither the log nor a query. */
function tell(onLog, record) {
  try {
    onLog(record)
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}

module.exports = { forwardLogs }
