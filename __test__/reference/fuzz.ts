// How long random tests go on, and with which seeds.
//
//   TAMMA_SEED=<n>          another seed than the usual one
//   TAMMA_QUERY=<n>         of that seed only the query that an error names
//   TAMMA_FUZZ_MINUTES=<n>  goes on for so long (scripts/fuzz.mjs)

const minutes = Number(process.env.TAMMA_FUZZ_MINUTES ?? 0)
const only = process.env.TAMMA_QUERY

/** A test's time limit, in milliseconds. */
export const LIMIT = 120_000 + minutes * 60_000

export const seedOf = (usual: number) => Number(process.env.TAMMA_SEED ?? usual)

/** What to set to see a failure again. */
export const again = (seed: number, query: number) => `TAMMA_SEED=${seed} TAMMA_QUERY=${query}`

/**
 * Runs `check` with the numbers from `first` on, `width` at a time: `count` of them, or for this test's share of the
 * minutes.
 */
export async function each(
  first: number,
  count: number,
  share: number,
  width: number,
  check: (query: number) => Promise<void>
) {
  if (only !== undefined) return check(Number(only))
  const deadline = performance.now() + minutes * share * 60_000
  let next = first
  const lane = async () => {
    while (minutes > 0 ? performance.now() < deadline : next < first + count) await check(next++)
  }
  await Promise.all(Array.from({ length: width }, lane))
}
