// What statements read with some of a table's indexes, while the planner does not see the others.

/** The event table's indexes beside that of its primary key, with their statements. */
export async function secondary(admin) {
  const { rows } = await admin.query(
    `SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS sql, pg_relation_size(indexrelid)::float8 AS bytes
     FROM pg_index WHERE indrelid = 'events'::regclass AND NOT indisprimary ORDER BY 1`
  )
  return rows
}

/**
 * Does something while the planner sees all of these indexes, or none. Nobody else may look at the database: the change
 * is to its catalog, and is rolled back.
 * @param {import('pg').Client} admin @param {readonly string[]} names @param {() => Promise<T>} work @returns {Promise<T>} @template T
 */
async function turned(admin, names, valid, work) {
  await admin.query('BEGIN')
  try {
    if (names.length > 0)
      await admin.query(
        'UPDATE pg_index SET indisvalid = $2 WHERE indexrelid IN (SELECT oid FROM pg_class WHERE relname = ANY($1))',
        [names, valid]
      )
    return await work()
  } finally {
    await admin.query('ROLLBACK')
  }
}

export const hidden = (admin, names, work) => turned(admin, names, false, work)
export const shown = (admin, names, work) => turned(admin, names, true, work)

/**
 * A statement with its values as `pg` sends them: where the server expects JSON, any value is sent as JSON.
 * @param {import('pg').Client} admin @param {{ sql: string, parameters: unknown[] }} compiled
 */
export async function bound(admin, { sql, parameters }) {
  await admin.query(`PREPARE looked_at AS ${sql}`)
  try {
    const { rows } = await admin.query(
      `SELECT unnest(parameter_types)::text AS type FROM pg_prepared_statements WHERE name = 'looked_at'`
    )
    return { sql, parameters: parameters.map((value, i) => (rows[i].type === 'jsonb' ? JSON.stringify(value) : value)) }
  } finally {
    await admin.query('DEALLOCATE looked_at')
  }
}

/** What a statement reads and was to cost, with the indexes it used. */
export async function executed(admin, { sql, parameters }) {
  const { rows } = await admin.query({
    text: `EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) ${sql}`,
    values: parameters
  })
  const { Plan: plan } = rows[0]['QUERY PLAN'][0]
  const used = new Set()
  const collect = node => {
    if (node['Index Name']) used.add(node['Index Name'])
    for (const child of node.Plans ?? []) collect(child)
  }
  collect(plan)
  return { blocks: plan['Shared Hit Blocks'] + plan['Shared Read Blocks'], cost: plan['Total Cost'], used }
}

/**
 * What a statement reads with any set of candidates that stand hidden. A plan is the same for all sets that lie between
 * what it used and what the planner saw, and know the same expressions, of which an index brings statistics: so many
 * sets need few executions.
 */
export class Reads {
  #admin
  #statement
  #expressions
  #found = []

  /** @param {import('pg').Client} admin @param {{ name: string, sql: string }[]} candidates */
  constructor(admin, statement, candidates) {
    this.#admin = admin
    this.#statement = statement
    this.#expressions = new Map(
      candidates.map(({ name, sql }) => [name, sql.match(/\("(?:tags|data|metadata)"[^)]*\)/g) ?? []])
    )
  }

  /** @param {readonly string[]} names @returns {Promise<{ blocks: number, cost: number, used: Set<string> }>} */
  async with(names) {
    const set = new Set(names)
    const expressions = new Set(names.flatMap(name => this.#expressions.get(name)))
    const known = [...expressions].sort().join()
    const same = this.#found.filter(one => one.known === known)
    const within = (some, all) => [...some].every(name => all.has(name))
    const answer = () => same.find(one => within(one.used, set) && within(set, one.seen))
    while (answer() === undefined) {
      const seen = new Set(this.#expressions.keys())
      // What brings more expressions is not to be seen; nor what was used where a plan of this set was looked for.
      for (const [name, own] of this.#expressions) if (!own.every(one => expressions.has(one))) seen.delete(name)
      for (const one of same) for (const name of one.used) if (!set.has(name)) seen.delete(name)
      const found = {
        ...(await shown(this.#admin, [...seen], () => executed(this.#admin, this.#statement))),
        seen,
        known
      }
      found.used = new Set([...found.used].filter(name => this.#expressions.has(name)))
      same.push(found)
      this.#found.push(found)
    }
    return answer()
  }
}
