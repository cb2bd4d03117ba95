// Random pipelines over events whose shape is known, each stage from what the rows before it have.
import type { PipelineStage } from '../../index.js'
import type { Random } from './random'

/** `fuzzy` numbers are quotients and the like, whose last digit nobody compares. */
export type Kind = 'number' | 'fuzzy' | 'text' | 'json' | 'time'

/** The columns of a row as it is; `event` while it is an event. */
export class PipelineGenerator {
  private columns = new Map<string, Kind>()
  private event = true
  private grouped = false
  private bucketed = false
  private made = 0

  constructor(private readonly random: Random) {}

  /** Pipelines over rows that are no events. */
  static over(random: Random, columns: readonly (readonly [string, Kind])[]) {
    const generator = new PipelineGenerator(random)
    generator.columns = new Map(columns)
    generator.event = false
    return generator
  }

  pipeline(): PipelineStage[] {
    return this.random.list(1, 6, () => this.stage())
  }

  private fields(...kinds: Kind[]): string[] {
    const own = [...this.columns].filter(([, kind]) => kinds.includes(kind)).map(([name]) => name)
    if (!this.event) return own
    const events: [string, Kind][] = [
      ['type', 'text'],
      ['tags.k', 'text'],
      ['tags.none', 'text'],
      ['data.n', 'json'],
      ['data.d', 'json'],
      ['data.mixed', 'json'],
      ['data.t', 'json'],
      ['timestamp', 'time']
    ]
    return [...own, ...events.filter(([, kind]) => kinds.includes(kind)).map(([name]) => name)]
  }

  private field(...kinds: Kind[]): string | undefined {
    const fields = this.fields(...kinds)
    return fields.length === 0 ? undefined : this.random.pick(fields)
  }

  private name() {
    this.made++
    return this.random.pick(['a', 'long name', 'data', 'x.y', '"q"']) + this.made
  }

  private stage(): PipelineStage {
    const { random } = this
    const made = random.weighted<PipelineStage | undefined>([
      [3, () => this.match()],
      [2, () => this.project()],
      [2, () => this.group()],
      [this.event && !this.bucketed ? 1 : 0, () => this.bucket()],
      [2, () => this.window()],
      [1, () => this.outliers()],
      [2, () => ({ sort: this.order() })],
      [1, () => ({ limit: random.int(40) })],
      [1, () => ({ offset: random.int(10) })]
    ])
    return made ?? { limit: 1 + random.int(50) }
  }

  private order() {
    const { random } = this
    const fields = this.fields('number', 'text', 'json', 'time')
    if (fields.length === 0) return this.event ? [{ field: 'id' }] : [{ field: [...this.columns.keys()][0] }]
    return random.some(fields, 1, 2).map(field => ({
      field,
      ...(random.chance(0.5) && { direction: random.pick(['asc', 'desc'] as const) }),
      ...(random.chance(0.2) && { nulls: random.pick(['first', 'last'] as const) })
    }))
  }

  private condition(depth = 0): unknown {
    const { random } = this
    if (depth < 2 && random.chance(0.25)) {
      const arms = random.list(1, 3, () => this.condition(depth + 1)).filter(arm => arm !== undefined)
      if (arms.length > 0) return random.pick([{ and: arms }, { or: arms }, { not: arms[0] }])
    }
    const field = this.field('number', 'text', 'json', 'time')
    if (field === undefined) return undefined
    const kind =
      this.columns.get(field) ?? (field === 'timestamp' ? 'time' : field.startsWith('data.') ? 'json' : 'text')
    if (random.chance(0.15)) return { field, op: 'exists', ...(random.chance(0.5) && { value: random.chance(0.5) }) }
    const operand = () => {
      if (kind === 'text') return random.pick(['A.X', 'B.X', 'a', 'b', 'AB', 'a5'])
      if (kind === 'time') return new Date(Date.UTC(2026, 0, 1) + random.int(60) * 60_000)
      return kind === 'number' || random.chance(0.7)
        ? random.pick([0, 1, 2, 5, 10, 2.5, -3])
        : random.pick(['x', 'yy', null, true])
    }
    const op = random.pick(['eq', 'ne', 'lt', 'lte', 'gt', 'gte', 'in', 'notIn'])
    return { field, op, value: op === 'in' || op === 'notIn' ? random.list(1, 3, operand) : operand() }
  }

  private match(): PipelineStage | undefined {
    const { random } = this
    const condition = this.condition() as never
    if (condition === undefined) return undefined
    if (this.event && random.chance(0.4))
      return {
        match: {
          ...(random.chance(0.6) && { eventTypes: random.pick([['A.*'], ['A.X', 'B.X']]) }),
          ...(random.chance(0.3) && { tags: { k: ['a', 'b'] } }),
          where: condition
        }
      }
    return this.grouped && random.chance(0.5) ? { having: condition } : { match: condition }
  }

  private bucket(): PipelineStage {
    this.bucketed = true
    this.columns.set('bucket', 'time')
    return { bucket: { interval: this.random.pick(['1 minute', '7 minutes', '1 hour', '1 day'] as const) } }
  }

