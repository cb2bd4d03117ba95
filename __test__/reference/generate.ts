// Random queries over the random events. Constants come mostly from the events themselves, so that conditions hold
// for some and not for others.
import type { ComparisonOperator, EventFilter, EventQuery, QueryCondition, QueryOrderBy } from '../../index.js'
import type { Json } from './compare'
import { literal } from './condition'
import { randomContainer, randomId, randomJson, randomNumber, randomText, randomTime, TYPES, WORDS } from './events'
import { fieldValue, isoText, type StoredEvent } from './field'
import type { Random } from './random'

const TEXT_FIELDS = [
  'type',
  'tags.issueId',
  'tags.userId',
  'tags.platform',
  'tags.a.b[0]',
  'tags.ключ "\' 😀',
  'tags.none'
]
const TIME_FIELDS = ['timestamp', 'createdAt']
const JSON_FIELDS = [
  ...[
    'data.n',
    'data.s',
    'data.mixed',
    'data.at',
    'data.list',
    'data.box',
    'data.list[0]',
    'data.list[1]',
    'data.box.a',
    'data.box[0]'
  ],
  ...[
    'data.deep.a.b',
    'data.deep["any.key"]',
    'data["deep"]["q\\"\\\\[0]"]',
    'data.0',
    'data.ключ',
    'data.n.x',
    'data.s[0]',
    'data.none'
  ],
  ...['metadata.v', 'metadata.actor.name', 'metadata.actor.bot']
]
/** jsonb compares the text in them by the database's collation: their order is not the API's to say. */
const WHOLE_FIELDS = ['tags', 'metadata', 'data', 'data.deep', 'data.deep.a', 'metadata.actor']

const ALL_FIELDS = [...TEXT_FIELDS, ...TIME_FIELDS, ...JSON_FIELDS, ...WHOLE_FIELDS]
/** Names that selected fields are given: those of columns too, and what is special to JavaScript or SQL. */
const NAMES = [
  'x',
  'type',
  'timestamp',
  'a.b',
  'a "b" c',
  "o'clock",
  '__proto__',
  'constructor',
  'ключ 😀',
  'x'.repeat(100)
]

type Kind = 'id' | 'text' | 'time' | 'json' | 'whole'

export class Generator {
  constructor(
    private readonly random: Random,
    private readonly events: readonly StoredEvent[]
  ) {}

  query(): EventQuery {
    const { random } = this
    const query: EventQuery = { filter: this.filter() }
    if (random.chance(0.3)) query.select = random.some(ALL_FIELDS, 1, 5)
    if (random.chance(0.15)) {
      query.selectAs = Object.fromEntries(
        random
          .some(
            NAMES.filter(name => !query.select?.includes(name)),
            1,
            3
          )
          .map(name => [name, random.pick(ALL_FIELDS)])
      )
    }
    const { selectAs = {} } = query
    if (random.chance(0.6)) {
      query.orderBy = random
        .list(1, 3, () => this.orderBy(Object.keys(selectAs)))
        .filter(({ field }) => !Object.hasOwn(selectAs, field) || !WHOLE_FIELDS.includes(selectAs[field]))
      if (query.orderBy.length === 0) delete query.orderBy
    }
    if (random.chance(0.6)) query.limit = random.pick([0, 1, 2, 7, 40, 200, 5000])
    if (random.chance(0.2)) query.offset = random.pick([0, 1, 10, 300, 5000])
    return query
  }

  filter(): EventFilter {
    const { random } = this
    const filter: { -readonly [K in keyof EventFilter]: EventFilter[K] } = {}
    if (random.chance(0.75)) filter.where = this.condition(random.int(4))
    if (random.chance(0.05))
      filter.eventIds = random.list(1, 30, () =>
        random.chance(0.9) ? this.event().id.toUpperCase() : randomId(random)
      )
    if (random.chance(0.15))
      filter.eventTypes = random.list(1, 3, () =>
        random.chance(0.5) ? random.pick(TYPES) : random.pick(['CODE.*', 'CODE.A.*', 'ÉTÉ.*', 'X.*'])
      )
    if (random.chance(0.1)) filter.issueIds = random.list(1, 4, () => String(random.int(14)))
    if (random.chance(0.04)) filter.prIds = random.list(1, 3, () => String(random.int(6)))
    if (random.chance(0.04)) filter.userIds = random.list(1, 4, () => random.pick(WORDS))
    if (random.chance(0.04)) filter.providers = ['x']
    if (random.chance(0.04)) filter.platforms = random.some(['linux', 'Linux', 'mac'], 1, 3)
    if (random.chance(0.1))
      filter.tags = Object.fromEntries(
        random.some(['issueId', 'userId', 'a.b[0]', 'none'], 1, 2).map(tag => [tag, this.tagValue(tag)])
      )
    if (random.chance(0.12)) Object.assign(filter, this.timeRange())
    if (random.chance(0.08)) filter.anyOf = random.list(1, 3, () => this.item())
    return filter
  }

