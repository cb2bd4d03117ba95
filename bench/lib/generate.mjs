// A deterministic stream of events shaped like those of a software-development workflow service: the same seed gives
// the same events on every machine, so that two runs, and two people, measure the same data.

const MINUTE = 60_000
const REPOS = ['tamma/core', 'tamma/events', 'tamma/agents', 'acme/billing', 'acme/web', 'acme/ledger']
const PROVIDERS = ['anthropic', 'openai', 'google', 'mistral', 'local']
const AREAS = ['src', 'docs', 'tests', 'ci', 'packages/ui', 'packages/api']
const LANGUAGES = ['rust', 'typescript', 'python', 'markdown', 'toml', 'yaml', 'sql']
const TITLES = [
  'Retry the webhook when the provider times out',
  'Split the planner into named rules',
  'Größenangaben im Bericht sind falsch gerundet',
  'Déplacer la configuration vers le fichier partagé',
  '検索結果の並び順を安定させる',
  'Документация: обновить раздел об установке',
  'Flaky test on slow runners 🐢',
  'Say which index served the query',
  'Cache the provider list between runs',
  'Remove the deprecated option',
  'Measure tokens per step',
  'Bump the toolchain'
]

// What happens to an issue, in order; `weight` is how often a step is repeated while the issue is worked on.
const STEPS = [
  { type: 'ISSUE.CREATED.SUCCESS', weight: 1, data: issueData },
  { type: 'ISSUE.ASSIGNED.SUCCESS', weight: 1, data: issueData },
  { type: 'PLAN.GENERATED.SUCCESS', weight: 4, data: modelData },
  { type: 'CODE.GENERATED.SUCCESS', weight: 22, data: modelData },
  { type: 'CODE.GENERATED.FAILED', weight: 3, data: failureData },
  { type: 'CODE.COMMITTED.SUCCESS', weight: 24, data: commitData },
  { type: 'TEST.RUN.SUCCESS', weight: 16, data: testData },
  { type: 'TEST.RUN.FAILED', weight: 6, data: failureData },
  { type: 'REVIEW.COMPLETED.SUCCESS', weight: 8, data: modelData },
  { type: 'PR.UPDATED.SUCCESS', weight: 9, data: commitData },
  { type: 'PR.MERGED.SUCCESS', weight: 2, data: commitData },
  { type: 'ISSUE.CLOSED.SUCCESS', weight: 1, data: issueData }
]
const TOTAL_WEIGHT = STEPS.reduce((sum, step) => sum + step.weight, 0)

