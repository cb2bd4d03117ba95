// Redis by TLS, with a certificate of its own authority, and as a cluster of one node.
import { execFileSync, fork } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { CacheStats } from '../index.js'
import { TestDatabase } from './support/database'
import { TestRedis } from './support/redis'
import { until } from './support/wait'

let database: TestDatabase
let folder: string
beforeAll(async () => {
  database = await TestDatabase.create({ events: 100 })
  folder = await mkdtemp(join(tmpdir(), 'tamma-tls-'))
})
afterAll(async () => {
  await database?.drop()
  await rm(folder, { recursive: true, force: true })
})

const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })

/** An authority, and a certificate of it for 127.0.0.1. */
function certificates() {
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  openssl('req', '-x509', ...curve, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2', '-subj', '/CN=test authority')
  openssl('req', ...curve, '-keyout', 'redis.key', '-out', 'redis.csr', '-subj', '/CN=redis')
  execFileSync(
    'sh',
    [
      '-c',
      'echo "subjectAltName=IP:127.0.0.1,DNS:localhost" > ext; openssl x509 -req -in redis.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out redis.pem -days 2 -extfile ext'
    ],
    { cwd: folder, stdio: 'pipe' }
  )
}

/** Asks a process of its own, whose trusted authorities are those of the environment. */
async function ask(url: string, env: Record<string, string>, limits: number[]) {
  const child = fork(join(import.meta.dirname, 'cache-child.cjs'), [JSON.stringify({ redis: url }), database.url], {
    env: { ...process.env, ...env }
  })
  const answer = <T>() =>
    new Promise<T>((resolve, reject) => {
      const ended = () => reject(new Error('the other process has ended'))
      child.once('exit', ended)
      child.once('message', message => {
        child.off('exit', ended)
        resolve(message as T)
      })
    })
  const question = <T>(asked: object) => {
    const answered = answer<T>()
    child.send(asked)
    return answered
  }
  try {
    await answer()
    const connected = async () => (await question<CacheStats>({ stats: true })).redis.connected
    for (let i = 0; i < 40 && !(await connected()); i++) await new Promise(resolve => setTimeout(resolve, 50))
    const outcomes: string[] = []
    for (const limit of limits) outcomes.push(await question<string>({ limit, tags: [] }))
    return { connected: await connected(), outcomes }
  } finally {
    const ended = new Promise(resolve => child.once('exit', resolve))
    if (child.connected) child.disconnect()
    await ended
  }
}

it('by TLS: where the authority is trusted, and only there', async () => {
  certificates()
  const at = (name: string) => join(folder, name)
  const tls = [
    '--tls-cert-file',
    at('redis.pem'),
    '--tls-key-file',
    at('redis.key'),
    '--tls-ca-cert-file',
    at('ca.pem')
  ]
  const redis = await TestRedis.start('', port => [...tls, '--tls-auth-clients', 'no', '--tls-port', String(port)])
  try {
    const url = `rediss://127.0.0.1:${redis.secondPort}/0`
    const trusted = { SSL_CERT_FILE: at('ca.pem') }
    expect(await ask(url, trusted, [1, 2])).toEqual({ connected: true, outcomes: ['miss', 'miss'] })
    await until('both', async () => ((await redis.command('DBSIZE')).includes(':3') ? true : undefined))
    expect(await ask(url, trusted, [1, 2])).toEqual({ connected: true, outcomes: ['redis', 'redis'] })
    expect(await ask(url, {}, [1])).toEqual({ connected: false, outcomes: ['miss'] })
  } finally {
    await redis.drop()
  }
})

it('as a cluster', async () => {
  const redis = await TestRedis.start('', () => ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1'])
  try {
    await redis.command('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
    await until('a cluster', async () =>
      (await redis.command('CLUSTER', 'INFO')).includes('cluster_state:ok') ? true : undefined
    )
    const url = `redis-cluster://127.0.0.1:${redis.port}`
    expect(await ask(url, {}, [1, 2, 3])).toEqual({ connected: true, outcomes: ['miss', 'miss', 'miss'] })
    await until('all', async () => ((await redis.command('DBSIZE')).includes(':4') ? true : undefined))
    expect(await ask(url, {}, [1, 2, 3])).toEqual({ connected: true, outcomes: ['redis', 'redis', 'redis'] })
    const client = await database.connect({ redis: url })
    await until('redis', async () => ((await client.cache.getCacheStats()).redis.connected ? true : undefined))
    await client.cache.delete(client.cache.keyOf(client.query().orderBy('timestamp').limit(2).toQuery()))
    expect((await ask(url, {}, [1, 2, 3])).outcomes).toEqual(['redis', 'miss', 'redis'])
  } finally {
    await redis.drop()
  }
})

it('is let go of by close()', async () => {
  const redis = await TestRedis.start()
  try {
    const clients = async () =>
      (await redis.command('CLIENT', 'LIST')).split('\n').filter(line => /^id=/.test(line)).length
    const before = await clients()
    const client = await database.connect({ redis: redis.url })
    await until('redis', async () => ((await client.cache.getCacheStats()).redis.connected ? true : undefined))
    expect(await clients()).toBeGreaterThan(before)
    await client.close()
    await until('no connection', async () => ((await clients()) === before ? true : undefined), 2000)
  } finally {
    await redis.drop()
  }
})
