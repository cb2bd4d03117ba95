// Events written by hand, each with a label by which a test names it.
import { expect } from 'vitest'
import type { EventFilter, QueryCondition } from '../../index.js'
import { conditionTruth } from './condition'
import { micros, type StoredEvent } from './field'
import { filterTruth } from './filter'
import type { Subject } from './subject'

type Members = Partial<Omit<StoredEvent, 'timestamp' | 'createdAt'> & { timestamp: string; createdAt: string }>

/** Events whose `metadata.label` is the key they stand under. */
export function labelled(members: Readonly<Record<string, Members>>): StoredEvent[] {
  return Object.entries(members).map(
    ([label, { timestamp = '2026-01-01', createdAt = '2026-02-02', ...given }], i) => ({
      id: `019b0000-0000-7000-8000-${i.toString(16).padStart(12, '0')}`,
      type: 'A.B',
      tags: {},
      data: {},
      ...given,
      timestamp: micros(timestamp),
      createdAt: micros(createdAt),
      metadata: { label, ...given.metadata }
    })
  )
}

async function labelsOf(subject: Subject, filter: EventFilter): Promise<string[]> {
  const { rows } = await subject.client.optimizer.executeQuery<{ label: string }>({
    filter,
    selectAs: { label: 'metadata.label' },
    orderBy: [{ field: 'id' }]
  })
  return rows.map(row => row.label)
}

const labelOf = (event: StoredEvent) => event.metadata.label as string

/**
 * Asks for a condition and for its negation. `expected` are the labels for which it holds, `negated` those for which
 * its negation does: the others, unless it is unknown for some. The reference must say the same.
 */
export async function expectCondition(
  subject: Subject,
  condition: QueryCondition,
  expected: readonly string[],
  negated?: readonly string[]
) {
  const truth = (event: StoredEvent) => conditionTruth(condition, event, subject.locale)
  const holds = await labelsOf(subject, { where: condition })
  expect(holds).toEqual(inOrder(subject, expected))
  expect(subject.events.filter(event => truth(event) === true).map(labelOf)).toEqual(holds)
  const fails = await labelsOf(subject, { where: { not: condition } })
  if (negated) expect(fails).toEqual(inOrder(subject, negated))
  expect(subject.events.filter(event => truth(event) === false).map(labelOf)).toEqual(fails)
}

export async function expectFilter(subject: Subject, filter: EventFilter, expected: readonly string[]) {
  expect(await labelsOf(subject, filter)).toEqual(inOrder(subject, expected))
  const agreeing = subject.events.filter(event => filterTruth(filter, event, subject.locale) === true)
  expect(agreeing.map(labelOf)).toEqual(inOrder(subject, expected))
}

function inOrder(subject: Subject, labels: readonly string[]) {
  const known = subject.events.map(labelOf)
  for (const label of labels) if (!known.includes(label)) throw new Error(`there is no event ${label}`)
  return known.filter(label => labels.includes(label))
}