  condition(depth: number): QueryCondition {
    const { random } = this
    const arms = () => random.list(1, 3, () => this.condition(depth - 1))
    if (depth <= 0) return random.chance(0.85) ? this.leaf() : this.sameField()
    return random.weighted<QueryCondition>([
      [2, () => ({ and: arms() })],
      [3, () => ({ or: arms() })],
      [2, () => ({ not: this.condition(depth - 1) })],
      [1, () => this.leaf()]
    ])
  }

  private event() {
    return this.random.pick(this.events)
  }

  private field(): { field: string; kind: Kind } {
    const of = (kind: Kind, fields: readonly string[]) => () => ({ field: this.random.pick(fields), kind })
    return this.random.weighted([
      [1, of('id', ['id'])],
      [5, of('text', TEXT_FIELDS)],
      [3, of('time', TIME_FIELDS)],
      [14, of('json', JSON_FIELDS)],
      [1, of('whole', WHOLE_FIELDS)]
    ])
  }

  /** Several tests of one field, which can exclude each other. */
  private sameField(): QueryCondition {
    const { random } = this
    const place = this.field()
    const arms = random.list(2, 4, () => (random.chance(0.8) ? this.leaf(place) : { not: this.leaf(place) }))
    return random.chance(0.7) ? { and: arms } : { not: { or: arms } }
  }

  private leaf({ field, kind } = this.field()): QueryCondition {
    const { random } = this
    const value = () => this.operand(field, kind)
    // The operands of a kind of field are known here, and not to the compiler.
    const leaf = (op: ComparisonOperator, value: unknown) => ({ field, op, value }) as QueryCondition
    const makers: [number, () => QueryCondition][] = [
      [4, () => leaf(random.pick(['eq', 'ne']), value())],
      [2, () => leaf(random.pick(['in', 'notIn']), random.list(1, 5, value))],
      [1, () => (random.chance(0.5) ? { field, op: 'exists' } : { field, op: 'exists', value: random.chance(0.5) })]
    ]
    if (kind !== 'whole') {
      makers.push([4, () => leaf(random.pick(['lt', 'lte', 'gt', 'gte']), value())])
      makers.push([2, () => leaf('between', [value(), value()])])
    }
    if (kind === 'json' || kind === 'whole') makers.push([2, () => leaf('contains', this.part(value() as Json))])
    if (kind === 'id' || kind === 'text' || kind === 'json') makers.push([3, () => this.match(field)])
    return random.weighted(makers)
  }

  private operand(field: string, kind: Kind): Json | Date {
    const { random } = this
    if (kind === 'time')
      return this.moment(random.chance(0.7) ? (fieldValue(this.event(), field).value as bigint) : randomTime(random))
    const { value } = fieldValue(this.event(), field)
    const found = value as Json | undefined
    if (kind === 'id') return random.chance(0.8) ? (found as string) : randomId(random).toUpperCase()
    if (kind === 'text')
      return random.chance(0.8) ? ((found as string) ?? 'x') : random.pick([...TYPES, randomText(random)])
    if (found !== undefined && random.chance(0.7)) return found
    return random.weighted<Json | Date>([
      [3, () => randomJson(random)],
      [2, () => randomNumber(random)],
      [1, () => randomContainer(random)],
      [field === 'data.at' ? 5 : 0, () => new Date(Number(randomTime(random) / 1000n))]
    ])
  }

