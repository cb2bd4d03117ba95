'use strict'

const { spawn } = require('node:child_process')
const { EventsError } = require('../errors.js')

/**
 * Variables that point git at another repository, as they do inside a hook, or that change what
 * it prints or reads. The path alone decides which repository is read.
 */
const MISLEADING =
  /^GIT_(?:DIR|WORK_TREE|COMMON_DIR|INDEX_FILE|PREFIX|NAMESPACE|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|SHALLOW_FILE|GRAFT_FILE|REPLACE_REF_BASE|EXTERNAL_DIFF|DIFF_OPTS|TRACE.*)$/

function environment() {
  const env = {}
  for (const [name, value] of Object.entries(process.env)) if (!MISLEADING.test(name)) env[name] = value
  return {
    ...env,
    LC_ALL: 'C',
    LANGUAGE: 'C',
    GIT_TERMINAL_PROMPT: '0',
    GIT_OPTIONAL_LOCKS: '0',
    // A partial clone would fetch missing objects one by one over the network.
    GIT_NO_LAZY_FETCH: '1'
  }
}

/**
 * What `git -C directory ...args` writes, chunk by chunk: git is stopped by its full pipe while
 * nobody reads. Leaving the loop early, or aborting, ends the process before this returns.
 * @param {string} directory
 * @param {readonly string[]} args
 * @param {AbortSignal} [signal]
 * @returns {AsyncGenerator<Buffer, void, undefined>}
 */
async function* gitOutput(directory, args, signal) {
  if (signal?.aborted) throw abortedBy(signal)
  const child = spawn('git', ['--no-pager', '--no-replace-objects', '-C', directory, ...args], {
    env: environment(),
    stdio: ['ignore', 'pipe', 'pipe'],
    windowsHide: true
  })
  const ended = new Promise(resolve => {
    child.once('error', error => resolve({ error }))
    child.once('close', code => resolve({ code }))
  })
  let complaint = ''
  child.stderr.setEncoding('utf8').on('data', text => {
    if (complaint.length < 4096) complaint += text
  })
  const kill = () => child.kill('SIGKILL')
  signal?.addEventListener('abort', kill, { once: true })
  try {
    // A pipe that broke because git could not start or was killed is explained by `ended`.
    yield* readable(child.stdout)
    const end = await ended
    if (signal?.aborted) throw abortedBy(signal)
    if (end.error) throw notStarted(end.error)
    if (end.code !== 0) throw failed(args, complaint)
  } finally {
    signal?.removeEventListener('abort', kill)
    if (child.exitCode === null && child.signalCode === null) kill()
    child.stdout.destroy()
    await ended
  }
}

async function* readable(stream) {
  try {
    yield* stream
  } catch (error) {
    if (error.code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error
  }
}

/** All that a short command writes, as text. */
async function gitText(directory, args, signal) {
  const chunks = []
  for await (const chunk of gitOutput(directory, args, signal)) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}

function abortedBy(signal) {
  return new EventsError('QUERY_CANCELLED', 'reading the git history was aborted by its signal', {
    name: 'AbortError',
    cause: signal.reason
  })
}

function notStarted(error) {
  if (error.code === 'ENOENT') {
    return new EventsError('UNSUPPORTED', 'git was not found: install git and have it on the PATH', { cause: error })
  }
  return new EventsError('UNSUPPORTED', `git could not be started: ${error.message}`, { cause: error })
}

/** Carries git's own first complaint; `gitComplaint` keeps the whole for whoever can say it better. */
function failed(args, complaint) {
  const command = args.find(arg => !arg.startsWith('-') && !arg.includes('='))
  const first = complaint.split('\n').find(line => line.trim() !== '') ?? 'it gave no reason'
  const error = new EventsError('INVALID_EVENT', `git ${command} failed: ${first.replace(/^(?:fatal|error): /, '')}`)
  Object.defineProperty(error, 'gitComplaint', { value: complaint })
  return error
}

module.exports = { gitOutput, gitText }
