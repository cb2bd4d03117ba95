// Random events: several JSON types at each path, the same few times again and again, and text that collations,
// case folding and UTF-16 order in ways of their own.
import type { Json, JsonObject } from './compare'
import { micros, type StoredEvent } from './field'
import type { Random } from './random'

export const TYPES = [
  'CODE',
  'CODE.A',
  'CODE.A.B',
  'CODE.AB.C',
  'CODE_X.A',
  'CODEX.A',
  'PR.MERGED.SUCCESS',
  'pr.merged',
  'ÉTÉ.A',
  '😀.A'
]

export const WORDS = [
  '',
  'a',
  'A',
  'b',
  'B',
  'ab',
  'Ab',
  'aB',
  'a b',
  'ä',
  'Ä',
  'a\u0308',
  'z',
  'Z',
  'é',
  'É',
  '\uffff',
  '😀',
  '😀a',
  '𝒳',
  'ω',
  'Ω'
]
const TEXTS = [
  ...WORDS,
  '1',
  '10',
  '9',
  '1.0',
  '-1',
  'null',
  'true',
  '100%',
  'a_b',
  'a\\b',
  'a.b',
  'a*',
  "o'neil",
  '"q"',
  'x\ny',
  '2026-01-01T00:00:00.000Z'
]
/** Inside lists and objects jsonb compares text by the database's collation: this text is ordered alike by all. */
const INNER_TEXTS = ['a', 'b', 'aa', 'ab', 'ba']

const NUMBERS: readonly (number | bigint)[] = [
  ...[
    0, 1, 2, 3, 5, 9, 10, 100, -1, -2, 0.1, 0.2, 0.30000000000000004, 1.5, -1.5, 1e21, 1e-7, 5e-324,
    1.7976931348623157e308
  ],
  ...[2 ** 53, 9007199254740993n, 9007199254740991, -9007199254740993n, 123456789012345678901234567890n]
]

export function randomNumber(random: Random): number | bigint {
  return random.weighted<number | bigint>([
    [4, () => random.int(8)],
    [3, () => random.pick(NUMBERS)],
    [1, () => (random.next() - 0.5) * 10 ** random.int(12)]
  ])
}

export const randomText = (random: Random) => random.pick(TEXTS)

export function randomScalar(random: Random): Json {
  return random.weighted<Json>([
    [5, () => randomNumber(random)],
    [5, () => randomText(random)],
    [2, () => random.chance(0.5)],
    [2, () => null]
  ])
}

const innerScalar = (random: Random): Json =>
  random.weighted<Json>([
    [4, () => random.int(4)],
    [2, () => random.pick(INNER_TEXTS)],
    [1, () => random.chance(0.5)],
    [1, () => null]
  ])

const innerObject = (random: Random, make: () => Json): JsonObject =>
  Object.fromEntries(random.some(['a', 'b', 'c', 'aa'], 0, 3).map(key => [key, make()]))

export function randomContainer(random: Random, depth = 2): Json {
  const inside = (): Json =>
    depth > 0 && random.chance(0.25) ? randomContainer(random, depth - 1) : innerScalar(random)
  return random.chance(0.5) ? random.list(0, 3, inside) : innerObject(random, inside)
}

/** Any JSON, scalars more often. */
export const randomJson = (random: Random): Json =>
  random.chance(0.75) ? randomScalar(random) : randomContainer(random)

const EPOCH = micros('2026-01-01T00:00:00Z')

/** A few hundred moments, some a microsecond apart, some far away. */
export function randomTime(random: Random): bigint {
  if (random.chance(0.02))
    return random.pick([
      micros('0001-01-01'),
      micros('1969-12-31T23:59:59.999999Z'),
      micros('9999-12-31T23:59:59.999999Z')
    ])
  return EPOCH + BigInt(random.int(60)) * 60_000_000n + BigInt(random.pick([0, 0, 0, 1, 2, 1000, 999_999]))
}

export function randomId(random: Random): string {
  const hex = (digits: number) =>
    random
      .int(16 ** digits)
      .toString(16)
      .padStart(digits, '0')
  return `019b${hex(4)}-${hex(4)}-7${hex(3)}-${random.pick(['8', '9', 'a', 'b'])}${hex(3)}-${hex(6)}${hex(6)}`
}

/** Leaves members out now and then. */
function maybe<T>(random: Random, members: Readonly<Record<string, () => T>>): Record<string, T> {
  const present = Object.entries(members).filter(() => random.chance(0.8))
  return Object.fromEntries(present.map(([key, make]) => [key, make()]))
}

export function randomEvent(random: Random): StoredEvent {
  const any = () => randomJson(random)
  const timestamp = randomTime(random)
  return {
    id: randomId(random),
    type: random.pick(TYPES),
    timestamp,
    createdAt: random.chance(0.5) ? timestamp : randomTime(random),
    tags: maybe(random, {
      issueId: () => String(random.int(12)),
      prId: () => String(random.int(5)),
      userId: () => random.pick(WORDS),
      provider: () => random.pick(['x', 'y']),
      platform: () => random.pick(['linux', 'Linux']),
      'a.b[0]': () => randomText(random),
      'ключ "\' 😀': () => random.pick(WORDS)
    }),
    metadata: maybe<Json>(random, {
      v: any,
      actor: () => maybe<Json>(random, { name: () => randomText(random), bot: () => random.chance(0.5) })
    }),
    data: maybe<Json>(random, {
      n: () => (random.chance(0.7) ? randomNumber(random) : randomJson(random)),
      s: () => (random.chance(0.8) ? randomText(random) : randomJson(random)),
      mixed: any,
      at: () => (random.chance(0.6) ? new Date(Number(randomTime(random) / 1000n)).toISOString() : any()),
      list: () => (random.chance(0.8) ? random.list(0, 3, () => innerScalar(random)) : randomJson(random)),
      box: () => randomContainer(random),
      deep: () => maybe<Json>(random, { a: () => maybe<Json>(random, { b: any }), 'any.key': any, 'q"\\[0]': any }),
      '0': any,
      ключ: any
    })
  }
}

export const randomEvents = (random: Random, count: number) => Array.from({ length: count }, () => randomEvent(random))

/** JSON text, with the spellings of a number that mean the same. */
export function jsonText(value: Json, random: Random): string {
  if (Array.isArray(value)) return `[${value.map(item => jsonText(item, random)).join(',')}]`
  if (typeof value === 'object' && value !== null) {
    return `{${Object.entries(value)
      .map(([key, member]) => `${JSON.stringify(key)}:${jsonText(member, random)}`)
      .join(',')}}`
  }
  if (typeof value === 'bigint') return value.toString()
  if (value === 0 && random.chance(0.3)) return '-0'
  if (typeof value === 'number' && Number.isInteger(value) && Math.abs(value) < 1000) {
    return random.pick([String(value), `${value}.0`, `${value}e0`, `${value}.000`])
  }
  return JSON.stringify(value)
}
