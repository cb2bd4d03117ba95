// Builds, moves, rebuilds and drops indexes until it is killed; or does one of these once.
const { connect } = require('../index.js')

const definition = { name: 'built', table: 'events', type: 'btree', columns: [{ field: 'tags.issueId' }] }

const jobs = {
  create: ({ indexes }) => indexes.createIndex(definition),
  drop: ({ indexes }) => indexes.dropIndex('standing'),
  rebuild: ({ indexes }) => indexes.rebuildIndex('standing'),
  move: ({ indexes }) => indexes.rebuildIndex('recent'),
  maintain: ({ indexes }) => indexes.optimizeIndexes(),
  optimize: events => inside(events).optimize([{ query: issue(events), frequency: 100 }]),
  revert: events => inside(events).optimize([{ query: issue(events), frequency: 100 }], { planted, maxIndexes: 0 }),
  async forever({ indexes }) {
    for (;;) {
      await indexes.createIndex(definition).catch(ignore('INDEX_EXISTS'))
      await indexes.rebuildIndex('recent')
      await indexes.rebuildIndex('built')
      await indexes.dropIndex('built').catch(ignore('UNKNOWN_INDEX'))
    }
  }
}

const planted = [{ name: 'unused', table: 'events', type: 'btree', columns: [{ field: 'createdAt' }] }]
const inside = events => events.indexes[Symbol.for('tamma.events.native')]
const issue = events =>
  events
    .query()
    .where({ issueIds: ['7'] })
    .orderBy('timestamp', 'desc')
    .limit(20)
    .toQuery()

const ignore = code => error => {
  if (error.code !== code) throw error
}

async function main(url, job = 'forever', table = 'events') {
  const events = await connect({ url, table: { name: table } })
  definition.table = table
  process.stdout.write('ready\n')
  await jobs[job](events)
  await events.close()
}

main(...process.argv.slice(2))
