'use strict'

/**
 * Exports. The core encodes; it writes files itself, and what goes to a stream comes from it in
 * chunks, which are written here as fast as the stream takes them.
 */

const { randomUUID } = require('node:crypto')
const { rm } = require('node:fs/promises')
const path = require('node:path')
const { EventsError, aborted, calledFrom, fromNative, whereCalled } = require('./errors.js')
const { checkOptions, listen, nativeOptions } = require('./run.js')

const KNOWN = ['format', 'to', 'csv', 'compression', 'signal', 'onProgress', 'timeout', 'queryId']

function invalid(path, problem) {
  return new EventsError('INVALID_QUERY', `${path}: ${problem}`, { path })
}

/** In options, `undefined` means left out. */
const defined = object => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined))

/**
 * @param {object} native the core's exporter
 * @param {string} source `"query":{…}` or `"pipeline":[…]`, as JSON text
 * @param {import('../index').ExportOptions} options
 */
async function exportRows(native, source, options) {
  const here = whereCalled(exportRows)
  const { to, csv, format, compression, onProgress, ...run } = checked(options)
  if (run.signal?.aborted) throw aborted(run.signal.reason, run.queryId)
  const target = typeof to === 'string' ? fileTarget(to) : streamTarget(to)
  const wanted = defined({ format, compression, csv: csv && defined(csv), ...target.names })
  const stream = native.stream(`{${source},"export":${JSON.stringify(wanted)}}`, nativeOptions(run))
  const stopped = stopping(run, stream, target)
  const started = performance.now()
  const progress = (done, phase) =>
    onProgress?.({ done, total: null, unit: 'rows', phase, elapsed: performance.now() - started })
  try {
    const end = await Promise.race([pump(stream, target, progress), stopped.fired])
    await Promise.race([target.end(), stopped.fired])
    progress(end.rowCount, 'done')
    return { rows: end.rowCount, bytes: end.bytes, duration: performance.now() - started, columns: end.columns }
  } catch (error) {
    stream.close()
    await target.abandon(error)
    throw error instanceof EventsError ? calledFrom(here, error) : error
  } finally {
    stopped.done()
    stream.close()
  }
}

function checked(options) {
  if (options === undefined) throw invalid('options', 'are missing: a format, and where to')
  const { format: _f, to, csv, compression: _c, onProgress, ...run } = checkOptions(options, KNOWN)
  const isStream = to !== null && typeof to === 'object' && (isNode(to) || isWeb(to))
  if (!(typeof to === 'string' && to !== '' && !to.includes('\0')) && !isStream)
    throw invalid('to', 'must be a path, a Node.js stream or a WritableStream')
  if (onProgress !== undefined && typeof onProgress !== 'function') throw invalid('onProgress', 'must be a function')
  if (csv !== undefined && (csv === null || typeof csv !== 'object')) throw invalid('csv', 'must be an object')
  return { ...run, format: options.format, compression: options.compression, to, csv, onProgress }
}

const isNode = to => typeof to.write === 'function' && typeof to.once === 'function'
const isWeb = to => typeof to.getWriter === 'function'

/** Ends the wait when the signal fires or the stream that is written to fails. */
function stopping({ signal, queryId }, stream, target) {
  let fail
  const fired = new Promise((_, reject) => {
    fail = reject
  })
  fired.catch(() => {})
  target.onFailure(error => fail(error))
  const onAbort = () => {
    stream.close()
    fail(aborted(signal.reason, queryId))
  }
  if (signal) listen(signal, onAbort)
  return { fired, done: () => signal?.removeEventListener('abort', onAbort) }
}

/** Reads the run to its end. */
async function pump(stream, target, progress) {
  for (;;) {
    let text = stream.next()
    if (typeof text !== 'string') text = await text
    if (text === null) throw new EventsError('QUERY_CANCELLED', 'the export was stopped')
    if (text.charCodeAt(0) === 35 /* # */) {
      const end = text.indexOf('\n')
      await target.write(Buffer.from(text.slice(end + 1), 'latin1'))
      progress(Number(text.slice(1, end)), 'writing')
      continue
    }
    const batch = JSON.parse(text)
    if (batch.error !== undefined) throw fromNative(batch.error)
    if (batch.end !== undefined) return batch.end
    progress(batch.progress, 'writing')
  }
}

/** The core writes the file under a name of its own, and gives it its name when it is whole. */
function fileTarget(to) {
  const full = path.resolve(to)
  const temporary = path.join(path.dirname(full), `.${path.basename(full).slice(0, 100)}.${randomUUID()}.tmp`)
  return {
    names: { to: full, temporary },
    onFailure() {},
    async end() {},
    // The core removes it too, as soon as it learns: nothing is left when the caller hears of it.
    abandon: () => rm(temporary, { force: true }).catch(() => {})
  }
}

const failed = cause =>
  new EventsError('EXPORT_FAILED', `the stream could not be written: ${cause?.message ?? cause}`, { cause })

function streamTarget(to) {
  return isNode(to) ? nodeTarget(to) : webTarget(to)
}

/** A Node.js stream. It is ended with the export and destroyed where that fails, as `pipeline` does. */
function nodeTarget(to) {
  const isStandard = to === process.stdout || to === process.stderr
  let ended = false
  let fail
  const broken = new Promise((_, reject) => {
    fail = reject
  })
  broken.catch(() => {})
  const onError = error => fail(failed(error))
  const onClose = () => ended || fail(failed(new Error('it was closed')))
  to.on('error', onError)
  to.once('close', onClose)
  const release = () => {
    ended = true
    to.removeListener('close', onClose)
    // A stream that is destroyed may still report what it was doing.
    setImmediate(() => to.removeListener('error', onError)).unref()
  }
  const event = name => Promise.race([new Promise(resolve => to.once(name, resolve)), broken])
  return {
    names: {},
    onFailure: listener => void broken.catch(listener),
    async write(chunk) {
      if (to.destroyed || to.writableEnded) throw failed(new Error('it has ended'))
      if (!to.write(chunk)) await event('drain')
    },
    async end() {
      ended = true
      if (!isStandard) {
        const finished = event('finish')
        to.end()
        await finished
      }
      release()
    },
    async abandon(error) {
      release()
      if (!isStandard && !to.destroyed) {
        to.on('error', () => {})
        to.destroy(error)
      }
    }
  }
}

/** A stream of the web's kind: closed with the export, aborted where that fails. */
function webTarget(to) {
  let writer
  try {
    writer = to.getWriter()
  } catch (cause) {
    throw failed(cause)
  }
  const asFailure = promise =>
    promise.catch(cause => {
      throw failed(cause)
    })
  return {
    names: {},
    onFailure: listener => void writer.closed.catch(cause => listener(failed(cause))),
    async write(chunk) {
      await asFailure(writer.ready)
      writer.write(chunk).catch(() => {})
    },
    async end() {
      await asFailure(writer.close())
    },
    abandon: error => writer.abort(error).catch(() => {})
  }
}

module.exports = { exportRows }
