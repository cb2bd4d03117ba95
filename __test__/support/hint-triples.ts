// Random (query, index, hint) triples over the events of `eventAt`, and what the server itself says of each: by the scan
// counters that another connection reads, by EXPLAIN ANALYZE under the very settings that the outcome names, and, for what
// was refused, by the plan after all other indexes were dropped in a transaction that is rolled back.
import type { EventQuery, EventsClient, HintOutcome, QueryCondition } from '../../index.js'
import type { Random } from '../reference/random'
import type { TestDatabase } from './database'

export const INDEXES = `
  CREATE INDEX f_issue ON events ((tags->>'issueId'));
  CREATE INDEX f_issue_time ON events ((tags->>'issueId'), "timestamp" DESC, event_type);
  CREATE INDEX f_type_time ON events (event_type, "timestamp");
  CREATE INDEX f_tags ON events USING gin (tags jsonb_path_ops);
  CREATE INDEX f_data ON events USING gin (data);
  CREATE INDEX f_brin ON events USING brin ("timestamp") WITH (pages_per_range = 4);
  CREATE INDEX f_hash ON events USING hash (event_type);
  CREATE INDEX f_merged ON events ("timestamp") WHERE event_type = 'PR.MERGED.SUCCESS';
  CREATE INDEX f_early ON events ((tags->>'issueId')) WHERE "timestamp" < '2024-01-01T01:00:00Z';
  CREATE INDEX f_n ON events ((data->'n'));
  CREATE INDEX f_cover ON events ("timestamp", event_id) INCLUDE (event_type);
  CREATE INDEX f_created ON events (created_at);
  CREATE TABLE issues (id text PRIMARY KEY, title text NOT NULL);
  CREATE INDEX f_title ON issues (title);
  INSERT INTO issues SELECT i::text, 'issue ' || i FROM generate_series(0, 99) AS i`

const NAMES = [
  ...['f_issue', 'f_issue_time', 'f_type_time', 'f_tags', 'f_data', 'f_brin', 'f_hash', 'f_merged', 'f_early', 'f_n'],
  ...['f_cover', 'f_created', 'events_pkey', 'idx_events_timestamp', 'issues_pkey', 'f_title']
]
const TYPES = ['CODE.GENERATED.SUCCESS', 'CODE.GENERATED.FAILURE', 'PR.MERGED.SUCCESS', 'ISSUE.OPENED']
const START = Date.UTC(2024, 0, 1)

export interface Triple {
  query: EventQuery
  kind: 'useIndex' | 'forceIndex'
  index: string
}

function leaf(random: Random): QueryCondition {
  const issue = String(random.int(110))
  const at = new Date(START + random.int(5_000_000)).toISOString()
  return random.pick<() => QueryCondition>([
    () => ({ field: 'tags.issueId', op: 'eq', value: issue }),
    () => ({ field: 'tags.issueId', op: 'in', value: [issue, '3'] }),
    () => ({ field: 'type', op: 'eq', value: random.pick(TYPES) }),
    () => ({ field: 'type', op: 'startsWith', value: 'CODE.' }),
    () => ({ field: 'timestamp', op: random.pick(['lt', 'lte', 'gt', 'gte'] as const), value: at }),
    () => ({ field: 'tags', op: 'contains', value: { issueId: issue } }),
    () => ({ field: 'data', op: 'contains', value: { n: random.int(6000) } }),
    () => ({ field: 'data.n', op: random.pick(['eq', 'lt', 'gt'] as const), value: random.int(6000) }),
    () => ({
      field: 'id',
      op: 'eq',
      value: `018bcfe5-6800-7000-8000-${random.int(6000).toString(16).padStart(12, '0')}`
    })
  ])()
}

function condition(random: Random): QueryCondition {
  if (random.chance(0.1)) return { not: leaf(random) }
  if (random.chance(0.15)) return { or: [leaf(random), leaf(random)] }
  return leaf(random)
}

export function randomTriple(random: Random): Triple {
  const and = random.list(0, 3, () => condition(random))
  const query: EventQuery = { filter: and.length === 0 ? {} : { where: { and } } }
  if (random.chance(0.2)) {
    query.groupBy = [random.pick(['type', 'tags.issueId'] as const)]
    query.aggregates = [{ fn: 'count', as: 'n' }]
  } else {
    if (random.chance(0.3)) query.select = random.pick([['type'], ['timestamp', 'id'], ['tags.issueId', 'timestamp']])
    if (random.chance(0.4)) {
      const field = random.pick(['timestamp', 'id', 'type', 'createdAt', 'data.n'] as const)
      query.orderBy = [{ field, direction: random.pick(['asc', 'desc'] as const) }]
    }
    if (random.chance(0.15)) {
      query.joins = [{ table: 'issues', alias: 'i', on: { 'tags.issueId': 'id' } }]
      query.select = ['type', 'i.title' as 'type']
    }
    if (random.chance(0.4) || query.joins) query.limit = random.pick([0, 1, 20, 300])
  }
  return { query, kind: random.pick(['useIndex', 'forceIndex'] as const), index: random.pick(NAMES) }
}

