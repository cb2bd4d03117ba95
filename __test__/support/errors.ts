// What a promise was rejected with, when it has to be the package's own error.
import { EventsError, type EventsErrorCode } from '../../index.js'

/** The error of a promise that must be rejected with this code. */
export async function failure(promise: Promise<unknown>, code?: EventsErrorCode): Promise<EventsError> {
  const error = await promise.then(
    value => {
      throw new Error(`expected ${code ?? 'an error'}, got ${JSON.stringify(value)?.slice(0, 200)}`)
    },
    (error: unknown) => error
  )
  if (!(error instanceof EventsError) || (code && error.code !== code)) {
    throw new Error(`expected ${code ?? 'an EventsError'}, got ${String(error)}`, { cause: error })
  }
  return error
}

/** Reads a stream to its end or its error. */
export async function drain<T>(stream: AsyncIterable<T>) {
  const rows: T[] = []
  for await (const row of stream) rows.push(row)
  return rows
}
