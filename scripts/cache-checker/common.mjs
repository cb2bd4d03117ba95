// What the processes of the checker of the cache share.
import { createRequire } from 'node:module'
import pg from 'pg'

/** The package: another build of it, such as one in a copy of the repository, where the environment names one. */
export const { connect } = createRequire(import.meta.url)(process.env.TAMMA_CHECK_PACKAGE ?? '../../index.js')
/** In milliseconds: writing and quiet take turns. */
export const PHASE = 4000
export const TYPES = ['A.ONE.X', 'A.TWO.X', 'B.ONE.X', 'C.RARE.X']

export function generator(seed) {
  let state = seed >>> 0
  const next = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
  return { next, below: n => Math.floor(next() * n), pick: items => items[Math.floor(next() * items.length)] }
}

export async function opened(url) {
  const client = new pg.Client({ connectionString: url, application_name: 'checker' })
  client.on('error', () => {})
  await client.connect()
  return client
}
