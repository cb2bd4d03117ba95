// The process in which one bench, or one probe of a bench, runs: alone, so that memory figures are its own.
// Started by `run.mjs` with an IPC channel; what it measures goes to the parent as messages.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { Databases } from './database.mjs'

const WORKER = fileURLToPath(import.meta.url)
const running = new Set()

/**
 * Runs a bench in a process of its own.
 * @param {object} task `{ bench, ... }`, see `run.mjs`
 * @param {(message: object) => void} onMessage
 */
export function runWorker(task, onMessage) {
  return new Promise((resolve, reject) => {
    const child = fork(WORKER, [], {
      execArgv: ['--expose-gc'],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      serialization: 'advanced'
    })
    running.add(child)
    let failure
    child.on('error', reject)
    child.on('message', message => {
      if (message.failure) failure = message.failure
      else onMessage(message)
    })
    child.on('exit', (code, signal) => {
      running.delete(child)
      if (code === 0 && !failure) resolve()
      else reject(new Error(failure ?? `${path.basename(task.file)} ended with ${signal ?? `code ${code}`}`))
    })
    child.send(task)
  })
}

/** Ends what is running, so that its databases can go. */
export function stopWorkers() {
  return Promise.all(
    [...running].map(child => {
      const gone = once(child, 'exit')
      child.kill('SIGKILL')
      return gone
    })
  )
}

/**
 * What a bench is given.
 * @param {object} task
 */
function contextOf(task) {
  const databases = new Databases(task.url, task.prefix)
  return {
    quick: task.quick,
    source: task.source,
    rounds: full => (task.quick ? 2 : (task.rounds ?? full)),
    dataset: rows => {
      if (!task.datasets[rows]) throw new Error(`no data set of ${rows} events: name it in the bench's datasets()`)
      return task.datasets[rows]
    },
    fresh: () => databases.fresh(),
    copy: url => databases.copy(url),
    drop: url => databases.drop(url),
    report: result => process.send({ result }),
    /** The bench's own `probe(context, input)` in a fresh process. */
    probe: async input => {
      let output
      await runWorker({ ...task, probe: input }, message => {
        output = message.output
      })
      return output
    }
  }
}

async function main(task) {
  // Without the parent nobody reads the figures, and the databases are about to be dropped.
  const orphaned = () => process.exit(1)
  process.once('disconnect', orphaned)
  try {
    const bench = await import(task.file)
    const context = contextOf(task)
    if (task.probe) process.send({ output: await bench.probe(context, task.probe) })
    else await bench.run(context)
  } catch (error) {
    process.send({ failure: error.stack ?? String(error) })
    process.exitCode = 1
  }
  process.off('disconnect', orphaned)
  process.disconnect()
}

if (process.argv[1] === WORKER && process.send) process.once('message', main)
