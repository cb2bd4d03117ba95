// Grouped queries over the real event log, each against SQL written by hand.
// Needs the folder of TAMMA_SHARED_DATA, which is no part of this repository.
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventsClient } from '../index.js'
import { TestDatabase } from './support/database'

const folder = process.env.TAMMA_SHARED_DATA

describe.skipIf(!folder)('dev-events, grouped (skipped unless TAMMA_SHARED_DATA names its folder)', () => {
  let database: TestDatabase
  let client: EventsClient
  beforeAll(async () => {
    database = await TestDatabase.create()
    client = await database.connect()
    await client.importEvents(join(folder ?? '', 'dev-events.ndjson.gz'))
    await database.admin.query('ANALYZE events')
  }, 120_000)
  afterAll(() => database?.drop())

  const byHand = async (sql: string) => (await database.admin.query(sql)).rows

  it('events per repo and week of Berlin, empty weeks included', async () => {
    const { rows } = await client
      .query()
      .timeWindow({ from: '2023-10-01T00:00:00Z', to: '2024-05-01T00:00:00Z' })
      .timeBucket('1 week', { timeZone: 'Europe/Berlin', fill: 'zero' })
      .groupBy(['tags.repo'])
      .count()
      .sum('data.insertions')
      .orderBy('tags.repo')
      .orderBy('bucket')
      .execute()
    const expected = await byHand(`
      WITH weeks AS (
        SELECT w AT TIME ZONE 'Europe/Berlin' AS week
        FROM generate_series(timestamp '2023-09-25', timestamp '2024-04-29', interval '1 week') AS w),
      seen AS (
        SELECT date_trunc('week', "timestamp", 'Europe/Berlin') AS week, tags->>'repo' AS repo, count(*)::int AS n,
               sum((data->>'insertions')::int)::int AS insertions
        FROM events WHERE "timestamp" >= '2023-10-01Z' AND "timestamp" < '2024-05-01Z' GROUP BY 1, 2)
      SELECT week, repo, coalesce(n, 0) AS n, CASE WHEN n IS NULL THEN 0 ELSE insertions END AS insertions
      FROM weeks CROSS JOIN (SELECT DISTINCT repo FROM seen) AS repos LEFT JOIN seen USING (week, repo)
      ORDER BY repo COLLATE "C", week`)
    expect(rows.length).toBeGreaterThan(100)
    expect(rows).toEqual(
      expected.map(({ week, repo, n, insertions }) => ({
        bucket: week.toISOString(),
        'tags.repo': repo,
        count: n,
        sum_insertions: insertions
      }))
    )
    // Weeks of 167 and 169 hours are among them.
    const starts = [...new Set(rows.map(row => Date.parse(row.bucket)))]
    const hours = new Set(starts.slice(1).map((start, i) => (start - (starts[i] as number)) / 3_600_000))
    expect([...hours].sort()).toEqual([167, 168, 169])
  })

  it('p50 and p95 of insertions by the languages of a commit', async () => {
    const languages = ['rust', 'typescript', 'markdown']
    const where = (language: string) => ({ field: `data.languages.${language}`, op: 'exists' }) as const
    let query = client.query().where('type', 'eq', 'CODE.COMMITTED.SUCCESS').count()
    for (const language of languages)
      for (const percentile of [0.5, 0.95])
        query = query.aggregate({
          fn: 'percentile',
          field: 'data.insertions',
          percentile,
          as: `${language} ${percentile}`,
          where: where(language)
        }) as typeof query
    const { rows } = await query.execute()
    const expected = await byHand(`
      SELECT count(*)::int AS count, ${languages
        .flatMap(language =>
          [0.5, 0.95].map(
            p => `percentile_cont(${p}) WITHIN GROUP (ORDER BY (data->>'insertions')::float8)
                  FILTER (WHERE data->'languages'->'${language}' IS NOT NULL) AS "${language} ${p}"`
          )
        )
        .join()}
      FROM events WHERE event_type = 'CODE.COMMITTED.SUCCESS'`)
    expect(rows).toEqual(expected)
    expect(Object.values(rows[0] as object).every(value => typeof value === 'number')).toBe(true)
  })

  it('pull requests merged within a day after any of their commits', async () => {
    const { rows } = await client
      .query()
      .where('type', 'eq', 'CODE.COMMITTED.SUCCESS')
      .join('events', {
        alias: 'merge',
        on: { 'tags.repo': 'tags.repo', 'tags.prId': 'tags.prId' },
        within: '1 day'
      })
      .where('merge.type', 'eq', 'PR.MERGED.SUCCESS')
      .groupBy(['tags.repo'])
      .aggregate({ fn: 'countDistinct', field: 'merge.tags.prId', as: 'merged' })
      .orderBy('merged', 'desc')
      .execute()
    const expected = await byHand(`
      SELECT c.tags->>'repo' AS "tags.repo", count(DISTINCT m.tags->>'prId')::int AS merged
      FROM events AS c JOIN events AS m ON m.tags->>'repo' = c.tags->>'repo' AND m.tags->>'prId' = c.tags->>'prId'
       AND m."timestamp" - c."timestamp" BETWEEN interval '0' AND interval '1 day'
      WHERE c.event_type = 'CODE.COMMITTED.SUCCESS' AND m.event_type = 'PR.MERGED.SUCCESS'
      GROUP BY 1 ORDER BY 2 DESC`)
    expect(rows.length).toBeGreaterThan(3)
    const sorted = (list: readonly object[]) => list.map(row => JSON.stringify(row)).sort()
    expect(sorted(rows)).toEqual(sorted(expected))
  })
})
