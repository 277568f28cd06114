import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Agent, request } from 'undici'
import { writeCertificates } from '../../test/support/certificates.ts'
import { makeTempFolder } from '../../test/support/temp-folder.ts'
import { waitFor } from '../../test/support/wait-for.ts'
import { selfSigned } from '../grpc/self-signed.ts'
import type { TlsOptions } from '../grpc/tls.ts'
import { type AdminServer, startAdminServer } from './admin-server.ts'

let server: AdminServer
let why: string | undefined

beforeAll(async () => {
  server = await startAdminServer('127.0.0.1', 0, {
    metrics: async () => {
      if (why === 'broken') throw new Error('broken')
      return { contentType: 'text/plain; version=0.0.4', body: 'x 1\n' }
    },
    notReady: () => why,
    documents: {
      '/pools': () => ({ pool: [1, 'ü'] }),
      '/broken': () => {
        throw new Error('broken')
      },
    },
  })
})

afterAll(() => server.close())

async function get(path: string, method = 'GET') {
  const response = await fetch(`http://${server.address}${path}`, { method })
  return { status: response.status, headers: response.headers, body: await response.text() }
}

it('tells health, readiness with the reason, metrics and documents', async () => {
  expect(await get('/healthz')).toMatchObject({ status: 200, body: 'ok\n' })
  expect(await get('/readyz?verbose')).toMatchObject({ status: 200, body: 'ok\n' })
  why = 'draining'
  expect(await get('/readyz')).toMatchObject({ status: 503, body: 'draining\n' })
  expect(await get('/healthz')).toMatchObject({ status: 200 })
  why = undefined
  const metrics = await get('/metrics')
  expect([metrics.body, metrics.headers.get('content-type')]).toEqual(['x 1\n', 'text/plain; version=0.0.4'])
  const pools = await get('/pools')
  expect([JSON.parse(pools.body), pools.headers.get('content-type')]).toEqual([{ pool: [1, 'ü'] }, 'application/json'])
})

it('lists what there is', async () => {
  expect(await get('/')).toMatchObject({ status: 200, body: '/healthz\n/readyz\n/metrics\n/pools\n/broken\n' })
  for (const path of ['/nope', '/constructor', '/__proto__', '/pools/']) expect((await get(path)).status).toBe(404)
})

it('answers HEAD without a body, and nothing that would change something', async () => {
  const head = await get('/pools', 'HEAD')
  expect([head.status, head.body, Number(head.headers.get('content-length')) > 10]).toEqual([200, '', true])
  const post = await get('/pools', 'POST')
  expect([post.status, post.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
})

it('survives sources that fail', async () => {
  expect((await get('/broken')).status).toBe(500)
  why = 'broken'
  expect((await get('/metrics')).status).toBe(500)
  why = undefined
  expect((await get('/metrics')).status).toBe(200)
})

it('asks about callers only for what exists, and says when those who were not asked about may come again', async () => {
  const asked: string[] = []
  const guarded = await startAdminServer('127.0.0.1', 0, {
    metrics: async () => ({ contentType: 'text/plain', body: '' }),
    notReady: () => undefined,
    documents: { '/pools': () => [], '/broken': () => [] },
    authorize: (_authorization, path) => {
      asked.push(path)
      if (path === '/broken') return Promise.reject(new Error('away'))
      return Promise.resolve(path === '/pools' ? 503 : path === '/' ? 401 : 200)
    },
  })
  const ask = async (path: string) => {
    const response = await fetch(`http://${guarded.address}${path}`)
    return [response.status, response.headers.get('retry-after')]
  }
  for (const path of ['/nope', '/constructor', '/metrics/x']) expect(await ask(path)).toEqual([404, null])
  expect(asked).toEqual([])
  expect(await ask('/metrics')).toEqual([200, null])
  expect(await ask('/')).toEqual([401, null])
  expect(await ask('/pools')).toEqual([503, '1'])
  expect(await ask('/broken')).toEqual([503, '1'])
  await guarded.close()
})

it('says when its port is taken', async () => {
  const sources = { metrics: async () => ({ contentType: '', body: '' }), notReady: () => undefined, documents: {} }
  await expect(startAdminServer('127.0.0.1', server.port, sources)).rejects.toMatchObject({ code: 'EADDRINUSE' })
})

it('speaks TLS where it has a certificate, to clients of an authority, and takes a renewed one', async () => {
  const folder = await makeTempFolder()
  await writeCertificates(folder.path)
  const file = (name: string) => join(folder.path, name)
  await copyFile(file('server.crt'), file('tls.crt'))
  await copyFile(file('server.key'), file('tls.key'))
  const options: TlsOptions = {
    certificate: { kind: 'files', certFile: file('tls.crt'), keyFile: file('tls.key') },
    clientCaFile: file('client.crt'),
    reloadMs: 20,
  }
  const errors: unknown[] = []
  const secure = await startAdminServer('127.0.0.1', 0, {
    metrics: async () => await Promise.resolve({ contentType: 'text/plain', body: 'x 1\n' }),
    notReady: () => undefined,
    documents: {},
    tls: { options, onError: error => errors.push(error) },
  })
  const ask = async (ca: string, as?: string) => {
    const shown =
      as === undefined ? {} : { cert: await readFile(file(`${as}.crt`)), key: await readFile(file(`${as}.key`)) }
    const dispatcher = new Agent({ connect: { ca: await readFile(file(ca)), ...shown } })
    try {
      const { statusCode, body } = await request(`https://${secure.address}/metrics`, { dispatcher })
      return `${statusCode} ${await body.text()}`
    } catch {
      return 'refused'
    } finally {
      await dispatcher.destroy()
    }
  }
  try {
    expect(await ask('server.crt', 'client')).toBe('200 x 1\n')
    for (const as of [undefined, 'stranger']) expect(await ask('server.crt', as)).toBe('refused')
    // No certificate: it stays with the one that it has.
    await writeFile(file('tls.crt'), 'nonsense')
    await waitFor('the complaint', () => errors.length > 0)
    expect(await ask('server.crt', 'client')).toBe('200 x 1\n')
    const { cert, key } = selfSigned(['127.0.0.1'])
    await writeFile(file('renewed.crt'), cert)
    await writeFile(file('tls.key'), key)
    await writeFile(file('tls.crt'), cert)
    await waitFor('the renewed one', async () => (await ask('renewed.crt', 'client')) === '200 x 1\n')
    expect(await ask('server.crt', 'client')).toBe('refused')
  } finally {
    await secure.close()
    await folder.remove()
  }
})
