// Builds, moves, rebuilds and drops indexes until it is killed.
const { connect } = require('../index.js')

async function main() {
  const { indexes } = await connect({ url: process.argv[2] })
  const definition = { name: 'built', table: 'events', type: 'btree', columns: [{ field: 'tags.issueId' }] }
  process.stdout.write('ready\n')
  for (;;) {
    await indexes.createIndex(definition).catch(ignore('INDEX_EXISTS'))
    await indexes.rebuildIndex('recent')
    await indexes.rebuildIndex('built')
    await indexes.dropIndex('built').catch(ignore('UNKNOWN_INDEX'))
  }
}

const ignore = code => error => {
  if (error.code !== code) throw error
}

main()
