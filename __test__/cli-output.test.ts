// What the command line writes: tables, progress, errors, and nothing that is secret.
import { afterEach, describe, expect, test, vi } from 'vitest'
import { ProgressBar } from '../lib/cli/progress.js'
import { redact } from '../lib/cli/redact.js'
import { styleFor } from '../lib/cli/style.js'
import { tableLines, writeTable } from '../lib/cli/table.js'
import { duration, padEnd, plural, printable, truncate, widthOf } from '../lib/cli/text.js'

const plain = styleFor({ isTTY: false })

class Sink {
  text = ''
  closed = false
  constructor(
    readonly isTTY = false,
    readonly columns = 80
  ) {}
  async write(text: string) {
    this.text += text
  }
  line(text = '') {
    return this.write(`${text}\n`)
  }
}

/** What a progress bar writes to, of which it needs no more than a sink has. */
const output = (parts: object) => parts as ConstructorParameters<typeof ProgressBar>[0]

async function* batches(...lists: Record<string, unknown>[][]) {
  yield* lists
}

describe('text', () => {
  test('has no control characters left that a terminal would obey', () => {
    expect(printable('a\x1b]0;title\x07\nb\u009b31m\u202ec\ttab')).toBe(
      'a\\u001b]0;title\\u0007\\nb\\u009b31m\\u202ec\\ttab'
    )
    expect(printable('Grüße 你好 👍')).toBe('Grüße 你好 👍')
  })

  test('is measured in cells', () => {
    expect(widthOf('abc')).toBe(3)
    expect(widthOf('你好')).toBe(4)
    expect(widthOf('e\u0301')).toBe(1)
    expect(widthOf('👍')).toBe(2)
    expect(widthOf('\x1b[31mred\x1b[39m')).toBe(3)
    expect(truncate('你好吗', 5)).toBe('你好…')
    expect(truncate('short', 5)).toBe('short')
    expect(padEnd('你', 4)).toBe('你  ')
  })

  test('says amounts and times', () => {
    expect([0.421, 17.3, 3400, 600_000].map(duration)).toEqual(['0.42 ms', '17 ms', '3.4 s', '10.0 min'])
    expect([plural(1, 'row'), plural(196_137, 'event')]).toEqual(['1 row', '196,137 events'])
  })
})

describe('a table', () => {
  test('aligns, right where all are numbers, and joins what is missing', () => {
    expect(
      tableLines([{ type: 'A', n: 5 }, { type: 'Longer', n: 12_345, tags: { repo: 'x', 'k\n': 'v' } }, { type: null }])
    ).toEqual(['type        n  tags', 'A           5', 'Longer  12345  repo=x k\\n=v', ''])
  })

  test('fits a terminal, taking from the widest column', async () => {
    const sink = new Sink(true, 40)
    const rows = [{ when: '2024-05-01', data: { text: 'x'.repeat(200), n: 1 }, n: 7 }]
    expect(await writeTable(batches(rows), { out: sink, style: plain })).toBe(1)
    for (const line of sink.text.split('\n')) expect(widthOf(line)).toBeLessThanOrEqual(40)
    expect(sink.text).toContain('2024-05-01')
    expect(sink.text).toContain('…')
  })

  test('is written while rows come', async () => {
    const sink = new Sink()
    const row = (n: number) => ({ n })
    let written = 0
    async function* many() {
      for (let batch = 0; batch < 5; batch++) {
        yield Array.from({ length: 1000 }, (_, n) => row(n))
        if (sink.text.length > written) written = sink.text.length
      }
    }
    expect(await writeTable(many(), { out: sink, style: plain })).toBe(5000)
    expect(written).toBeGreaterThan(0)
    expect(sink.text.split('\n')).toHaveLength(5002)
  })

  test('of more rows in one batch than a call takes arguments', async () => {
    const sink = new Sink()
    const rows = Array.from({ length: 200_000 }, (_, i) => ({ i }))
    async function* batches() {
      yield rows
    }
    expect(await writeTable(batches(), { out: sink, style: plain })).toBe(200_000)
    expect(tableLines(rows)).toHaveLength(200_001)
  })

  test('of nothing is nothing', async () => {
    const sink = new Sink()
    expect(await writeTable(batches([]), { out: sink, style: plain })).toBe(0)
    expect(sink.text).toBe('')
  })
})

describe('progress', () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })
  const progress = { done: 500, total: 1000, unit: 'commits', phase: 'read', elapsed: 2000 }

  test('is a bar on a terminal, redrawn and taken away', () => {
    const err = new Sink(true)
    const bar = new ProgressBar(output({ err, errStyle: plain }), 'importing')
    bar.update(progress)
    bar.update({ ...progress, done: 501 })
    expect(err.text).toBe(`\rimporting ${'━'.repeat(24)} 50%, 500 of 1,000 commits, 2.0 s left\x1b[K`)
    bar.done()
    expect(err.text.endsWith('\r\x1b[K')).toBe(true)
  })

  test('is a line now and then elsewhere, and nothing for short work', () => {
    const err = new Sink()
    const now = vi.spyOn(performance, 'now').mockReturnValue(0)
    const bar = new ProgressBar(output({ err, errStyle: plain }), 'importing')
    bar.update(progress)
    expect(err.text).toBe('')
    now.mockReturnValue(6000)
    bar.update({ ...progress, total: null })
    bar.update({ ...progress, done: 3_000_000, total: 6_000_000, unit: 'bytes' })
    now.mockReturnValue(12_000)
    bar.update({ ...progress, done: 3_000_000, total: 6_000_000, unit: 'bytes' })
    bar.done()
    expect(err.text).toBe('importing: 500 commits\nimporting: 50%, 3.0 MB of 6.0 MB, 2.0 s left\n')
  })
})

describe('colours', () => {
  test.each([
    [true, {}, true],
    [true, { NO_COLOR: '1' }, false],
    [true, { NO_COLOR: '' }, true],
    [true, { TERM: 'dumb' }, false],
    [false, {}, false]
  ])('on a terminal %s with %j: %s', (isTTY, env, coloured) => {
    expect(styleFor({ isTTY }, env).red('x')).toBe(coloured ? '\x1b[31mx\x1b[39m' : 'x')
  })
})

describe('passwords', () => {
  const { argv, env } = process
  afterEach(() => {
    process.argv = argv
    process.env = env
  })

  test('are taken out of URLs', () => {
    expect(redact('connect to postgres://ada:hunter22@db.test/log failed')).toBe(
      'connect to postgres://ada:***@db.test/log failed'
    )
    expect(redact('rediss://:hunter22@cache.test')).toBe('rediss://:***@cache.test')
    expect(redact('host=db password=hunter22 user=x')).toBe('host=db password=*** user=x')
    expect(redact('postgres://ada@db.test/log?sslmode=require')).toBe('postgres://ada@db.test/log?sslmode=require')
  })

  test('that this process was given are taken out wherever they stand', () => {
    process.argv = ['node', 'cli', 'query', '--url=postgres://ada:p%40ss/w:rd@db.test/log']
    process.env = { ...env, DATABASE_URL: 'postgres://bob:sesame99@db.test/log', PGPASSWORD: 'open-it' }
    for (const secret of ['p%40ss/w:rd', 'p@ss/w:rd', 'sesame99', 'open-it']) {
      expect(redact(`for user ada, ${secret} was refused`)).toBe('for user ada, *** was refused')
    }
  })
})
