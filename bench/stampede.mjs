// Many who want the same answer at once, that nobody has.

import { loadPackage } from './lib/database.mjs'
import { against, interleave, OURS } from './lib/measure.mjs'

export const about = 'concurrent requests for one cold key: ms until all have their answer'
export const datasets = ({ quick }) => (quick ? [2000] : [100_000])

export async function run(context) {
  const [rows] = datasets(context)
  const url = context.dataset(rows)
  const requests = context.quick ? 500 : 10_000
  const { connect } = loadPackage()
  const executions = []
  const stampede = cached => async () => {
    const client = await connect({ url, limits: { maxQueuedQueries: requests } })
    try {
      const query = client.query().groupBy(['type']).count()
      const asked = cached ? query.cache({ consistency: 'strict' }) : query
      const start = performance.now()
      await Promise.all(Array.from({ length: requests }, () => asked.execute({ timeout: 0 })))
      const took = performance.now() - start
      if (cached) executions.push((await client.cache.getCacheStats()).misses)
      return took
    } finally {
      await client.close()
    }
  }
  const rounds = context.rounds(3)
  const figures = await interleave(
    { [OURS]: stampede(true), ...(context.quick ? { uncached: stampede(false) } : {}) },
    { rounds }
  )
  const { spread, ...result } = against(figures, { higherIsBetter: false })
  context.report({
    case: `${requests.toLocaleString('en-US')} requests`,
    unit: 'ms',
    higherIsBetter: false,
    ...result,
    detail: { rounds, spread, executions: Math.max(...executions) }
  })
  if (executions.some(n => n !== 1)) throw new Error(`one key was executed ${executions} times`)
}
