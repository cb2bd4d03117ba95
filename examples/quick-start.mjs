// Append a few events and ask for them. Run: node examples/quick-start.mjs
import { connect } from '@tamma/events'

// A PostgreSQL of its own, gone at the end. With `connect()` alone it is DATABASE_URL, else a local one that is kept.
const events = await connect({ embedded: { persistent: false } })
try {
  const { ids } = await events.append([
    {
      type: 'CODE.GENERATED.SUCCESS',
      tags: { issueId: '42', provider: 'anthropic' },
      data: { tokens: 1200, files: ['a.ts'] }
    },
    { type: 'TESTS.EXECUTED.FAILED', tags: { issueId: '42' }, data: { failed: 2 } },
    { type: 'CODE.GENERATED.SUCCESS', tags: { issueId: '42', provider: 'anthropic' }, data: { tokens: '800' } }
  ])
  console.log('appended', ids)

  const { rows, executionTime } = await events
    .query()
    .where({ eventTypes: ['CODE.*'], issueIds: ['42'] })
    .where('data.tokens', 'gt', 1000) // the third event has text there: not greater, and no error
    .select({ when: 'timestamp', what: 'type', tokens: 'data.tokens', file: 'data.files[0]' })
    .orderBy('timestamp', 'desc')
    .limit(10)
    .execute()
  console.log(rows, `in ${executionTime.toFixed(2)} ms`)
} finally {
  await events.close()
}
