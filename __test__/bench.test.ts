import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'

const run = promisify(execFile)
const BENCH = path.resolve(__dirname, '../bench/run.mjs')
const bench = (...args: string[]) => run(process.execPath, [BENCH, ...args], { maxBuffer: 1 << 24 })

interface Line {
  bench: string
  case: string
  unit: string
  ours: number
  peers: Record<string, number>
  ratio: number
  higherIsBetter: boolean
}

describe('npm run bench', () => {
  it('prints one JSON object a line, ours beside the peers', { timeout: 180_000 }, async () => {
    const { stdout } = await bench('--quick', '--json', '--only', 'point')
    const lines: Line[] = stdout
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line))
    expect(lines.map(line => line.case)).toContain('20 rows, 8 at once')
    for (const line of lines) {
      expect(line).toMatchObject({ bench: 'point', unit: 'queries/s', higherIsBetter: true })
      expect(Object.keys(line.peers)).toEqual(['pg, named statements', 'postgres.js'])
      for (const figure of [line.ours, line.ratio, ...Object.values(line.peers)]) expect(figure).toBeGreaterThan(0)
    }
  })

  it('lists the benches without a database', async () => {
    const { stdout } = await bench('--list')
    const names = stdout
      .trimEnd()
      .split('\n')
      .map(line => line.split(' ')[0])
    for (const name of ['append', 'execute', 'import', 'load', 'parallel', 'point', 'stream'])
      expect(names).toContain(name)
  })

  it.each([
    [['--only', 'nothing'], /--only nothing: no such bench/],
    [['--rounds', '0'], /--rounds: expected a positive whole number/],
    [['--data', '/nowhere'], /--data \/nowhere: no such file or folder/],
    [['--faster'], /--faster/]
  ])('refuses %j', async (args, message) => {
    await expect(bench(...args)).rejects.toMatchObject({ code: 2, stderr: expect.stringMatching(message) })
  })
})
