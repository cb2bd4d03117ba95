// Forty workloads of an event log: what indexes are good for, and what they are not.

/** @param {import('../../index').EventsClient} client @param {number} rows @returns {{ name: string, maxIndexes: number, queries: { query: object, frequency: number }[] }[]} */
export function workloads(client, rows) {
  const q = make => make(client.query()).toQuery()
  const one = (query, frequency = 100) => ({ query, frequency })
  const at = share => new Date(Date.UTC(2024, 0, 1) + rows * 3000 * share).toISOString()
  const issue = id => ({ issueIds: [String(id)] })
  const type = name => ({ eventTypes: [name] })
  const leaf = (field, op, value) => ({ where: { field, op, value } })
  const all = []
  const add = (name, queries, maxIndexes = 1) => all.push({ name, queries, maxIndexes })

  for (const limit of [1, 20, 200])
    add(`a tag, newest ${limit}`, [one(q(b => b.where(issue(42)).orderBy('timestamp', 'desc').limit(limit)))])
  add('a tag, all', [one(q(b => b.where(issue(42))))])
  add('a tag, oldest first', [one(q(b => b.where(issue(7)).orderBy('timestamp').limit(20)))])
  add('a sparse tag', [
    one(
      q(b =>
        b
          .where({ prIds: ['77'] })
          .orderBy('timestamp', 'desc')
          .limit(20)
      )
    )
  ])
  add('a tag of few values, newest', [
    one(
      q(b =>
        b
          .where({ providers: ['p3'] })
          .orderBy('timestamp', 'desc')
          .limit(20)
      )
    )
  ])
  add('two tags', [one(q(b => b.where({ issueIds: ['42'], providers: ['p3'] })))])
  add('a tag and a type', [
    one(
      q(b =>
        b
          .where({ ...issue(42), ...type('PR.MERGED.SUCCESS') })
          .orderBy('timestamp', 'desc')
          .limit(20)
      )
    )
  ])
  add('a tag in a window', [one(q(b => b.where({ ...issue(42), startTime: at(0.4), endTime: at(0.6) })))])
  add('tags of a list', [one(q(b => b.where({ issueIds: ['1', '2', '3', '4'] })))])
  add('a type, newest', [one(q(b => b.where(type('PR.MERGED.SUCCESS')).orderBy('timestamp', 'desc').limit(50)))])
  add('a rare type', [one(q(b => b.where(type('RARE.SEEN.ONCE'))))])
  add('a rare type, newest', [one(q(b => b.where(type('RARE.SEEN.ONCE')).orderBy('timestamp', 'desc').limit(10)))])
  add('a type in a window', [
    one(q(b => b.where({ ...type('PR.MERGED.SUCCESS'), startTime: at(0.5), endTime: at(0.51) })))
  ])
  add('types of a list in a window', [
    one(
      q(b =>
        b.where({ eventTypes: ['PR.MERGED.SUCCESS', 'WORKFLOW.COMPLETED'], startTime: at(0.5), endTime: at(0.51) })
      )
    )
  ])
  add('a prefix of types', [one(q(b => b.where({ eventTypes: ['RARE.*'] })))])
  add('a narrow window', [one(q(b => b.where({ startTime: at(0.5), endTime: at(0.5005) })))])
  add('a wide window', [one(q(b => b.where({ startTime: at(0.2), endTime: at(0.6) })))])
  add('the newest', [one(q(b => b.orderBy('timestamp', 'desc').limit(50)))])
  add('containment in tags', [one(q(b => b.where(leaf('tags', 'contains', { issueId: '42' }))))])
  add('containment in data', [one(q(b => b.where(leaf('data', 'contains', { labels: ['m77'] }))))])
  add('containment, unselective', [one(q(b => b.where(leaf('data', 'contains', { labels: ['l7'] }))))])
  add('a range of a path', [one(q(b => b.where(leaf('data.n', 'gte', rows - 100))))])
  add('a range of a path, ordered', [
    one(
      q(b =>
        b
          .where(leaf('data.cost', 'gte', 999))
          .orderBy('timestamp', 'desc')
          .limit(20)
      )
    )
  ])
  add('equality of a path', [
    one(
      q(b =>
        b
          .where(leaf('metadata.actor.name', 'eq', 'user 3'))
          .orderBy('timestamp', 'desc')
          .limit(20)
      )
    )
  ])
  add('equality of two paths', [
    one(
      q(b =>
        b.where({
          where: {
            and: [
              { field: 'metadata.actor.name', op: 'eq', value: 'user 3' },
              { field: 'data.cost', op: 'eq', value: 7 }
            ]
          }
        })
      )
    )
  ])
  add('a boolean path', [one(q(b => b.where(leaf('metadata.actor.bot', 'eq', true))))])
  add(
    'an or of two tags',
    [
      one(
        q(b =>
          b.where({
            where: {
              or: [
                { field: 'tags.issueId', op: 'eq', value: '42' },
                { field: 'tags.prId', op: 'eq', value: '77' }
              ]
            }
          })
        )
      )
    ],
    2
  )
  add('count by type', [one(q(b => b.groupBy(['type']).count()))])
  add('count of a type by day', [one(q(b => b.where(type('RARE.SEEN.ONCE')).timeBucket('1 day').count()))])
  add('count by type in a window', [
    one(
      q(b =>
        b
          .where({ startTime: at(0.5), endTime: at(0.52) })
          .groupBy(['type'])
          .count()
      )
    )
  ])
  add('id and time of a type', [
    one(q(b => b.where(type('TEST.RUN.SUCCESS')).select(['id', 'timestamp']).orderBy('timestamp', 'desc').limit(500)))
  ])
  add('everything', [one(q(b => b))])
  add('by id', [one(q(b => b.where({ eventIds: ['018bcfe5-6800-7000-8000-000000000007'] })))])
  add('a regular expression', [one(q(b => b.where(leaf('type', 'regex', 'MERGED'))))])
  add('type alone, served by skipping (18)', [one(q(b => b.where({ eventTypes: ['NEVER.SEEN'] })))])
  add('tag and type, one index for both', [
    one(q(b => b.where(issue(42)).orderBy('timestamp', 'desc').limit(20))),
    one(q(b => b.where({ ...issue(7), startTime: at(0.3), endTime: at(0.7) })))
  ])
  add(
    'two that need two',
    [
      one(q(b => b.where(issue(42)).orderBy('timestamp', 'desc').limit(20))),
      one(
        q(b =>
          b
            .where(leaf('metadata.actor.name', 'eq', 'user 3'))
            .orderBy('timestamp', 'desc')
            .limit(20)
        )
      )
    ],
    2
  )
  add(
    'three for two places',
    [
      one(
        q(b => b.where(issue(42)).orderBy('timestamp', 'desc').limit(20)),
        100
      ),
      one(
        q(b => b.where(type('PR.MERGED.SUCCESS')).orderBy('timestamp', 'desc').limit(50)),
        50
      ),
      one(
        q(b => b.where(leaf('data.n', 'gte', rows - 100))),
        10
      )
    ],
    2
  )
  add('heavy and light', [
    one(
      q(b => b.where(leaf('data', 'contains', { labels: ['m77'] }))),
      1
    ),
    one(
      q(b => b.where(issue(42)).orderBy('timestamp', 'desc').limit(20)),
      1000
    )
  ])
  add(
    'a mix of six',
    [
      one(
        q(b => b.where(issue(1)).orderBy('timestamp', 'desc').limit(20)),
        100
      ),
      one(
        q(b =>
          b
            .where({ providers: ['p3'] })
            .orderBy('timestamp', 'desc')
            .limit(20)
        ),
        50
      ),
      one(
        q(b => b.where(type('WORKFLOW.COMPLETED')).orderBy('timestamp', 'desc').limit(50)),
        50
      ),
      one(
        q(b => b.where({ prIds: ['77'] })),
        20
      ),
      one(
        q(b => b.where({ startTime: at(0.9), endTime: at(0.901) })),
        10
      ),
      one(
        q(b => b.where(leaf('metadata.actor.name', 'eq', 'user 3')).limit(10)),
        5
      )
    ],
    3
  )
  return all
}
