// Results as JSON lines, for programs, or as a table, for people.

const number = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 })
const fine = new Intl.NumberFormat('en-US', { maximumFractionDigits: 1 })

/**
 * One measured case. `limit` is a promise about our own figure, `atLeast` one about the ratio; `detail` holds what a
 * reader needs to repeat it (settings of the peers, spread of the ratios, rounds).
 * @typedef {{ bench: string, case: string, unit: string, ours: number, peers: Record<string, number>,
 *   ratio: number | null, higherIsBetter: boolean, limit?: number, atLeast?: number, detail?: object }} Result
 */

const digits = value => (value === null || !Number.isFinite(value) ? null : Number(value.toPrecision(6)))

export function toJson(result) {
  const { bench, unit, higherIsBetter, limit, atLeast, detail } = result
  return JSON.stringify({
    bench,
    case: result.case,
    unit,
    ours: digits(result.ours),
    peers: Object.fromEntries(Object.entries(result.peers).map(([name, value]) => [name, digits(value)])),
    ratio: digits(result.ratio),
    higherIsBetter,
    ...(limit === undefined ? {} : { limit }),
    ...(atLeast === undefined ? {} : { atLeast }),
    ...(detail === undefined ? {} : { detail })
  })
}

/** Whether what was promised holds; true where nothing was. */
export function holds({ ours, ratio, limit, atLeast, higherIsBetter }) {
  const within = limit === undefined || (higherIsBetter ? ours >= limit : ours <= limit)
  return within && (atLeast === undefined || (ratio !== null && ratio >= atLeast))
}

const figure = value => (value >= 1000 ? number : fine).format(value)

/** The lines of one result: ours, then each peer, then what was promised. */
export function toText(result) {
  const sign = result.higherIsBetter ? '≥' : '≤'
  const row = (name, value, rest = '') => `    ${name.padEnd(28)} ${figure(value).padStart(12)} ${result.unit}${rest}`
  const ratio = result.ratio === null ? '' : `   × best peer: ${result.ratio.toFixed(2)}`
  const spread = result.detail?.spread ? ` (${result.detail.spread.map(value => value.toFixed(2)).join(' to ')})` : ''
  const promises = [
    ...(result.limit === undefined ? [] : [`${sign} ${figure(result.limit)} ${result.unit}`]),
    ...(result.atLeast === undefined ? [] : [`ratio ≥ ${result.atLeast}`])
  ]
  return [
    `  ${result.case}`,
    row('ours', result.ours, ratio + spread),
    ...Object.entries(result.peers).map(([name, value]) => row(name, value, settings(result.detail, name))),
    ...(promises.length ? [`    ${holds(result) ? '✓' : '✗'} promised: ${promises.join(', ')}`] : [])
  ].join('\n')
}

const settings = (detail, name) => (detail?.settings?.[name] ? `   [${detail.settings[name]}]` : '')
