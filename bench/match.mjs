// Sequences and patterns: the matchers alone, and whole queries beside what else could answer them.

import pg from 'pg'
import { loadPackage } from './lib/database.mjs'
import { against, interleave, OURS, perSecond } from './lib/measure.mjs'

export const about = 'sequences and patterns: matchers alone in events/s; end to end against COPY, window SQL and JS'

const bit = letter => ({ field: 'type', op: 'eq', value: letter })
const steps = letters => [...letters].map(letter => ({ where: bit(letter) }))
const pattern = (text, more = {}) => ({
  filter: {},
  pattern: {
    by: [],
    pattern: text,
    define: Object.fromEntries([...new Set(text.match(/[A-Z]/g))].map(letter => [letter, bit(letter)])),
    ...more
  }
})
const FALL = { left: 'data.price', op: 'lt', right: { last: 'data.price', of: 'A' } }
/** What is matched, how many events a second are promised, and which bits its events have. */
const ALONE = [
  ['sequence A B C', { filter: {}, sequence: { steps: steps('ABC'), maxSpan: '1 hour' } }, 50e6],
  [
    'sequence A !X B',
    { filter: {}, sequence: { steps: [{ where: bit('A') }, { where: bit('X'), absent: true }, { where: bit('B') }] } },
    50e6
  ],
  ['pattern A B* C', pattern('A B* C'), 50e6],
  ['pattern (A | B)+? C', pattern('(A | B)+? C'), 50e6],
  ['cross-step A B+ C', { filter: {}, pattern: { by: [], pattern: 'A B+', define: { A: bit('A'), B: FALL } } }, 5e6]
]
/** Patterns that naive matchers take quadratic time for: no match, or one, in a single key. */
const LINEAR = [
  ['(A*)*B', 1],
  ['A B* C*', 0],
  ['(A|B)*? C', 3]
]

export async function run(context) {
  await alone(context)
  await linear(context)
  await whole(context)
}

async function withNative(context, use) {
  const client = await loadPackage().connect({ url: await context.fresh() })
  try {
    return await use(client[Symbol.for('tamma.events.native')])
  } finally {
    await client.close()
  }
}

async function alone(context) {
  const events = context.quick ? 100_000 : 10_000_000
  await withNative(context, async native => {
    for (const [name, query, promise] of ALONE) {
      let best = 0
      for (let round = 0; round < context.rounds(5); round++) {
        const { seconds } = await native.match(query, events, Math.ceil(events / 1000))
        best = Math.max(best, events / seconds)
      }
      context.report({
        case: `${name}, ${events.toLocaleString('en-US')} events in memory`,
        unit: 'events/s',
        higherIsBetter: true,
        ours: best,
        peers: {},
        ratio: null,
        ...(context.quick ? {} : { limit: promise })
      })
    }
  })
}

async function linear(context) {
  const sizes = (context.quick ? [25_000, 50_000] : [500_000, 1_000_000, 2_000_000, 4_000_000]).map(size => ({
    size,
    seconds: Infinity
  }))
  await withNative(context, async native => {
    for (const [text, bits] of LINEAR) {
      // The quickest pass of all rounds, sizes in turn: what a neighbour takes is not the matcher's.
      for (const taken of sizes) taken.seconds = Infinity
      for (let round = 0; round < context.rounds(5); round++) {
        for (const taken of sizes) {
          const { seconds } = await native.match(pattern(text), taken.size, 1, bits)
          taken.seconds = Math.min(taken.seconds, seconds)
        }
      }
      const doublings = sizes.slice(1).map(({ seconds }, i) => seconds / sizes[i].seconds)
      context.report({
        case: `${text}, twice the events of one key, the worst of ${sizes.map(({ size }) => size / 1e6).join(', ')} million`,
        unit: 'times as long',
        higherIsBetter: false,
        ours: Math.max(...doublings),
        peers: {},
        ratio: null,
        ...(context.quick ? {} : { limit: 2.3 })
      })
    }
  })
}

const TYPES = ['STEP.A', 'STEP.B', 'STEP.C', 'NOISE.X']
/**
 * Keys of about a hundred events. Where a step is rare, one key in a hundred has it, and so all steps. The key is that
 * of the migrations' own index.
 */
const fill = (rows, rare) => `
  INSERT INTO events (event_id, event_type, "timestamp", tags, metadata, data)
  SELECT ('018bcfe5-6800-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid,
         CASE WHEN ${rare} AND abs(hashint8(i)) % 4 = 2 AND hashint8(i % ${Math.max(1, Math.round(rows / 100))}) % 100 <> 0 THEN 'NOISE.X'
              ELSE ('{${TYPES.join(',')}}'::text[])[1 + abs(hashint8(i)) % 4] END,
         timestamptz '2024-01-01Z' + i * interval '1 second',
         jsonb_build_object('issueId', 'key-' || i % ${Math.max(1, Math.round(rows / 100))}), '{}', jsonb_build_object('n', i)
  FROM generate_series(0, ${rows} - 1) AS i`