  private group(): PipelineStage {
    const { random } = this
    const by = random.some(
      this.fields('number', 'text', 'json', 'time').filter(field => field !== 'timestamp' && field !== 'bucket'),
      0,
      2
    )
    const columns = new Map<string, Kind>(this.bucketed ? [['bucket', 'time']] : [])
    for (const field of by) columns.set(field, this.columns.get(field) ?? (field.startsWith('data.') ? 'json' : 'text'))
    const aggregates = random.list(1, 3, () => {
      const field = this.field('number', 'fuzzy', 'json')
      const as = this.name()
      columns.set(as, 'number')
      if (field === undefined || random.chance(0.2)) return { fn: 'count' as const, as }
      const isFuzzy = this.columns.get(field) === 'fuzzy'
      const fn = random.pick(
        isFuzzy
          ? (['count', 'sum', 'avg', 'min', 'max'] as const)
          : (['count', 'countDistinct', 'sum', 'avg', 'min', 'max', 'median'] as const)
      )
      if (fn === 'avg' || (isFuzzy && fn !== 'count')) columns.set(as, 'fuzzy')
      const condition = random.chance(0.15) ? this.condition() : undefined
      const where = condition === undefined ? {} : { where: condition as never }
      return { fn, field, as, ...where }
    })
    ;[this.columns, this.event, this.grouped, this.bucketed] = [columns, false, true, false]
    return { group: { ...(by.length > 0 && { by }), aggregates } }
  }

  private value(depth = 0): [unknown, Kind] {
    const { random } = this
    const choice = random.int(depth > 1 ? 2 : 8)
    const field = this.field('number', 'fuzzy', 'text', 'json', 'time')
    if (choice === 0 || field === undefined) {
      const literal = random.pick([0, 1, 2.5, -7, 'A', 'text'])
      return [{ literal }, typeof literal === 'number' ? 'number' : 'text']
    }
    if (choice <= 2) {
      const kind =
        this.columns.get(field) ?? (field === 'timestamp' ? 'time' : field.startsWith('data.') ? 'json' : 'text')
      return [field, kind]
    }
    const of = (...kinds: Kind[]) => {
      for (let i = 0; i < 8; i++) {
        const [value, kind] = this.value(depth + 1)
        if (kinds.includes(kind)) return value
      }
      return { literal: kinds.includes('number') ? 3 : 'xyz' }
    }
    if (choice <= 5) {
      const op = random.pick(['add', 'sub', 'mul', 'div', 'mod', 'abs', 'round', 'floor', 'ceil', 'ln'])
      const two = ['add', 'sub', 'mul', 'div', 'mod'].includes(op)
      // What a quotient's last digit decides is nobody's to say.
      const exact = ['mod', 'round', 'floor', 'ceil'].includes(op)
      const argument = () => (exact ? (this.field('json') ?? { literal: 7.5 }) : of('number', 'fuzzy', 'json'))
      return [{ op, args: two ? [argument(), argument()] : [argument()] }, exact ? 'number' : 'fuzzy']
    }
    if (choice === 6) {
      if (this.event && random.chance(0.4))
        return [
          random.pick([
            { op: 'epochMs', args: ['timestamp'] },
            { op: 'duration', args: [{ literal: new Date(Date.UTC(2026, 0, 1)) }, 'timestamp'] }
          ]),
          'fuzzy'
        ]
      const op = random.pick(['lower', 'upper', 'length', 'concat'])
      const args =
        op === 'concat' ? random.list(1, 3, () => this.field('text') ?? { literal: 'lit' }) : [of('text', 'json')]
      return [{ op, args }, op === 'length' ? 'number' : 'text']
    }
    const fields = this.fields('json')
    return fields.length === 0
      ? [{ literal: 4 }, 'number']
      : [{ op: 'coalesce', args: random.some(fields, 1, 3) }, 'json']
  }

  private project(): PipelineStage {
    const project: Record<string, unknown> = {}
    const columns = new Map<string, Kind>()
    for (const [value, kind] of this.random.list(1, 4, () => this.value())) {
      const name = this.name()
      project[name] = value
      columns.set(name, kind)
    }
    ;[this.columns, this.event, this.bucketed] = [columns, false, false]
    return { project: project as never }
  }

  private window(): PipelineStage | undefined {
    const { random } = this
    const name = random.pick([
      'lag',
      'lead',
      'rank',
      'rowNumber',
      'runningSum',
      'movingAvg',
      'ewma',
      'delta',
      ...(this.event ? ['rate'] : [])
    ] as const)
    const field = this.field('number', 'fuzzy', 'json')
    const reads = name !== 'rank' && name !== 'rowNumber'
    if (reads && field === undefined) return undefined
    const as = this.name()
    const parts = this.fields('text').filter(part => part !== 'timestamp')
    const window = {
      function: name,
      ...(reads && { field }),
      ...(parts.length > 0 && random.chance(0.4) && { partitionBy: [random.pick(parts)] }),
      ...(random.chance(0.4) && { orderBy: name === 'rate' ? [{ field: 'timestamp' }] : this.order() }),
      ...(name === 'movingAvg' && { size: 1 + random.int(4) }),
      ...((name === 'lag' || name === 'lead') && random.chance(0.5) && { size: 1 + random.int(3) }),
      ...(name === 'ewma' && (random.chance(0.5) ? { alpha: random.pick([0.01, 0.3, 0.9, 1]) } : { size: 3 })),
      as
    }
    const kind = this.columns.get(field ?? '') ?? 'json'
    const isExact = kind !== 'fuzzy' && ['runningSum', 'delta'].includes(name)
    this.columns.set(as, !reads || isExact ? 'number' : name === 'lag' || name === 'lead' ? kind : 'fuzzy')
    return { window: window as never }
  }

  private outliers(): PipelineStage | undefined {
    const field = this.field('number', 'json')
    if (field === undefined || this.columns.has('score')) return undefined
    this.columns.set('score', 'fuzzy').set('expected', 'fuzzy')
    return {
      outliers: {
        field,
        method: this.random.pick(['mad', 'iqr', 'zscore'] as const),
        threshold: this.random.pick([0.613, 1.517])
      }
    }
  }
}
