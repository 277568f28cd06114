import { once } from 'node:events'
import { type ClientHttp2Session, connect } from 'node:http2'
import { afterEach, expect, it } from '@jest/globals'
import { createLog } from '../../telemetry/log.ts'
import { Threads } from '../../threads/threads.ts'
import { parseServeOptions } from './options.ts'
import { workerOptions } from './worker-options.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

it.each([
  ['http', 'off'],
  ['https', 'self-signed'],
])('--max-streams and --max-connections are what gateways are told: %s', async (scheme, tls) => {
  const options = parseServeOptions(['--config', 'c', '--tls', tls, '--max-streams', '7', '--max-connections', '1'])
  const threads = new Threads({
    count: 1,
    listen: { host: '127.0.0.1', port: 0 },
    ownAddresses: false,
    worker: workerOptions(options),
    log: createLog('silent'),
    onLive: () => {},
  })
  closers.push(() => threads.drain(0))
  await threads.start()
  const open = (): ClientHttp2Session => {
    const session = connect(`${scheme}://${threads.address}`, { rejectUnauthorized: false })
    session.on('error', () => {})
    closers.push(() => session.destroy())
    return session
  }
  const first = open()
  const [settings] = (await once(first, 'remoteSettings')) as [{ maxConcurrentStreams: number }]
  expect(settings.maxConcurrentStreams).toBe(7)
  const [code, lastStream] = (await once(open(), 'goaway')) as [number, number]
  expect([code, lastStream]).toEqual([11, 0])
  expect(first.closed).toBe(false)
})
