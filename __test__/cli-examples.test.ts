// The examples run, and print what they promise.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const folder = fileURLToPath(new URL('../examples', import.meta.url))
const promised: Record<string, RegExp> = {
  'groups.mjs':
    /p95: 29 \} \]\n2024-03-29T23:00:00\.000Z 40\n2024-03-30T23:00:00\.000Z 0\n2024-03-31T22:00:00\.000Z 5\n\[ \{ merged: 1 \} \]\n$/,
  'paging.mjs': /^\[ 0, 1, 2 \]\n\[ 3, 4, 5 \]\n\[ 6, 7 \]\nINVALID_QUERY after\n$/,
  'quick-start.mjs': /tokens: 1200,\n {4}file: 'a\.ts'\n {2}\}\n\] in [\d.]+ ms\n$/,
  'streaming.mjs': /\{ n: 1003 \}\n\d+ bytes as NDJSON\nAbortError QUERY_CANCELLED\n$/
}

test('every example is run here', () => {
  expect(readdirSync(folder).sort()).toEqual(Object.keys(promised))
})

test.each(Object.entries(promised))(
  '%s',
  (name, output) => {
    const { DATABASE_URL: _, ...env } = process.env
    // Temporary databases are one per project: from elsewhere, none is joined that other tests use.
    const cwd = mkdtempSync(join(tmpdir(), 'tamma-example-'))
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(folder, name)], { cwd, env, encoding: 'utf8' })
    rmSync(cwd, { recursive: true, force: true })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toMatch(output)
  },
  60_000
)