/** sfc32: small, fast and good enough for data; a number in [0, 1) at each call. */
export function random(seed) {
  let a = 0x9e3779b9 ^ seed
  let b = 0x243f6a88
  let c = 0xb7e15162
  let counter = 1
  const next = () => {
    const sum = (a + b + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (c << 21) | (c >>> 11)
    c = (c + sum) | 0
    return (sum >>> 0) / 4294967296
  }
  for (let i = 0; i < 12; i++) next()
  return next
}

/**
 * `count` events from `start` on, sorted by (timestamp, id).
 * @param {{ count: number, seed?: number, start?: number }} options
 */
export function* generateEvents({ count, seed = 1, start = Date.UTC(2025, 0, 1) }) {
  const rng = random(seed)
  const open = []
  const clock = { milliseconds: start, position: 0 }
  let issues = 0
  for (let i = 0; i < count; i++) {
    while (open.length < 40) open.push(newIssue(rng, ++issues))
    const slot = Math.floor(rng() * open.length)
    const issue = open[slot]
    if (--issue.left === 0) open.splice(slot, 1)
    advance(clock, rng)
    yield event(rng, clock, issue, pickStep(rng, issue), issues)
  }
}

// Most issues are short, some are long: point queries need keys with one, twenty and two hundred events.
function newIssue(rng, number) {
  const kind = rng()
  const left =
    kind < 0.6 ? 1 + Math.floor(rng() * 4) : kind < 0.9 ? 15 + Math.floor(rng() * 40) : 200 + Math.floor(rng() * 150)
  return {
    left,
    started: false,
    number,
    repo: pick(rng, REPOS),
    provider: pick(rng, PROVIDERS),
    area: pick(rng, AREAS),
    title: pick(rng, TITLES),
    correlationId: hex(rng, 32)
  }
}

function pickStep(rng, issue) {
  if (!issue.started) {
    issue.started = true
    return STEPS[0]
  }
  if (issue.left === 0) return STEPS[STEPS.length - 1]
  let at = rng() * TOTAL_WEIGHT
  for (const step of STEPS) {
    at -= step.weight
    if (at < 0) return step
  }
  return STEPS[STEPS.length - 1]
}

// A third of the events share the millisecond of the one before, as bursts do; the id then keeps their order.
function advance(clock, rng) {
  if (rng() < 0.33 && clock.position < 4095) {
    clock.position += 1
    return
  }
  clock.milliseconds += 1 + Math.floor(-Math.log(1 - rng()) * 0.4 * MINUTE)
  clock.position = 0
}

function event(rng, clock, issue, step, issues) {
  const tags = {
    actorType: rng() < 0.7 ? 'agent' : 'human',
    issueId: String(issue.number),
    platform: 'github',
    provider: issue.provider,
    repo: issue.repo,
    userId: `u${Math.floor(rng() * rng() * 8000)}`
  }
  if (rng() < 0.6) tags.prId = String(issue.number + 100_000)
  if (rng() < 0.4) tags.area = issue.area
  return {
    id: uuid(rng, clock),
    type: step.type,
    timestamp: timestamp(rng, clock),
    tags,
    metadata: {
      workflowVersion: '1.4.0',
      eventSource: 'system',
      correlationId: issue.correlationId,
      attempt: 1 + Math.floor(rng() * 3)
    },
    data: step.data(rng, issue, issues)
  }
}

/** UUID version 7: the time, then the position within the millisecond, so that ids sort as the events happened. */
function uuid(rng, clock) {
  const time = clock.milliseconds.toString(16).padStart(12, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-7${HEX[clock.position]}-${(8 + Math.floor(rng() * 4)).toString(16)}${hex(rng, 3)}-${hex(rng, 12)}`
}

// Microseconds in every fifth millisecond; the position keeps them ascending within it, as the ids are.
function timestamp(rng, clock) {
  if (clock.position === 0) clock.micros = rng() < 0.2
  const iso = new Date(clock.milliseconds).toISOString()
  return clock.micros ? `${iso.slice(0, 23)}${String(1 + (clock.position % 999)).padStart(3, '0')}Z` : iso
}

function issueData(rng, issue, issues) {
  return {
    title: issue.title,
    labels: ['automation', issue.area],
    priority: 1 + Math.floor(rng() * 4),
    openIssues: issues
  }
}

function modelData(rng, issue) {
  const prompt = 200 + Math.floor(rng() * 12_000)
  const completion = 50 + Math.floor(rng() * 4000)
  return {
    model: `${issue.provider}-${1 + Math.floor(rng() * 4)}`,
    durationMs: 300 + Math.floor(-Math.log(1 - rng()) * 9000),
    usage: { tokens: prompt + completion, prompt, completion, cached: Math.floor(prompt * rng()) },
    costUsd: Math.round(prompt * 3 + completion * 15) / 1e6,
    temperature: Math.round(rng() * 10) / 10,
    title: issue.title,
    files: [{ name: `${issue.area}/file${Math.floor(rng() * 300)}.ts`, lines: Math.floor(rng() * 400) }]
  }
}

function commitData(rng) {
  const languages = {}
  for (let i = 0; i < 3; i++) languages[pick(rng, LANGUAGES)] = 1 + Math.floor(rng() * 9)
  return {
    sha: hex(rng, 12),
    files: 1 + Math.floor(rng() * 20),
    insertions: Math.floor(rng() * 900),
    deletions: Math.floor(rng() * 400),
    isMerge: rng() < 0.1,
    parents: 1,
    coAuthors: Math.floor(rng() * 2),
    testFiles: Math.floor(rng() * 4),
    languages
  }
}

function testData(rng) {
  const total = 20 + Math.floor(rng() * 900)
  return {
    total,
    failed: 0,
    durationMs: Math.floor(rng() * 240_000),
    coverage: { lines: rng(), branches: rng() },
    retried: null
  }
}

function failureData(rng, issue) {
  return {
    error: {
      code: pick(rng, ['TIMEOUT', 'RATE_LIMIT', 'ASSERTION', 'COMPILE']),
      message: `${issue.title}: failed`,
      retryable: rng() < 0.5
    },
    durationMs: Math.floor(rng() * 60_000),
    attempts: 1 + Math.floor(rng() * 5)
  }
}

const pick = (rng, list) => list[Math.floor(rng() * list.length)]

const HEX = Array.from({ length: 4096 }, (_, i) => i.toString(16).padStart(3, '0'))

function hex(rng, digits) {
  let text = ''
  while (text.length < digits) text += HEX[Math.floor(rng() * 4096)]
  return text.slice(0, digits)
}
