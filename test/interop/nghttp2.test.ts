import { execFile, spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { frameMessage } from '../../src/grpc/framing.ts'
import { listenH2 } from '../../src/grpc/h2/h2-transport.ts'
import { HealthService } from '../../src/grpc/health-service.ts'
import type { TransportServer } from '../../src/grpc/transport.ts'

const run = promisify(execFile)
const has = (command: string): boolean => spawnSync(command, ['--version']).status === 0

/** nghttp2's own tools (Debian: nghttp2-client) as clients of our HTTP/2: another implementation, written with care. */
const found = has('h2load') && has('nghttp')
if (!found) console.warn('nghttp2 (SKIPPED, no h2load and nghttp: Debian package nghttp2-client)')

;(found ? describe : describe.skip)(`nghttp2 as a client${found ? '' : ' (SKIPPED, no h2load)'}`, () => {
  const path = '/grpc.health.v1.Health/Check'
  const errors: unknown[] = []
  let server: TransportServer
  let secure: TransportServer
  let folder: string
  let body: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'signalbox-'))
    body = join(folder, 'empty.grpc')
    await writeFile(body, frameMessage(new Uint8Array(0)))
    const health = new HealthService()
    health.setReady(true)
    const options = {
      services: health.services,
      listen: { host: '127.0.0.1', port: 0 },
      onError: (error: unknown) => errors.push(error),
    }
    server = await listenH2(options)
    secure = await listenH2({ ...options, tls: { certificate: { kind: 'self-signed' } } })
  })
  afterAll(async () => {
    await server.close()
    await secure.close()
    await rm(folder, { recursive: true })
  })

  const headers = ['-H', 'content-type: application/grpc', '-H', 'te: trailers']
  const load = async (url: string, ...args: readonly string[]): Promise<string> =>
    (await run('h2load', [...headers, '-d', body, ...args, `${url}${path}`], { timeout: 60_000 })).stdout

  it('h2load: 20,000 calls on eight connections, none lost', async () => {
    const report = await load(`http://127.0.0.1:${server.port}`, '-n', '20000', '-c', '8', '-m', '50')
    expect(report).toContain('20000 done, 20000 succeeded, 0 failed, 0 errored, 0 timeout')
    expect(report).toContain('20000 2xx')
  })

  it('h2load over TLS with ALPN', async () => {
    const report = await load(`https://127.0.0.1:${secure.port}`, '-n', '2000', '-c', '4', '-m', '20')
    expect(report).toContain('Application protocol: h2')
    expect(report).toContain('2000 done, 2000 succeeded, 0 failed')
  })

  it('h2load with tiny windows and its own header table size', async () => {
    const args = ['-n', '2000', '-c', '2', '-m', '20', '-w', '1', '-W', '1', '--header-table-size=1000']
    const report = await load(`http://127.0.0.1:${server.port}`, ...args)
    expect(report).toContain('2000 done, 2000 succeeded, 0 failed')
  })

  it('nghttp: the answer, padded requests, continuation frames', async () => {
    const url = `http://127.0.0.1:${server.port}${path}`
    const args = ['-v', '-n', ...headers, '-H', ':method: POST', '-b', '200', '--continuation', '-d', body, url]
    const { stdout } = await run('nghttp', args, { timeout: 20_000 })
    expect(stdout).toContain('continuation-test-6')
    expect(stdout).toContain(':status: 200')
    expect(stdout).toContain('grpc-status: 0')
  })

  it('nothing was taken for an error', () => {
    expect(errors).toEqual([])
  })
})
