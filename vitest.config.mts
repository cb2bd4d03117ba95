import { defineConfig } from 'vitest/config'

/**
 * Tests of what stands around the client. All others ask the database through it, and `npm test`
 * runs those a second time against another PostgreSQL.
 */
const surroundings = ['package', 'embedded', 'git', 'cli', 'bench', 'demo'].flatMap(name => [
  `__test__/${name}*.test.ts`,
  `__test__/${name}/**/*.test.ts`
])

export default defineConfig({
  test: {
    pool: 'forks',
    // One file at a time: many tests measure how soon something happens.
    fileParallelism: false,
    // A shared machine can stall for longer than such a test allows: it is asked twice more there.
    retry: process.env.CI ? 2 : 0,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    projects: [
      { extends: true, test: { name: 'database', include: ['__test__/**/*.test.ts'], exclude: surroundings } },
      { extends: true, test: { name: 'surroundings', include: surroundings } }
    ]
  }
})