  /** A time in one of the forms that the API takes. */
  private moment(at: bigint): string | Date {
    const { random } = this
    const whole = at % 1000n === 0n
    return random.weighted<string | Date>([
      [3, () => isoText(at)],
      [whole ? 2 : 0, () => new Date(Number(at / 1000n))],
      [1, () => isoText(at).replace('Z', '+00:00')]
    ])
  }

  /** Something of a value, which it contains perhaps. */
  private part(value: Json): Json {
    const { random } = this
    if (Array.isArray(value))
      return random.chance(0.2) && value.length > 0
        ? random.pick(value)
        : random.some(value, 0, value.length).map(item => this.part(item))
    if (typeof value === 'object' && value !== null) {
      return Object.fromEntries(
        random.some(Object.entries(value), 0, 3).map(([key, member]) => [key, this.part(member)])
      )
    }
    return value
  }

  private match(field: string): QueryCondition {
    const { random } = this
    const { value } = fieldValue(this.event(), field)
    const text = typeof value === 'string' ? value : randomText(random)
    const characters = Array.from(text)
    const from = random.int(characters.length + 1)
    const piece = characters.slice(from, from + 1 + random.int(4)).join('')
    return random.weighted<QueryCondition>([
      [2, () => ({ field, op: 'startsWith', value: random.chance(0.8) ? characters.slice(0, from).join('') : piece })],
      [3, () => ({ field, op: 'like', value: this.like(text) })],
      [2, () => ({ field, op: 'ilike', value: this.otherCase(this.like(text)) })],
      [2, () => ({ field, op: 'regex', value: this.regex(piece) })]
    ])
  }

  private like(text: string): string {
    const { random } = this
    const characters = Array.from(text).map(c => {
      if (random.chance(0.15)) return '_'
      if (random.chance(0.1)) return '%'
      return /[\\%_]/u.test(c) || random.chance(0.05) ? `\\${c}` : c
    })
    return random.pick(['', '%']) + characters.join('') + random.pick(['', '%'])
  }

  private otherCase(text: string): string {
    return Array.from(text, c => (this.random.chance(0.5) ? c.toUpperCase() : c.toLowerCase())).join('')
  }

  /** Of the part of PostgreSQL's regular expressions that JavaScript reads the same way. */
  private regex(piece: string): string {
    const { random } = this
    const source = random.pick([
      literal(piece),
      Array.from(piece, c => (random.chance(0.3) ? '.' : literal(c))).join(''),
      '[a-c]+',
      '(a|b)b?',
      '\\.[A-Z]{1,2}$',
      'x|1.*'
    ])
    return random.pick(['', '^']) + source + random.pick(['', '', '$', '.*'])
  }

  private tagValue(tag: string): string | string[] {
    const value = () => (fieldValue(this.event(), `tags.${tag}`).value as string | undefined) ?? 'x'
    return this.random.chance(0.5) ? value() : this.random.list(1, 3, value)
  }

  private timeRange() {
    const { random } = this
    const [low, high] = [randomTime(random), randomTime(random)].sort((a, b) => (a < b ? -1 : 1))
    return random.pick([
      { startTime: this.moment(low) },
      { endTime: this.moment(high) },
      { startTime: this.moment(low), endTime: this.moment(high) }
    ])
  }

  private item() {
    const { random } = this
    const types = random.list(1, 3, () => random.pick(TYPES))
    const tags = random.list(1, 2, () => {
      const tag = random.pick(['issueId', 'userId', 'platform'])
      return `${tag}:${[this.tagValue(tag)].flat()[0]}`
    })
    return random.pick([{ types }, { tags }, { types, tags }, {}])
  }

  orderBy(names: readonly string[]): QueryOrderBy {
    const { random } = this
    const order: QueryOrderBy = {
      field: random.weighted([
        [1, () => 'id'],
        [names.length > 0 ? 3 : 0, () => random.pick(names)],
        [3, () => random.pick(TIME_FIELDS)],
        [3, () => random.pick(TEXT_FIELDS)],
        [5, () => random.pick(JSON_FIELDS)]
      ])
    }
    if (random.chance(0.7)) order.direction = random.pick(['asc', 'desc'])
    if (random.chance(0.3)) order.nulls = random.pick(['first', 'last'])
    return order
  }
}
