'use strict'

// A process of its own that uses the embedded server: started by embedded-harness.ts, told what to do
// line by line on stdin, and answering each line with one line of JSON.

const path = require('node:path')
const readline = require('node:readline')

const { lib, options } = JSON.parse(process.argv[2])
const { startEmbedded } = require(path.join(lib, 'embedded'))
const handles = []

const commands = {
  ready: () => true,
  async start() {
    const { stop, ...server } = await startEmbedded(options)
    handles.push(stop)
    return server
  },
  stop: () => handles.pop()(),
  uid: () => process.getuid(),
  /** Drops stdin: what is left may not keep the process alive. */
  detach() {
    process.stdin.destroy()
    return true
  },
  exit: () => process.exit(0)
}

readline.createInterface({ input: process.stdin }).on('line', async name => {
  let answer
  try {
    answer = { value: await commands[name]() }
  } catch (error) {
    answer = { error: { name: error.name, code: error.code, path: error.path, message: error.message } }
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`)
})
