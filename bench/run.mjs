#!/usr/bin/env node
// npm run bench -- [--only NAME] [--json] ...: ours and the peers side by side on the same data.
// A bench is a file in this folder; see README.md for what it exports.

import { randomUUID } from 'node:crypto'
import { readdir, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { Databases } from './lib/database.mjs'
import { toJson, toText } from './lib/report.mjs'
import { eventFiles, events, UsageError } from './lib/source.mjs'
import { runWorker, stopWorkers } from './lib/worker.mjs'

const FOLDER = path.dirname(fileURLToPath(import.meta.url))
const USAGE = `Usage: npm run bench -- [options]

  --only NAME[,NAME]   only these benches (see --list)
  --json               one JSON object a line
  --data PATH          events to measure on: a folder, .ndjson or .ndjson.gz; else generated ones
  --seed N             seed of the generator (1)
  --url URL            a PostgreSQL whose role may create databases; else DATABASE_URL, else the embedded one
  --rounds N           measured rounds of each case; else as each bench says
  --quick              small sizes and few rounds: to see that it runs, not how fast
  --list               the benches, with what each measures
  --help
`

const OPTIONS = {
  only: { type: 'string', multiple: true },
  json: { type: 'boolean' },
  data: { type: 'string' },
  seed: { type: 'string' },
  url: { type: 'string' },
  rounds: { type: 'string' },
  quick: { type: 'boolean' },
  list: { type: 'boolean' },
  help: { type: 'boolean' }
}

function positive(name, text) {
  if (text === undefined) return undefined
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new UsageError(`--${name}: expected a positive whole number, got '${text}'`)
  return Number(text)
}

function parse(argv) {
  try {
    return parseArgs({ args: argv, options: OPTIONS }).values
  } catch (error) {
    throw new UsageError(error.message)
  }
}

async function benches(only) {
  const names = (await readdir(FOLDER)).filter(name => name.endsWith('.mjs') && name !== 'run.mjs').sort()
  const all = await Promise.all(
    names.map(async name => {
      const file = pathToFileURL(path.join(FOLDER, name)).href
      return { name: path.basename(name, '.mjs'), file, module: await import(file) }
    })
  )
  const wanted = only?.flatMap(names => names.split(','))
  for (const name of wanted ?? []) {
    if (!all.some(bench => bench.name === name)) {
      throw new UsageError(`--only ${name}: no such bench; there are ${all.map(bench => bench.name).join(', ')}`)
    }
  }
  return wanted ? all.filter(bench => wanted.includes(bench.name)) : all
}

/** The server of a run, and how to let it go. */
async function server(needed, { url = process.env.DATABASE_URL, quick }) {
  if (url || !needed) return { url, stop: async () => {} }
  const { startEmbedded } = createRequire(import.meta.url)('../lib/embedded')
  // Not made here: it is for the server's user to own.
  const directory = path.join(os.tmpdir(), `tamma-bench-${randomUUID()}`)
  try {
    // A temporary one does not wait for the disk: fine to see that it runs, wrong for figures of writes.
    const embedded = await startEmbedded({ directory, persistent: !quick })
    return {
      url: embedded.url,
      stop: async () => {
        await embedded.stop()
        await rm(directory, { recursive: true, force: true })
      }
    }
  } catch (error) {
    await rm(directory, { recursive: true, force: true })
    throw error
  }
}

async function main(options) {
  const rounds = positive('rounds', options.rounds)
  const source = { data: options.data, seed: positive('seed', options.seed) ?? 1 }
  eventFiles(source.data)
  const selected = await benches(options.only)
  if (options.list) {
    for (const bench of selected) console.log(`${bench.name.padEnd(12)} ${bench.module.about}`)
    return 0
  }

  const log = options.json ? () => {} : text => console.log(text)
  const needsServer = selected.some(bench => bench.module.server !== false)
  const { url, stop } = await server(needsServer, options)
  const databases = new Databases(url, `tamma_bench_${process.pid}_${Date.now().toString(36)}`)
  const release = memoize(async () => {
    try {
      await stopWorkers()
      if (needsServer) await databases.dropAll()
    } finally {
      await stop()
    }
  })
  let leaving = false
  const leave = code => {
    leaving = true
    release().finally(() => process.exit(code))
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => leave(130))
  process.stdout.once('error', () => leave(1)) // as with `| head`

  let failed = 0
  try {
    if (needsServer) await databases.createTemplate()
    const datasets = {}
    for (const bench of selected) {
      for (const rows of bench.module.datasets?.({ quick: options.quick }) ?? []) {
        if (!datasets[rows]) log(`(loading ${rows.toLocaleString('en-US')} events)`)
        datasets[rows] ??= await databases.filled(`rows_${rows}`, events(source, rows))
      }
      log(`${bench.name}: ${bench.module.about}`)
      const task = { file: bench.file, url, prefix: databases.prefix, datasets, source, quick: options.quick, rounds }
      try {
        await runWorker(task, ({ result }) => {
          const full = { bench: bench.name, ...result }
          console.log(options.json ? toJson(full) : toText(full))
        })
      } catch (error) {
        if (leaving) break
        failed += 1
        console.error(`${bench.name} failed: ${error.message}`)
      }
    }
  } finally {
    await release()
  }
  return failed ? 1 : 0
}

function memoize(work) {
  let result
  return () => {
    result ??= work()
    return result
  }
}

try {
  const options = parse(process.argv.slice(2))
  if (options.help) process.stdout.write(USAGE)
  else process.exitCode = await main(options)
} catch (error) {
  const usage = error instanceof UsageError
  // An error with a code tells of the server or the file system, not of this program.
  process.stderr.write(usage ? `${error.message}\n\n${USAGE}` : `${error.code ? error.message : error.stack}\n`)
  process.exitCode = usage ? 2 : 1
}
