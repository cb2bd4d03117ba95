// Sends distinct answers through a cache of a given size and says what the process takes:
//
//   node --expose-gc scripts/cache-memory.mjs [--through MB] [--limit MB]
//
// 2048 MB through 256 MB unless told. Fails where the process grows by 300 MB or more (for other limits: by the
// limit and 44 MB), or, from 128 MB on, by what is more than 10 % beside what the cache says that it takes: below
// that the heap of JavaScript is too large a share.
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

const require = createRequire(import.meta.url)
const { connect } = require('../index.js')
const { startEmbedded } = require('../lib/embedded/index.js')
const { values } = parseArgs({
  options: { through: { type: 'string', default: '2048' }, limit: { type: 'string', default: '256' } }
})
const MB = 1 << 20
const [through, limit] = [Number(values.through) * MB, Number(values.limit) * MB]
const EVENTS = 20_000
const ROWS = 700

/** What the process takes once garbage is gone. */
async function resident() {
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.()
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  return process.memoryUsage().rss
}

/** Asks distinct questions until so many bytes of answers went through. */
async function send(client, bytes, from) {
  let [sent, i] = [0, from]
  const lane = async () => {
    while (sent < bytes) {
      const n = i++
      const query = client
        .query()
        .where('data.n', 'gte', n % (EVENTS - ROWS))
        .orderBy('timestamp')
        .limit(ROWS - (n % 7))
      const { rows } = await query.cache({ consistency: 'strict', tags: [`n:${n}`] }).execute()
      sent += rows.length * BYTES
    }
  }
  await Promise.all([lane(), lane()])
  return i
}

/** About what a row is as JSON. */
const BYTES = 400

const given = process.env.TAMMA_TEST_DATABASE_URL
const directory = given ?? (await mkdtemp(join(tmpdir(), 'tamma-memory-')))
if (!given) await chmod(directory, 0o755) // as root, the server runs as another user, who has to come in
const server = given ? undefined : await startEmbedded({ directory: join(directory, 'database'), persistent: false })
const options = { url: given ?? server.url, table: { name: 'cache_memory' } }
const filler = await connect({ ...options, migrate: true })
const warm = await connect({ ...options, cache: { maxMemoryBytes: MB } })
const full = await connect({ ...options, cache: { maxMemoryBytes: limit } })
try {
  const { rows } = await filler.query().count().execute()
  for (let from = rows[0].count; from < EVENTS; from += 1000) {
    await filler.append(
      Array.from({ length: 1000 }, (_, i) => ({
        type: 'MEMORY.MEASURED',
        tags: { issueId: String(i % 100) },
        data: { n: from + i, text: 'x'.repeat(180) }
      }))
    )
  }
  // The heap of JavaScript and the connections have their size before it is measured.
  let next = await send(warm, Math.min(through / 8, 256 * MB), 0)
  const before = await resident()
  const started = performance.now()
  next = await send(full, through, next)
  const growth = (await resident()) - before
  const { memoryBytes, entries, evictions } = await full.cache.getCacheStats()
  const off = growth / memoryBytes - 1
  const mb = bytes => Math.round(bytes / MB)
  console.log(
    JSON.stringify({
      through: mb(through),
      limit: mb(limit),
      accounted: mb(memoryBytes),
      growth: mb(growth),
      off: Math.round(off * 1000) / 1000,
      entries,
      evictions,
      seconds: Math.round((performance.now() - started) / 1000)
    })
  )
  if (memoryBytes > limit || growth >= limit + 44 * MB || (limit >= 128 * MB && Math.abs(off) > 0.1))
    process.exitCode = 1
} finally {
  await Promise.all([filler.close(), warm.close(), full.close()])
  await server?.stop()
  if (server) await rm(directory, { recursive: true, force: true })
}
