// A process of writers that reserve seats under conditions: argv is the database's url, how many writers, how many
// resources, seats of each, the time to stop (ms since the epoch). Prints what it was told was stored, as JSON.
const { connect } = require('../../index.js')

const [url, writers, resources, seats, until] = process.argv.slice(2)
const below = n => Math.floor(Math.random() * n)

async function main() {
  const client = await connect({ url, pool: { max: 8, acquireTimeout: 60_000 } })
  const told = { stored: [], conflicts: 0, others: [] }
  async function writer() {
    while (Date.now() < Number(until)) {
      const resource = `seat${below(Number(resources))}`
      const failIf = { eventTypes: ['SEAT.RESERVED', 'SEAT.FREED', 'SEAT.CLOSED'], tags: { resource } }
      try {
        const { rows, token } = await client.query().where(failIf).select(['type']).execute()
        const taken = rows.reduce((n, { type }) => n + (type === 'SEAT.RESERVED') - (type === 'SEAT.FREED'), 0)
        if (rows.some(({ type }) => type === 'SEAT.CLOSED')) continue
        const type = taken < Number(seats) ? 'SEAT.RESERVED' : 'SEAT.FREED'
        const { ids } = await client.append([{ type, tags: { resource, by: String(process.pid) } }], {
          failIf,
          after: token
        })
        told.stored.push(...ids)
      } catch (error) {
        if (error.code === 'APPEND_CONFLICT') told.conflicts++
        else told.others.push(`${error.code}: ${error.message}`)
      }
    }
  }
  await Promise.all(Array.from({ length: Number(writers) }, writer))
  await client.close()
  process.stdout.write(JSON.stringify(told))
}
main()
