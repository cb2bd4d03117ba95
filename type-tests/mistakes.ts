// Mistakes that the compiler must refuse. Each line below a @ts-expect-error is wrong on purpose:
// where one stops being an error, the compiler reports the directive as unused.
import { connect, type EventQuery, EventsError, type IndexDefinition, type QueryCondition } from '@tamma/events'

const events = await connect()
const query = events.query()
const grouped = query.groupBy(['type']).count()

// ---- fields
// @ts-expect-error misspelt column
query.where('tpye', 'eq', 'CODE.COMMITTED.SUCCESS')
// @ts-expect-error a path into a column that is not JSON
query.where('type.name', 'eq', 'CODE')
// @ts-expect-error misspelt column
query.select(['id', 'timestmp'])
// @ts-expect-error misspelt column under a name
query.select({ when: 'timestmp' })
// @ts-expect-error misspelt column
query.groupBy(['tpye'])
// @ts-expect-error misspelt column
query.orderBy('tpye')
// @ts-expect-error misspelt column
query.sum('dta.n')
// @ts-expect-error not a group field and not an aggregate
grouped.having('total', 'gt', 1)
// @ts-expect-error an operand is missing
grouped.having('count', 'gt')
// @ts-expect-error not a condition
grouped.having({ count: { gt: 1 } })

// ---- operators and operands
// @ts-expect-error no such operator
query.where('type', 'equals', 'CODE')
// @ts-expect-error an operand is missing
query.where('type', 'eq')
// @ts-expect-error undefined is never an operand
query.where('type', 'eq', undefined)
// @ts-expect-error undefined is never an operand
query.where({ field: 'type', op: 'eq', value: undefined })
// @ts-expect-error undefined in a list
query.where('type', 'in', ['CODE', undefined])
// @ts-expect-error not a list
query.where('type', 'in', 'CODE')
// @ts-expect-error one bound
query.where('timestamp', 'between', ['2026-01-01'])
// @ts-expect-error not text
query.where('tags.repo', 'like', 5)
// @ts-expect-error a regular expression is given as text
query.where('tags.repo', 'regex', /api/)
// @ts-expect-error exists takes a boolean
query.where('tags.repo', 'exists', 'yes')
// @ts-expect-error a function is no value
query.where('data.n', 'eq', () => 1)
// @ts-expect-error logic and a comparison in one object
export const both: QueryCondition = { field: 'type', op: 'between', value: 5 }

// ---- filters
// @ts-expect-error the member is eventTypes
query.where({ eventType: ['CODE.*'] })
// @ts-expect-error tags are text
query.where({ tags: { attempts: 3 } })
// @ts-expect-error not a time
query.where({ startTime: 1767225600000 })

// ---- order, paging, time
// @ts-expect-error no such direction
query.orderBy('timestamp', 'down')
// @ts-expect-error no such place for nulls
query.orderBy('timestamp', { nulls: 'middle' })
// @ts-expect-error not a number
query.limit('10')
// @ts-expect-error not a number
query.offset(10n)
// @ts-expect-error no such unit
query.timeBucket('1 fortnight')
// @ts-expect-error calendar units are for buckets
query.timeWindow({ last: '1 month' })
// @ts-expect-error either last or from and to
query.timeWindow({ last: '7 days', from: '2026-01-01' })
// @ts-expect-error no such fill
query.timeBucket('1 hour', { fill: 'average' })

// ---- joins and aggregates
// @ts-expect-error on is required
query.join('issues', { alias: 'i' })
// @ts-expect-error percentile is required
query.aggregate({ fn: 'percentile', field: 'data.n' })
// @ts-expect-error a sum needs a field
query.aggregate({ fn: 'sum' })
// @ts-expect-error no such function
query.aggregate({ fn: 'total', field: 'data.n' })

// ---- rows
const counted = (await grouped.execute()).rows[0]
// @ts-expect-error misspelt aggregate
counted?.cuont
const named = await query.select({ issue: 'tags.issueId' }).executeFirst()
// @ts-expect-error selected under another name
named?.['tags.issueId']
// @ts-expect-error a missing path is null
export const issue: string = named!.issue

// ---- hints and options
// @ts-expect-error misspelt hint
query.hint({ useIndexes: ['events_issue'] })
// @ts-expect-error no such consistency
query.cache({ consistency: 'eventual' })
// @ts-expect-error a signal, not its controller
query.execute({ signal: new AbortController() })
// @ts-expect-error execute has no batches
query.execute({ batchSize: 10 })
// @ts-expect-error misspelt option
connect({ pool: { maximum: 5 } })
// @ts-expect-error no such mode
connect({ bigint: 'text' })

// ---- queries as data, events, indexes, errors
// @ts-expect-error filter is required
export const unfiltered: EventQuery = { select: ['id'] }
// @ts-expect-error type is required
events.append([{ data: { n: 1 } }])
// @ts-expect-error tags are text
events.append([{ type: 'A.B.C', tags: { n: 1 } }])
export const index: IndexDefinition = {
  name: 'i',
  table: 'events',
  type: 'btree',
  // @ts-expect-error a field or an expression, not both
  columns: [{ field: 'type', expression: 'lower(event_type)' }]
}
try {
  await query.execute()
} catch (error) {
  // @ts-expect-error no such code
  if (error instanceof EventsError && error.code === 'QUERY_FAILED') throw error
}
