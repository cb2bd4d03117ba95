'use strict'

/** Sets of indexes that go together, as `createIndex` takes them. */

/**
 * The story's own list, in the form that works: each expression in parentheses of its own, and a cut-off that
 * maintenance moves where the story asks `now()` in a predicate, or asks the table itself.
 */
const story = [
  {
    name: 'idx_events_issue_time_type',
    table: 'events',
    type: 'btree',
    columns: [{ field: 'tags.issueId' }, { field: 'timestamp', direction: 'desc' }, { field: 'type' }],
    where: { field: 'tags.issueId', op: 'exists', value: true }
  },
  {
    name: 'idx_events_provider_time',
    table: 'events',
    type: 'btree',
    columns: [{ field: 'tags.provider' }, { field: 'timestamp', direction: 'desc' }],
    where: { field: 'tags.provider', op: 'exists', value: true }
  },
  {
    name: 'idx_events_type_time',
    table: 'events',
    type: 'btree',
    columns: [{ field: 'type' }, { field: 'timestamp', direction: 'desc' }],
    where: { field: 'type', op: 'in', value: ['CODE.GENERATED.SUCCESS', 'WORKFLOW.COMPLETED'] }
  },
  {
    name: 'idx_events_recent',
    table: 'events',
    type: 'btree',
    columns: [{ field: 'timestamp', direction: 'desc' }, { field: 'tags' }],
    rolling: { field: 'timestamp', keep: '7 days' }
  },
  {
    name: 'idx_events_active_issues',
    table: 'events',
    type: 'btree',
    columns: [{ field: 'tags.issueId' }, { field: 'timestamp', direction: 'desc' }],
    where: { field: 'tags.issueId', op: 'exists', value: true },
    rolling: { field: 'timestamp', keep: '30 days' }
  }
]

function frozen(value) {
  if (value !== null && typeof value === 'object') Object.values(value).forEach(frozen)
  return Object.freeze(value)
}

module.exports = { indexSets: frozen({ story }) }
