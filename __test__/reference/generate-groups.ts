// Random grouped queries, over events spread over two changes of daylight-saving time.
import type { Aggregate, EventQuery, QueryCondition } from '../../index.js'
import { nameOf } from './aggregate'
import { randomEvents } from './events'
import { micros, type StoredEvent } from './field'
import type { Generator } from './generate'
import type { Random } from './random'

const FROM = micros('2025-10-01')
const HOURS = 24 * 200

/** Random events with numbers that sums and variances of doubles can be compared on. */
export function spreadEvents(random: Random, count: number): StoredEvent[] {
  return randomEvents(random, count).map(event => {
    const timestamp = FROM + BigInt(random.int(HOURS)) * 3_600_000_000n + BigInt(random.pick([0, 0, 1, 1_800_000_000]))
    const data = { ...event.data }
    if (random.chance(0.8)) data.v = random.pick([1, 2, 2, 3, 0.5, -7.25, 1000, random.int(50), '4', null, true])
    if (random.chance(0.5))
      data.big = random.pick([9007199254740993n, -9007199254740995n, 1, 123456789012345678901234567890n])
    return { ...event, timestamp, data }
  })
}

const GROUPS = [
  'type',
  'tags.issueId',
  'tags.platform',
  'tags.none',
  'data.v',
  'data.mixed',
  'data.list[0]',
  'metadata.actor.bot'
]
const VALUES = ['type', 'id', 'timestamp', 'tags.userId', 'data.v', 'data.mixed', 'data.big', 'data.none']
const NUMBERS = ['data.v', 'data.v', 'data.none', 'tags.issueId', 'type']
const ZONES = [undefined, 'UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kathmandu']
const INTERVALS = [
  '1 hour',
  '6 hours',
  '1 day',
  '3 days',
  '1 week',
  '1 month',
  '2 months',
  '1 quarter',
  '1 year'
] as const
const FILLS = ['none', 'null', 'zero', 'previous', 'linear'] as const

export function groupedQuery(random: Random, generator: Generator): EventQuery {
  const query: EventQuery = { filter: random.chance(0.5) ? generator.filter() : {} }
  if (random.chance(0.6)) query.groupBy = random.some(GROUPS, 1, 3)
  if (random.chance(0.5)) bucketed(query, random)
  if (random.chance(0.8) || (!query.groupBy && !query.timeBucket)) query.aggregates = aggregates(random, generator)
  const columns = [
    ...(query.timeBucket ? ['bucket'] : []),
    ...(query.groupBy ?? []),
    ...(query.aggregates ?? []).map(nameOf)
  ]
  const counts = (query.aggregates ?? []).filter(one => one.fn === 'count' || one.fn === 'countDistinct').map(nameOf)
  if (counts.length > 0 && random.chance(0.3)) query.having = having(random, counts)
  // The order of computed doubles is not the reference's to say: where two differ by less than both know.
  const exact = columns.filter(
    column => !/^(sum|avg|stddev|variance|median|percentile|approxPercentile|p_)/u.test(column)
  )
  if (exact.length > 0 && random.chance(0.5))
    query.orderBy = random.some(exact, 1, 2).map(field => ({
      field,
      direction: random.pick(['asc', 'desc']),
      ...(random.chance(0.3) ? { nulls: random.pick(['first', 'last']) } : {})
    }))
  if (random.chance(0.5)) query.limit = random.pick([0, 1, 3, 10, 100, 5000])
  if (random.chance(0.1)) query.offset = random.pick([0, 1, 5])
  return query
}

function bucketed(query: EventQuery, random: Random) {
  const interval = random.pick(INTERVALS)
  const timeZone = random.pick(ZONES)
  const start = FROM + BigInt(random.int(HOURS)) * 3_600_000_000n
  const days = interval === '1 hour' ? 5 : interval === '6 hours' ? 20 : 150
  const iso = (at: bigint) => new Date(Number(at / 1000n)).toISOString()
  const bounded = random.chance(0.6)
  if (bounded)
    query.timeWindow = {
      from: iso(start),
      to: new Date(iso(start + BigInt(1 + random.int(days * 24)) * 3_600_000_000n))
    }
  else if (random.chance(0.2)) query.timeWindow = { from: iso(start) }
  query.timeBucket = {
    interval,
    ...(timeZone === undefined ? {} : { timeZone }),
    ...(random.chance(0.2) ? { origin: '2025-01-31T12:00:00Z' } : {}),
    ...(bounded && random.chance(0.7) ? { fill: random.pick(FILLS) } : {})
  }
}

function aggregates(random: Random, generator: Generator): Aggregate[] {
  const made = random.list(1, 4, () => oneOf(random, generator))
  return made.filter((one, i) => made.findIndex(other => nameOf(other) === nameOf(one)) === i)
}

function oneOf(random: Random, generator: Generator): Aggregate {
  const where = random.chance(0.25) ? { where: generator.condition(1) } : {}
  const value = () => random.pick(VALUES)
  const number = () => random.pick(NUMBERS)
  return random.weighted<Aggregate>([
    [3, () => ({ fn: 'count', ...where })],
    [2, () => ({ fn: 'count', field: value(), ...where })],
    [2, () => ({ fn: random.pick(['countDistinct', 'approxCountDistinct'] as const), field: value(), ...where })],
    [3, () => ({ fn: 'sum', field: random.chance(0.4) ? 'data.big' : number(), ...where })],
    [4, () => ({ fn: random.pick(['avg', 'stddev', 'variance', 'median'] as const), field: number(), ...where })],
    [
      2,
      () => ({
        fn: random.pick(['percentile', 'approxPercentile'] as const),
        field: number(),
        percentile: random.pick([0, 0.1, 0.5, 0.95, 1]),
        ...where
      })
    ],
    [3, () => ({ fn: random.pick(['min', 'max'] as const), field: value(), ...where })],
    [2, () => ({ fn: 'mode', field: random.pick(['type', 'tags.platform', 'data.v']), ...where })],
    [
      2,
      () => ({
        fn: random.pick(['first', 'last'] as const),
        field: random.pick(['type', 'tags.userId', 'data.v', 'data.list', 'timestamp']),
        ...where
      })
    ]
  ])
}

function having(random: Random, counts: readonly string[]): QueryCondition {
  const leaf = (): QueryCondition => ({
    field: random.pick(counts),
    op: random.pick(['gt', 'lte', 'ne'] as const),
    value: random.int(6)
  })
  return random.chance(0.5) ? leaf() : { or: [leaf(), { not: leaf() }] }
}
