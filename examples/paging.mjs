// Page through a result by key: exact while events keep coming. Run: node examples/paging.mjs
import { connect } from '@tamma/events'

const events = await connect({ embedded: { persistent: false } })
try {
  await events.append(
    Array.from({ length: 8 }, (_, n) => ({ type: 'TASK.DONE.SUCCESS', timestamp: '2024-05-01T12:00:00Z', data: { n } }))
  )

  // All of them have one timestamp; the cursor holds the id, too, so none is seen twice or missed.
  const page = events.query().where('type', 'eq', 'TASK.DONE.SUCCESS').orderBy('timestamp').limit(3)
  let cursor
  do {
    const { rows, nextCursor } = await page.after(cursor).execute()
    console.log(rows.map(event => event.data.n))
    cursor = nextCursor
  } while (cursor !== undefined)

  // A cursor belongs to its query: with other conditions it is refused, not misread.
  const { nextCursor } = await page.execute()
  try {
    await page.where('data.n', 'gt', 3).after(nextCursor).execute()
  } catch (error) {
    console.log(error.code, error.path)
  }
} finally {
  await events.close()
}
