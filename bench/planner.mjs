// From a query to what is sent: validating, planning and compiling, alone, timed inside the core.

import { loadPackage } from './lib/database.mjs'
import { median } from './lib/measure.mjs'

export const about = 'validating, planning and compiling a query, no database asked: microseconds, median'

const DAY = 86_400_000
const MOST = { 'repeated query': 5, 'repeated shape': 5, 'new shape': 200 }

/** What services ask, each with other constants every time. */
const SHAPES = {
  'events of an issue': i => ({
    filter: { issueIds: [String(i)] },
    orderBy: [{ field: 'timestamp', direction: 'desc' }],
    limit: 20
  }),
  'a type since a day': i => ({
    filter: {
      eventTypes: [`CODE.T${i}`],
      startTime: new Date(DAY * (19_000 + (i % 900))),
      where: { field: 'data.n', op: 'gt', value: i }
    },
    limit: 100
  }),
  'counts by day': i => ({
    filter: { tags: { repo: `repo-${i}` } },
    timeWindow: { last: '30 days' },
    timeBucket: { interval: '1 day' },
    groupBy: ['type'],
    aggregates: [{ fn: 'count' }, { fn: 'avg', field: 'data.ms' }]
  })
}

export async function run(context) {
  const client = await loadPackage().connect({ url: await context.fresh() })
  try {
    const native = client[Symbol.for('tamma.events.native')]
    const calls = context.quick ? 2000 : 100_000
    const rounds = context.rounds(5)
    for (const [shape, make] of Object.entries(SHAPES)) {
      const many = Array.from({ length: 4096 }, (_, i) => make(i))
      const cases = {
        'repeated query': () => native.timePlanning([many[0]], calls, false),
        'repeated shape': () => native.timePlanning(many, calls, false),
        'new shape': () => native.timePlanning(many, Math.min(calls, 10_000), true)
      }
      for (const [name, measure] of Object.entries(cases)) {
        measure()
        const medians = Array.from({ length: rounds }, () => median(measure()) / 1000)
        context.report({
          case: `${name}: ${shape}`,
          unit: 'µs',
          higherIsBetter: false,
          ours: median(medians),
          peers: {},
          ratio: null,
          ...(context.quick ? {} : { limit: MOST[name] }),
          detail: { calls, rounds, lowest: Math.min(...medians), highest: Math.max(...medians) }
        })
      }
    }
  } finally {
    await client.close()
  }
}
