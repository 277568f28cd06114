import { afterAll, beforeAll, expect, it } from '@jest/globals'
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

it('says when its port is taken', async () => {
  const sources = { metrics: async () => ({ contentType: '', body: '' }), notReady: () => undefined, documents: {} }
  await expect(startAdminServer('127.0.0.1', server.port, sources)).rejects.toMatchObject({ code: 'EADDRINUSE' })
})