/** How often each index was scanned so far, by all backends, once ours have sent what they counted. */
async function counters(database: TestDatabase, client: EventsClient): Promise<Record<string, number>> {
  await client.sql`SELECT pg_stat_force_next_flush()`.execute()
  await database.admin.query('SELECT pg_stat_force_next_flush()')
  const { rows } = await database.admin.query(
    'SELECT c.relname AS name, pg_stat_get_numscans(c.oid)::int AS n FROM pg_class c WHERE c.relname = ANY ($1)',
    [NAMES]
  )
  return Object.fromEntries(rows.map(row => [row.name, row.n]))
}

interface Node {
  'Node Type': string
  'Index Name'?: string
  'Actual Loops': number
  Plans?: Node[]
}
const nodes = (node: Node): Node[] => [node, ...(node.Plans ?? []).flatMap(nodes)]

/** What runs where an index is named: that leaves out rewrites which choose how rows are read. */
function statement(client: EventsClient, query: EventQuery, index: string) {
  return client.optimizer.createExecutionPlan({ ...query, hints: { useIndex: [index] } })
}

/** The nodes of an index in the plan of the query, run by EXPLAIN ANALYZE under settings. */
async function measured(database: TestDatabase, client: EventsClient, { query, index }: Triple, settings: string) {
  const { sql, parameters } = await statement(client, query, index)
  const { admin } = database
  await admin.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
  try {
    await admin.query('SET LOCAL max_parallel_workers_per_gather = 0')
    for (const setting of settings.split(', ').filter(part => part.includes(' = ')))
      await admin.query(`SET LOCAL ${setting}`)
    // A buffered run asks for one row more than the limit.
    const more = sql.replace(/ LIMIT (\d+)/, (_, n) => ` LIMIT ${Number(n) + 1}`)
    const text = `EXPLAIN (ANALYZE, TIMING off, FORMAT JSON) ${more}`
    const { rows } = await admin.query(text, parameters.map(asText))
    return nodes(rows[0]['QUERY PLAN'][0].Plan)
  } finally {
    await admin.query('ROLLBACK')
  }
}

const asText = (value: unknown) => (value !== null && typeof value === 'object' ? value : String(value))
const CANNOT = [
  'enable_seqscan = off',
  'enable_seqscan = off, enable_sort = off, enable_bitmapscan = off, enable_hashagg = off'
]
const FOR_JOINS = [
  'enable_seqscan = off, enable_hashjoin = off, enable_mergejoin = off',
  'enable_seqscan = off, enable_nestloop = off'
]

/** Whether the planner takes an index once there is no other. */
async function takesAlone(database: TestDatabase, client: EventsClient, { query, index }: Triple) {
  const { sql, parameters } = await statement(client, query, index)
  const { admin } = database
  const others = NAMES.filter(name => name !== index)
  await admin.query('BEGIN')
  try {
    await admin.query(
      `ALTER TABLE events DROP CONSTRAINT IF EXISTS ${index === 'events_pkey' ? 'nothing' : 'events_pkey'}`
    )
    if (index !== 'issues_pkey') await admin.query('ALTER TABLE issues DROP CONSTRAINT issues_pkey')
    const { rows: all } = await admin.query(
      "SELECT quote_ident(c.relname) AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid IN ('events'::regclass, 'issues'::regclass) AND c.relname <> $1",
      [index]
    )
    if (all.length > 0) await admin.query(`DROP INDEX ${all.map(row => row.name).join(', ')}`)
    if (others.length === NAMES.length) throw new Error(`${index} is not among the indexes`)
    for (const settings of query.joins ? [...CANNOT, ...FOR_JOINS] : CANNOT) {
      await admin.query('SAVEPOINT s')
      for (const setting of settings.split(', ')) await admin.query(`SET LOCAL ${setting}`)
      const { rows } = await admin.query(`EXPLAIN (FORMAT JSON) ${sql}`, parameters.map(asText))
      await admin.query('ROLLBACK TO s')
      if (nodes(rows[0]['QUERY PLAN'][0].Plan).some(node => node['Index Name'] === index)) return true
    }
    return false
  } finally {
    await admin.query('ROLLBACK')
  }
}