const where = type => ({ eventTypes: [type] })
const SEQUENCE = {
  by: ['tags.issueId'],
  steps: [{ where: where('STEP.A') }, { where: where('STEP.B') }, { where: where('STEP.C') }]
}
/** The same by window functions: the last A before each B, and the last such B before each C. */
const WINDOWS = `
  WITH masks AS (
    SELECT tags->>'issueId' AS k, "timestamp" AS t, event_id AS i, event_type AS e FROM events
    WHERE event_type IN ('STEP.A', 'STEP.B', 'STEP.C') AND tags->>'issueId' IS NOT NULL),
  ab AS (SELECT *, max(t) FILTER (WHERE e = 'STEP.A') OVER w AS a FROM masks WINDOW w AS (PARTITION BY k ORDER BY t, i)),
  abc AS (SELECT *, max(t) FILTER (WHERE e = 'STEP.B' AND a IS NOT NULL) OVER w AS b FROM ab WINDOW w AS (PARTITION BY k ORDER BY t, i))
  SELECT count(*) FROM abc WHERE e = 'STEP.C' AND b IS NOT NULL`

async function whole(context) {
  const rows = context.quick ? 5_000 : 1_000_000
  for (const rare of [false, true]) {
    const url = await context.fresh()
    const admin = new pg.Client({ connectionString: url })
    await admin.connect()
    const client = await loadPackage().connect({ url })
    try {
      await admin.query(fill(rows, rare))
      // As autovacuum leaves it: no reader pays for hint bits.
      await admin.query('VACUUM (ANALYZE) events')
      const query = client.query().sequence(SEQUENCE)
      // What each event of a step costs to send in order, with nothing made of it.
      const copy = `COPY (SELECT tags->>'issueId' COLLATE "C" AS k, "timestamp" AS t, event_id AS i,
        (CASE WHEN event_type = 'STEP.A' THEN 1 ELSE 0 END | CASE WHEN event_type = 'STEP.B' THEN 2 ELSE 0 END | CASE WHEN event_type = 'STEP.C' THEN 4 ELSE 0 END)::int8 AS m
        FROM events WHERE event_type IN ('STEP.A', 'STEP.B', 'STEP.C') AND tags->>'issueId' IS NOT NULL ORDER BY 1, 2, 3) TO STDOUT (FORMAT binary)`
      const after = work => () => perSecond(() => work().then(() => rows))
      const contenders = {
        [OURS]: after(() => query.limit(1).execute()),
        'COPY BINARY of the same': after(() => copyOut(admin, copy)),
        'window functions': after(() => admin.query(WINDOWS)),
        'fetch all, match in JS': after(() => inJavaScript(admin))
      }
      const figures = await interleave(contenders, { rounds: context.rounds(3) })
      for (const [peer, atLeast] of [
        ['COPY BINARY of the same', 0.7],
        ['window functions', 3],
        ['fetch all, match in JS', 10]
      ]) {
        const common = { unit: 'events/s', higherIsBetter: true }
        context.report({
          case: `A B C of ${rows.toLocaleString('en-US')} events${rare ? ', 1 % of keys have all' : ''}, by ${peer}`,
          ...common,
          ...against(figures, { ...common, peers: [peer] }),
          ...(context.quick ? {} : { atLeast: rare ? atLeast * 10 : atLeast })
        })
      }
      if (!rare) await upToDate(context, client, rows)
    } finally {
      await client.close()
      await admin.end()
      await context.drop(url)
    }
  }
}

/** A kept answer after one new event, which is not timed, beside the whole run. */
async function upToDate(context, client, rows) {
  const query = client.query().sequence(SEQUENCE).limit(1)
  const cached = client.query().sequence(SEQUENCE).limit(1).cache({ consistency: 'strict' })
  await cached.execute()
  let key = 0
  const contenders = {
    [OURS]: async () => {
      await client.append([{ type: 'STEP.C', tags: { issueId: `key-${key++}` } }])
      return perSecond(() => cached.execute().then(() => rows))
    },
    'the whole run': () => perSecond(() => query.execute().then(() => rows))
  }
  const common = { unit: 'events/s', higherIsBetter: true }
  context.report({
    case: `A B C of ${rows.toLocaleString('en-US')} events, kept, with one key touched`,
    ...common,
    ...against(await interleave(contenders, { rounds: context.rounds(3) }), common)
  })
}

/** Reads a COPY to its end, by the protocol's own messages. */
function copyOut(client, statement) {
  const { connection } = client
  return new Promise((resolve, reject) => {
    const query = {
      submit: connection => void connection.query(statement),
      handleCopyData() {},
      handleCommandComplete() {},
      handleReadyForQuery: resolve,
      handleError: reject,
      handleRowDescription() {},
      handleDataRow() {},
      handlePortalSuspended() {},
      handleEmptyQuery() {},
      handleCopyInResponse() {}
    }
    connection.once('copyOutResponse', () => {})
    client.query(query)
  })
}

/** Every event to JavaScript, and the state machine there. */
async function inJavaScript(client) {
  const { rows } = await client.query(
    `SELECT event_id, event_type, "timestamp", tags, metadata, data FROM events ORDER BY "timestamp", event_id`
  )
  const states = new Map()
  let matches = 0
  for (const { event_type: type, tags } of rows) {
    const state = states.get(tags.issueId) ?? [false, false]
    if (type === 'STEP.C' && state[1]) {
      matches++
      state[1] = false
    } else if (type === 'STEP.B' && state[0]) {
      state[0] = false
      state[1] = true
    } else if (type === 'STEP.A') state[0] = true
    states.set(tags.issueId, state)
  }
  return matches
}
