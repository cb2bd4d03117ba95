// Read a large result row by row, and stop when enough was seen. Run: node examples/streaming.mjs
import { connect } from '@tamma/events'

const events = await connect({ embedded: { persistent: false } })
try {
  function* readings() {
    for (let n = 0; n < 100_000; n++) {
      // A UUIDv7 begins with the time, here one event a second.
      const at = 1_700_000_000_000 + n * 1000
      const hex = at.toString(16).padStart(12, '0')
      const id = `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-${n.toString(16).padStart(12, '0')}`
      yield {
        id,
        type: 'SENSOR.READ.SUCCESS',
        timestamp: new Date(at).toISOString(),
        tags: {},
        metadata: {},
        data: { n }
      }
    }
  }
  const { imported, duration } = await events.importEvents(readings())
  console.log(`${imported} events imported in ${Math.round(duration)} ms`)

  // Rows arrive while the server is still reading. `break` stops the query there, not only here.
  let seen = 0
  for await (const event of events.query().where('data.n', 'gte', 1000).orderBy('timestamp').executeStream()) {
    if (++seen === 5) break
    console.log(event.timestamp, event.data)
  }

  // By the batch, where each write costs more than a row.
  let bytes = 0
  for await (const rows of events.query().select(['timestamp', 'data.n']).executeBatches({ batchSize: 5000 })) {
    bytes += rows.map(row => JSON.stringify(row)).join('\n').length
  }
  console.log(`${bytes} bytes as NDJSON`)

  // An AbortSignal ends whatever is under way, within milliseconds.
  try {
    await events.query().execute({ signal: AbortSignal.timeout(1) })
  } catch (error) {
    console.log(error.name, error.code)
  }
} finally {
  await events.close()
}
