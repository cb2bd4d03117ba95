// A process with a client of its own, asked over IPC: bounded answers by their limit and tags, and where they came from.
const { connect } = require('../index.js')

const given = JSON.parse(process.argv[2])
connect({ url: process.argv[3], ...given }).then(client => {
  process.on('message', async ({ limit, tags, stats }) => {
    if (stats) return process.send(await client.cache.getCacheStats())
    const query = client.query().orderBy('timestamp').limit(limit)
    const { cache } = await query
      .cache({ consistency: 'bounded', maxStaleness: '1 hour', ...(tags.length > 0 && { tags }) })
      .execute()
    process.send(cache)
  })
  process.on('disconnect', () => client.close().then(() => process.exit(0)))
  process.send('ready')
})
