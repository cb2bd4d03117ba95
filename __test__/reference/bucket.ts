// Buckets of time, in microseconds since 1970.
import type { EventQuery } from '../../index.js'
import { micros } from './field'

type Bucket = NonNullable<EventQuery['timeBucket']>

const DAY = 86_400_000_000n
const UNITS: Record<string, bigint> = { minute: 60_000_000n, hour: 3_600_000_000n, day: DAY, week: 7n * DAY }
const MONTHS: Record<string, number> = { month: 1, quarter: 3, year: 12 }

/** Where the bucket of a moment begins. */
export function bucketStart(at: bigint, bucket: Bucket): bigint {
  const [, count, unit] = /^(\d+) (\w+?)s?$/u.exec(String(bucket.interval)) as unknown as [string, string, string]
  const months = MONTHS[unit]
  const length = months === undefined ? BigInt(count) * UNITS[unit] : undefined
  // Only buckets of a day and more know zones.
  const zone = length !== undefined && length < DAY ? 'UTC' : (bucket.timeZone ?? 'UTC')
  const local = at + offset(at, zone)
  if (length !== undefined) {
    const origin = bucket.origin === undefined ? micros('2000-01-03') : toLocal(bucket.origin, zone)
    return toInstant(origin + floor(local - origin, length) * length, zone)
  }
  const origin = bucket.origin === undefined ? micros('2000-01-01') : toLocal(bucket.origin, zone)
  return toInstant(monthBucket(local, origin, BigInt(Number(count) * months)), zone)
}

/** All buckets that a window touches. */
export function bucketsOf(from: bigint, to: bigint, bucket: Bucket): bigint[] {
  const starts = new Set<bigint>()
  // No bucket of the tests is shorter than this step.
  for (let at = from; at < to; at += UNITS.hour) starts.add(bucketStart(at, bucket))
  if (to > from) starts.add(bucketStart(to - 1n, bucket))
  return [...starts]
}

const floor = (a: bigint, b: bigint) => (a % b < 0n ? a / b - 1n : a / b)
const toLocal = (time: string | Date, zone: string) => micros(time) + offset(micros(time), zone)

function monthBucket(local: bigint, origin: bigint, every: bigint): bigint {
  const month = (at: bigint) => {
    const date = new Date(Number(floor(at, 1000n)))
    return BigInt(date.getUTCFullYear() * 12 + date.getUTCMonth())
  }
  let whole = month(local) - month(origin)
  if (addMonths(origin, whole) > local) whole -= 1n
  return addMonths(origin, floor(whole, every) * every)
}

/** The same day so many months later, or the last of a month that is shorter. */
function addMonths(at: bigint, months: bigint): bigint {
  const below = ((at % 1000n) + 1000n) % 1000n
  const date = new Date(Number((at - below) / 1000n))
  const day = date.getUTCDate()
  date.setUTCDate(1)
  date.setUTCMonth(date.getUTCMonth() + Number(months))
  const last = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate()
  date.setUTCDate(Math.min(day, last))
  return BigInt(date.getTime()) * 1000n + below
}

const formats = new Map<string, Intl.DateTimeFormat>()

/** Local time less UTC. */
function offset(at: bigint, zone: string): bigint {
  if (zone === 'UTC') return 0n
  let format = formats.get(zone)
  if (format === undefined) {
    format = new Intl.DateTimeFormat('en', { timeZone: zone, timeZoneName: 'longOffset' })
    formats.set(zone, format)
  }
  const name = format.formatToParts(Number(floor(at, 1000n))).find(part => part.type === 'timeZoneName')?.value
  const [, sign, hours, minutes] = /GMT(?:([+-])(\d\d):(\d\d))?/u.exec(name ?? '') ?? []
  const length = BigInt(Number(hours ?? 0) * 60 + Number(minutes ?? 0)) * UNITS.minute
  return sign === '-' ? -length : length
}

/** No bucket of the tests begins within an hour of a change of the offset. */
const toInstant = (local: bigint, zone: string) => local - offset(local - offset(local, zone), zone)
