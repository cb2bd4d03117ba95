// Event filters: every member given must hold.
import type { EventFilter } from '../../index.js'
import { all, any, conditionTruth, type Locale, type Truth } from './condition'
import { fieldValue, micros, type StoredEvent } from './field'

const TAG_LISTS = {
  issueIds: 'issueId',
  prIds: 'prId',
  userIds: 'userId',
  providers: 'provider',
  platforms: 'platform'
} as const

export function filterTruth(filter: EventFilter, event: StoredEvent, locale: Locale): Truth {
  const truths: Truth[] = []
  if (filter.eventIds) truths.push(filter.eventIds.some(id => id.toLowerCase() === event.id))
  if (filter.eventTypes) truths.push(filter.eventTypes.some(wanted => isOfType(event.type, wanted)))
  for (const [member, tag] of Object.entries(TAG_LISTS)) {
    const values = filter[member as keyof typeof TAG_LISTS]
    if (values) truths.push(tagTruth(event, tag, values))
  }
  for (const [tag, value] of Object.entries(filter.tags ?? {})) truths.push(tagTruth(event, tag, [value].flat()))
  if (filter.startTime) truths.push(event.timestamp >= micros(filter.startTime))
  if (filter.endTime) truths.push(event.timestamp < micros(filter.endTime))
  if (filter.where) truths.push(conditionTruth(filter.where, event, locale))
  if (filter.anyOf) truths.push(any(filter.anyOf.map(item => itemTruth(item, event))))
  return all(truths)
}

/** `CODE.*` is anything below CODE. */
function isOfType(type: string, wanted: string) {
  return wanted.endsWith('.*') ? type.startsWith(wanted.slice(0, -1)) : type === wanted
}

function tagTruth(event: StoredEvent, tag: string, values: readonly string[]): Truth {
  const { value } = fieldValue(event, `tags.${tag}`)
  return value === undefined ? null : values.includes(value as string)
}

function itemTruth(
  { types, tags }: { types?: readonly string[]; tags?: readonly string[] },
  event: StoredEvent
): Truth {
  const truths: Truth[] = []
  if (types) truths.push(types.includes(event.type))
  for (const tag of tags ?? []) {
    const colon = tag.indexOf(':')
    truths.push(tagTruth(event, tag.slice(0, colon), [tag.slice(colon + 1)]))
  }
  return all(truths)
}
