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

/**
 * How long a timer that fires at a random moment of `work` finds the event loop without a turn, in milliseconds.
 * Not the longest gap: on a machine that does other things too, any process has long ones now and then.
 */
export async function gap(work: () => Promise<unknown>) {
  const gaps: number[] = []
  let last = performance.now()
  const turn = () => {
    const now = performance.now()
    gaps.push(now - last)
    last = now
  }
  const timer = setInterval(turn, 1)
  try {
    await work()
  } finally {
    clearInterval(timer)
    turn()
  }
  const total = gaps.reduce((sum, gap) => sum + gap, 0)
  return gaps.reduce((sum, gap) => sum + gap * gap, 0) / total
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
