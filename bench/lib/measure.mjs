// How a figure is taken. Contenders run in turn within each round, and the order rotates from round to round; ratios
// are formed within a round and their median is reported, so that a noisy neighbour hits both sides of a ratio.

import { existsSync, readFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { setImmediate as turn } from 'node:timers/promises'

export const OURS = 'ours'

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** Work per second: `work` resolves with how much it did. */
export async function perSecond(work) {
  const start = performance.now()
  const amount = await work()
  return (amount * 1000) / (performance.now() - start)
}

// One contender's garbage must not be collected in the next one's time.
async function settle() {
  globalThis.gc?.()
  await turn()
}

/**
 * Runs every contender once per round.
 * @param {Record<string, () => Promise<number>>} contenders each resolves with its figure for one round
 * @returns {Promise<Record<string, number[]>>} the figures by contender, one a round
 */
export async function interleave(contenders, { rounds, warmUp = 1 }) {
  const names = Object.keys(contenders)
  const figures = Object.fromEntries(names.map(name => [name, []]))
  for (let round = -warmUp; round < rounds; round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(((round + i) % names.length) + names.length) % names.length]
      await settle()
      const figure = await contenders[name]()
      if (round >= 0) figures[name].push(figure)
    }
  }
  return figures
}

/**
 * Ours against each peer, and against the best of them: above 1 when we win, whichever way the figure counts.
 * @param {Record<string, number[]>} figures from `interleave`; `ours` and the peers
 */
export function against(figures, { higherIsBetter, ours = OURS, peers }) {
  const names = peers ?? Object.keys(figures).filter(name => name !== ours)
  const perRound = names.map(name =>
    figures[ours].map((mine, i) => (higherIsBetter ? mine / figures[name][i] : figures[name][i] / mine))
  )
  const ratios = perRound.map(median)
  const best = ratios.indexOf(Math.min(...ratios))
  return {
    ours: median(figures[ours]),
    peers: Object.fromEntries(names.map(name => [name, median(figures[name])])),
    ratio: best < 0 ? null : ratios[best],
    spread: best < 0 ? null : [Math.min(...perRound[best]), Math.max(...perRound[best])]
  }
}

/**
 * The candidate that is fastest: how each peer gets its best settings before it is compared.
 * @param {Record<string, () => Promise<number>>} candidates resolve with a rate
 */
export async function fastest(candidates, { rounds = 2 } = {}) {
  if (Object.keys(candidates).length === 1) return Object.keys(candidates)[0]
  const figures = await interleave(candidates, { rounds })
  return Object.keys(figures).reduce((best, name) =>
    Math.max(...figures[name]) > Math.max(...figures[best]) ? name : best
  )
}

/**
 * What `work` does to the process: growth of resident memory in MB, the longest gap between two turns of the event
 * loop in ms, and the longest that the thread itself ran in such a gap: on a busy machine the rest is waiting for a
 * processor, for which nobody here is to blame.
 */
export async function footprint(work) {
  await settle()
  await settle()
  const before = process.memoryUsage.rss()
  let peak = before
  let last = performance.now()
  let ran = timeOnProcessor()
  const found = { gap: 0, busy: 0 }
  const look = () => {
    const now = performance.now()
    const nowRan = timeOnProcessor()
    // The timer is one of 1 ms: what is beyond that kept the loop from turning.
    found.gap = Math.max(found.gap, now - last - 1)
    found.busy = Math.max(found.busy, nowRan - ran)
    last = now
    ran = nowRan
    peak = Math.max(peak, process.memoryUsage.rss())
  }
  const timer = setInterval(look, 1)
  try {
    await work()
    await turn()
    look()
  } finally {
    clearInterval(timer)
  }
  return { memory: (peak - before) / 2 ** 20, ...found }
}

// Of the main thread, in ms; 0 where the system does not tell (Linux does).
const SCHEDSTAT = `/proc/self/task/${process.pid}/schedstat`
const tells = existsSync(SCHEDSTAT)

function timeOnProcessor() {
  return tells ? Number.parseInt(readFileSync(SCHEDSTAT, 'latin1'), 10) / 1e6 : 0
}
