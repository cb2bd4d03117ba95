// Runs programs one after the other, goes on after a failure, and tells at the end how it went.
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))

/** A program of node_modules, run by this Node: no shell in between, on any system. */
export const tool = path => [process.execPath, `${root}node_modules/${path}`]

export class Steps {
  #failed = []
  #passed = 0
  #interrupted = false
  #what
  #child

  /** @param {string} what names the run in its closing line */
  constructor(what) {
    this.#what = what
    // The program that runs ends first; what was opened around it is then closed in `finally`.
    for (const signal of ['SIGINT', 'SIGTERM']) {
      process.on(signal, () => {
        this.#interrupted = true
        this.#child?.kill(signal)
        process.exitCode = 128 + constants.signals[signal]
      })
    }
  }

  /**
   * @param {string} name
   * @param {string[]} command the program and its arguments
   * @param {Record<string, string>} [env] added to the environment
   * @returns {Promise<boolean>} whether it ended well
   */
  async run(name, [program, ...args], env = {}) {
    if (this.#interrupted) return false
    console.log(`\n── ${name}`)
    const began = performance.now()
    const outcome = await new Promise(resolve => {
      const child = spawn(program, args, {
        cwd: root,
        stdio: ['ignore', 'inherit', 'inherit'],
        env: { ...process.env, ...env }
      })
      this.#child = child
      child.on('error', error => resolve(error.message))
      child.on('close', (code, signal) => resolve(code === 0 ? true : `exit ${signal ?? code}`))
    })
    const seconds = ((performance.now() - began) / 1000).toFixed(1)
    return this.settle(
      outcome === true ? undefined : `${name}: ${outcome}, after ${seconds} s`,
      `── ${name}: ${seconds} s`
    )
  }

  /** Counts a step that ended well, or the failure described. */
  settle(failure, closing) {
    if (failure === undefined) {
      this.#passed++
      if (closing) console.log(closing)
    } else {
      this.#failed.push(failure)
      console.error(`── FAILED ${failure}`)
    }
    return failure === undefined
  }

  /** Prints the closing line and sets the exit code. */
  close() {
    for (const failure of this.#failed) console.error(`FAILED ${failure}`)
    console.log(`\n${this.#what}: ${this.#passed} passed, ${this.#failed.length} failed`)
    if (this.#failed.length > 0) process.exitCode ||= 1
  }
}
