// Reading a whole log, one row at a time.

import { against, footprint, interleave, OURS, perSecond } from './lib/measure.mjs'
import { assertSame, Digest } from './lib/peers.mjs'
import { bestSettings, openServer, openStream, STREAM_PEERS, settingsText } from './lib/streams.mjs'

export const about = 'whole events, all columns, one row at a time: rows/s, memory, event loop'
export const datasets = ({ quick }) => (quick ? [2000] : [100_000, 1_000_000])

const DRAIN = 'drain (native side alone)'
const SERVER = 'server alone, to nowhere'

export async function run(context) {
  const sizes = datasets(context)
  const calibration = context.dataset(sizes[0])
  const settings = {}
  for (const name of STREAM_PEERS) settings[name] = await bestSettings(name, calibration, context.quick ? 500 : 50_000)
  for (const rows of sizes) await rates(context, rows, settings)
  await footprints(context, sizes[sizes.length - 1], settings)
}

async function rates(context, rows, settings) {
  const names = [OURS, ...STREAM_PEERS]
  const opened = {}
  try {
    for (const name of names) opened[name] = await openStream(name, context.dataset(rows), settings[name])
    if (rows <= 100_000) await verify(opened)
    const contenders = Object.fromEntries(names.map(name => [name, () => perSecond(() => readAll(opened[name], rows))]))
    const { drain } = opened[OURS]
    if (drain) contenders[DRAIN] = () => perSecond(drain)
    opened[SERVER] = await openServer(context.dataset(rows))
    const { write } = opened[SERVER]
    if (write) {
      contenders[SERVER] = () =>
        perSecond(async () => {
          await write()
          return rows
        })
    }

    const rounds = context.rounds(rows > 100_000 ? 5 : 9)
    const figures = await interleave(contenders, { rounds })
    const common = { unit: 'rows/s', higherIsBetter: true }
    const title = `${rows.toLocaleString('en-US')} rows`
    const result = against(figures, { ...common, peers: STREAM_PEERS })
    context.report({
      case: title,
      ...common,
      ...result,
      ...promised(context, 1.5),
      detail: detail(result, rounds, settings)
    })
    for (const [name, what, promise] of [
      [DRAIN, 'of drain', promised(context, 0.9)],
      [SERVER, 'of what the server alone can write', {}]
    ]) {
      if (contenders[name] === undefined) continue
      const share = against(figures, { ...common, peers: [name] })
      context.report({ case: `${title}, ${what}`, ...common, ...share, ...promise, detail: detail(share, rounds) })
    }
  } finally {
    for (const { close } of Object.values(opened)) await close()
  }
}

// Counts and touches every row: cheap enough not to be what is measured.
async function readAll({ stream }, expected) {
  let count = 0
  let length = 0
  await stream(row => {
    count += 1
    length += row.type.length + row.id.length
  })
  if (count !== expected || length <= 36 * count) throw new Error(`expected ${expected} rows, got ${count}`)
  return count
}

async function verify(opened) {
  const digests = {}
  for (const [name, { stream }] of Object.entries(opened)) {
    digests[name] = new Digest()
    await stream(row => digests[name].add(row))
  }
  assertSame(digests)
}

// One process each: what an earlier run left on the heap would hide growth.
async function footprints(context, rows, settings) {
  const rounds = context.rounds(3)
  const names = [OURS, ...STREAM_PEERS]
  const passes = Object.fromEntries(names.map(name => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const name of names) passes[name].push(await context.probe({ name, rows, settings: settings[name] }))
  }
  const title = `${rows.toLocaleString('en-US')} rows`
  for (const { what, unit, of, limit } of [
    { what: 'growth of resident memory', unit: 'MB', of: 'memory', limit: 48 },
    { what: 'longest event-loop gap', unit: 'ms', of: 'gap', limit: 25 },
    { what: 'longest event-loop gap, time on a processor', unit: 'ms', of: 'busy' }
  ]) {
    const figures = Object.fromEntries(names.map(name => [name, passes[name].map(pass => pass[of])]))
    // What is promised is the worst pass, not the middle one.
    const worst = Object.fromEntries(names.map(name => [name, [Math.max(...figures[name])]]))
    context.report({
      case: `${title}, ${what}`,
      unit,
      higherIsBetter: false,
      ...against(worst, { higherIsBetter: false }),
      ...(context.quick || limit === undefined ? {} : { limit }),
      detail: { passes: figures, ...detail({}, rounds, settings) }
    })
  }
}

/** In a fresh process: memory and event loop over one pass. */
export async function probe(context, { name, rows, settings }) {
  const opened = await openStream(name, context.dataset(rows), settings)
  try {
    await opened.stream(() => {}, 1000)
    return await footprint(() => readAll(opened, rows))
  } finally {
    await opened.close()
  }
}

const promised = (context, atLeast) => (context.quick ? {} : { atLeast })

function detail({ spread }, rounds, settings) {
  const texts =
    settings && Object.fromEntries(Object.entries(settings).map(([name, best]) => [name, settingsText(best)]))
  return { rounds, ...(spread ? { spread } : {}), ...(texts ? { settings: texts } : {}) }
}