/** How a triple came out. */
export type Ending =
  | 'planned so'
  | 'by settings'
  | 'not reached'
  | 'lost on cost'
  | 'predicate'
  | 'cannot serve'
  | 'other table'
  | 'nothing read'

/**
 * Runs a triple and holds its outcome against the server's own word. `exact`: planning scans nothing, so that the
 * counters must agree to the scan.
 */
export async function checkTriple(
  database: TestDatabase,
  client: EventsClient,
  triple: Triple,
  { exact, probe }: { exact: boolean; probe: boolean }
): Promise<Ending> {
  const { query, kind, index } = triple
  const before = await counters(database, client)
  let outcome: HintOutcome
  let indexesUsed: string[] = []
  let failed = false
  try {
    const result = await client.optimizer.executeQuery({ ...query, hints: { [kind]: [index] } })
    const [only, ...more] = result.hints ?? []
    if (only === undefined || more.length > 0) throw new Error(`${result.hints?.length} outcomes of one hint`)
    outcome = only
    indexesUsed = result.indexesUsed ?? []
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    if (kind !== 'forceIndex' || code !== 'INDEX_HINT_NOT_HONOURED') throw error
    failed = true
    outcome = { hint: kind, value: index, honoured: false, reason: message.replace(/^.*? cannot be used: /, '') }
  }
  const after = await counters(database, client)
  const delta = (name: string) => (after[name] ?? 0) - (before[name] ?? 0)
  const must = (holds: boolean, what: string) => {
    if (!holds)
      throw new Error(
        `${what}: ${JSON.stringify({ outcome, indexesUsed, delta: NAMES.map(n => [n, delta(n)]).filter(([, n]) => n !== 0) })}`
      )
  }
  must(outcome.hint === kind && outcome.value === index, 'another hint')
  must(!(failed && outcome.honoured), 'failed and honoured')
  if (outcome.reason === 'no event can satisfy the filter: nothing was read') {
    must(NAMES.every(name => delta(name) === 0) && (await isEmpty()), 'something was read')
    return 'nothing read'
  }
  must(!(kind === 'forceIndex' && !outcome.honoured && !failed), 'a forced index was passed over')
  if (exact) for (const name of NAMES) if (!indexesUsed.includes(name)) must(delta(name) === 0, `${name} was scanned`)
  if (failed) must(!exact || NAMES.every(name => delta(name) === 0), 'it failed after it had run')
  if (!outcome.honoured) {
    must(!indexesUsed.includes(index), 'not honoured, and in the plan')
    return await judged(outcome.reason ?? '')
  }
  must(indexesUsed.includes(index), 'honoured, and not in the plan')
  const [settings, proof] = (outcome.how ?? '').split('; ')
  const scans = proof === 'scanned once' ? 1 : Number(/^scanned (\d+) times$/.exec(proof ?? '')?.[1] ?? 0)
  if (exact) must(delta(index) === scans, 'the counter says another number of scans')
  else must(delta(index) >= scans, 'the counter says fewer scans')
  const own = (await measured(database, client, triple, settings ?? '')).filter(node => node['Index Name'] === index)
  must(own.length > 0, 'another session plans otherwise under these settings')
  const ran = own.some(node => node['Actual Loops'] > 0)
  if (!ran) must(scans === 0, 'scanned, though no node ran')
  // A node that ran scans, unless its conditions contradict each other: then it has nothing to look for.
  if (ran && scans === 0) must(await isEmpty(), 'a node ran and nothing was counted')
  if (scans === 0) return 'not reached'
  return settings === "the planner's own choice" ? 'planned so' : 'by settings'

  async function isEmpty() {
    const { rowCount } = await client.optimizer.executeQuery(query)
    return rowCount === 0
  }

  async function judged(reason: string): Promise<Ending> {
    if (reason.startsWith('it belongs to')) {
      must((index === 'issues_pkey' || index === 'f_title') && !query.joins, 'it is of a table of the query')
      return 'other table'
    }
    if (probe) {
      const alone = await takesAlone(database, client, triple)
      must(alone === reason.startsWith('every plan with it costs more'), `alone it is ${alone ? '' : 'not '}used`)
    }
    if (reason.startsWith('every plan with it costs more')) return 'lost on cost'
    if (reason.includes('does not follow')) return 'predicate'
    must(reason.startsWith("none of the query's conditions"), 'a reason of another kind')
    return 'cannot serve'
  }
}
