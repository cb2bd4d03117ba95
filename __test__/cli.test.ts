// The command line where no database is needed: help, usage, exit codes.
import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { run } from './cli-process'

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
const commands = readdirSync(new URL('../lib/cli/commands', import.meta.url)).map(file => file.replace('.js', ''))

describe('help', () => {
  test.each([[['--help']], [['-h']], [['help']]])('%j lists every command', async args => {
    const { code, stdout, stderr } = await run(args)
    expect([code, stderr]).toEqual([0, ''])
    for (const command of commands) expect(stdout).toContain(`\n  ${command} `)
  })

  test.each(commands.flatMap(name => [[[name, '--help']], [['help', name]]]))(
    '%j has usage and options',
    async args => {
      const { code, stdout, stderr } = await run(args)
      expect([code, stderr]).toEqual([0, ''])
      expect(stdout).toMatch(/^Usage$/m)
      expect(stdout).toMatch(/^ {2}-h, --help +show this help$/m)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: a pipe gets no colours
      expect(stdout).not.toMatch(/\x1b/)
      for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(120)
    }
  )

  test('the version', async () => {
    for (const flag of ['--version', '-V'])
      expect(await run([flag])).toMatchObject({ code: 0, stdout: `${version}\n`, stderr: '' })
  })
})

describe('what is not understood ends with 2, and points to help', () => {
  test.each([
    [[], 'Usage'],
    [['nope'], "there is no command 'nope'"],
    [['../main'], "there is no command '../main'"],
    [['help', 'nope'], "there is no command 'nope'"],
    [['--url', 'x'], 'a command comes first'],
    [['import'], 'give either --git PATH or --ndjson FILE'],
    [['import', '--git', '.', '--ndjson', 'x'], 'give either --git PATH or --ndjson FILE'],
    [['import', '--git'], '--git needs a value'],
    [['import', '--ndjson', 'x', '--subjects'], '--subjects goes with --git'],
    [['import', '--git', '.', '--format', 'xml'], '--format is one of text, json'],
    [['query', '--bogus'], 'there is no option --bogus'],
    [['query', 'extra'], "unexpected argument 'extra'"],
    [['query', '--limit', '-5'], '--limit needs a value; one that starts with a dash is written --limit=-VALUE'],
    [['query', '--limit=-5'], '--limit is a whole number'],
    [['query', '--explain=yes'], '--explain'],
    [['query', '--where', 'data.n'], 'after data.n expected one of'],
    [['query', '--json', '{'], '--json'],
    [['query', '--format', 'csv'], '--format is one of table, json, ndjson'],
    [['query', '--explain', '--format', 'ndjson'], '--explain is written as'],
    [['explain', '--format', 'yaml'], '--format is one of text, json'],
    [['query', '--url', 'postgres://x', '--embedded', 'y'], '--url and --embedded exclude each other'],
    [['query', '--url', ''], '--url needs a value'],
    [['demo', '--git', '.', '--ndjson', 'x'], '--git and --ndjson exclude each other']
  ])('%j', async (args, message) => {
    const { code, stdout, stderr } = await run(args)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain(message)
    if (args.length > 0) expect(stderr).toMatch(/hint: tamma-events (?:\w+ )?--help$/m)
    expect(stderr).not.toMatch(/^\s+at /m)
  })

  test('a password given where it does not belong is not repeated', async () => {
    const url = 'postgres://ada:hunter22@db.test/log'
    for (const args of [
      ['query', url],
      ['query', `--bogus=${url}`],
      [url],
      ['import', '--git', '.', '--format', url]
    ]) {
      const { code, stdout, stderr } = await run(args)
      expect(code).toBe(2)
      expect(stdout + stderr).not.toContain('hunter22')
    }
  })
})
