// Waiting and measuring, with limits that say what was waited for.
import { setTimeout as sleep } from 'node:timers/promises'

/** The first answer that is not undefined. */
export async function until<T>(what: string, ask: () => Promise<T | undefined> | T | undefined, within = 10_000) {
  const deadline = performance.now() + within
  for (;;) {
    const answer = await ask()
    if (answer !== undefined) return answer
    if (performance.now() > deadline) throw new Error(`waited ${within} ms for ${what}`)
    await sleep(10)
  }
}

/** How long a promise takes, whatever becomes of it. */
export async function timed<T>(promise: Promise<T>): Promise<{ ms: number; value?: T; error?: unknown }> {
  const started = performance.now()
  const outcome = await promise.then(
    value => ({ value }),
    (error: unknown) => ({ error })
  )
  return { ms: performance.now() - started, ...outcome }
}

/** The longest times without a turn of the event loop while `work` runs, in milliseconds, longest first. */
export async function gaps(work: () => Promise<unknown>) {
  const delays: number[] = []
  let last = performance.now()
  const timer = setInterval(() => {
    const now = performance.now()
    delays.push(now - last)
    last = now
  }, 1)
  try {
    await work()
  } finally {
    clearInterval(timer)
    delays.push(performance.now() - last)
  }
  return delays.sort((a, b) => b - a)
}

/** Runs `task` for 0 to `count - 1`, `width` at a time. */
export async function inParallel(count: number, width: number, task: (i: number) => Promise<unknown>) {
  let next = 0
  const lane = async () => {
    while (next < count) await task(next++)
  }
  await Promise.all(Array.from({ length: width }, lane))
}

/** The same numbers in every run. */
export function random(seed: number) {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
