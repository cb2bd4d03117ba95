// Breaks valid queries, the way callers do and the way attackers do.
import type { Random } from './random'

const HOSTILE = [
  "'; DROP TABLE canary; --",
  '" OR 1=1 --',
  '$1',
  '\\',
  '%',
  '*',
  '(',
  '[[:x:]]',
  '\0',
  '\ud800',
  '\uffff',
  '😀'.repeat(50),
  'a'.repeat(5000),
  '__proto__',
  'data.x[',
  'data["',
  'tags.',
  'infinity',
  '-infinity',
  '2026-01-01',
  '9999-12-31T23:59:59.999999Z',
  '-009999-01-01T00:00:00Z',
  'CODE.*',
  'a:b',
  '0197b0a2-6f0c-7c3e-9d1f-2b8e5a4c6d70'
]

const JUNK: readonly ((random: Random) => unknown)[] = [
  () => null,
  () => undefined,
  random => random.chance(0.5),
  random =>
    random.pick([
      0,
      -0,
      -1,
      1,
      1.5,
      2 ** 31,
      2 ** 32,
      2 ** 53,
      2 ** 53 + 2,
      1e308,
      5e-324,
      Number.NaN,
      Number.POSITIVE_INFINITY
    ]),
  random => random.pick([0n, -1n, 2n ** 64n, 10n ** 500n, 10n ** 2000n]),
  random => random.pick(HOSTILE),
  random => random.pick(HOSTILE) + random.pick(HOSTILE),
  () => [],
  () => ({}),
  random => random.list(0, 3, () => junk(random)),
  random => Object.fromEntries(random.list(0, 3, () => [random.pick([...HOSTILE, ...WORDS]), junk(random)])),
  random => new Date(random.pick([0, Number.NaN, 8.64e15, -8.64e15])),
  random => deep(random.pick([10, 70, 200])),
  () => () => {},
  () => Symbol('junk'),
  () => new Map([[1, 2]]),
  () => new Uint8Array(3),
  () => /regex/,
  () => Object.create(null)
]

/** Keys and values of the API, to be found where they do not belong. */
const WORDS = [
  ...[
    'filter',
    'where',
    'and',
    'or',
    'not',
    'field',
    'op',
    'value',
    'select',
    'selectAs',
    'orderBy',
    'limit',
    'offset',
    'after',
    'hints',
    'id'
  ],
  ...[
    'eventIds',
    'eventTypes',
    'issueIds',
    'tags',
    'startTime',
    'endTime',
    'anyOf',
    'types',
    'direction',
    'nulls',
    'timeout',
    'batchSize',
    'useIndex'
  ],
  ...[
    'eq',
    'ne',
    'lt',
    'in',
    'notIn',
    'between',
    'like',
    'ilike',
    'startsWith',
    'regex',
    'exists',
    'contains',
    'asc',
    'desc',
    'first',
    'last'
  ],
  ...[
    'type',
    'timestamp',
    'createdAt',
    'data',
    'metadata',
    'data.n',
    'data.s',
    'data.list[0]',
    'tags.issueId',
    'tags.a.b[0]',
    'from',
    'groupBy'
  ]
]

export const junk = (random: Random): unknown => random.pick(JUNK)(random)

function deep(depth: number): unknown {
  let value: unknown = 1
  for (let i = 0; i < depth; i++) value = i % 2 ? [value] : { not: value }
  return value
}

type Container = Record<string, unknown> | unknown[]
const isContainer = (value: unknown): value is Container =>
  Array.isArray(value) ||
  (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype)

/** A copy of a value in which one to three places are changed. */
export function mutated(value: unknown, random: Random): unknown {
  let changed = structuredClone(value)
  for (let i = 1 + random.int(3); i > 0; i--) changed = mutatedOnce(changed, random)
  return changed
}

function mutatedOnce(root: unknown, random: Random): unknown {
  const places = [...placesIn(root)]
  if (places.length === 0) return junk(random)
  const { container, key } = random.pick(places)
  const value = (container as Record<string | number, unknown>)[key]
  const change = random.int(8)
  if (change < 3) set(container, key, junk(random))
  else if (change === 3) set(container, key, random.pick(WORDS))
  else if (change === 4) set(container, key, copyOf(random.pick(places)))
  else if (change === 5) set(container, key, random.chance(0.5) ? [value] : { [random.pick(WORDS)]: value })
  else if (change === 6) remove(container, key)
  else if (Array.isArray(container)) container.push(junk(random))
  else set(container, random.pick([...WORDS, ...HOSTILE]), random.chance(0.5) ? junk(random) : value)
  return root
}

/** As JSON.parse does: `__proto__` is a member like others. */
function set(container: Container, key: string | number, value: unknown) {
  Object.defineProperty(container, key, { value, enumerable: true, configurable: true, writable: true })
}

function remove(container: Container, key: string | number) {
  if (Array.isArray(container)) container.splice(key as number, 1)
  else delete container[key]
}

/** A copy, so that nothing comes to contain itself. */
function copyOf({ container, key }: Place): unknown {
  const value = (container as Record<string | number, unknown>)[key]
  return isContainer(value)
    ? JSON.parse(JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? v.toString() : v)))
    : value
}

interface Place {
  container: Container
  key: string | number
}

function* placesIn(value: unknown): Generator<Place> {
  if (!isContainer(value)) return
  const keys = Array.isArray(value) ? value.keys() : Object.keys(value)
  for (const key of keys) {
    yield { container: value, key }
    yield* placesIn((value as Record<string | number, unknown>)[key])
  }
}
