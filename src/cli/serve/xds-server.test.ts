import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it } from '@jest/globals'
import { waitFor } from '../../../test/support/wait-for.ts'
import { PREFACE } from '../../grpc/h2/frame.ts'
import { selfSigned } from '../../grpc/self-signed.ts'
import { createLog } from '../../telemetry/log.ts'
import { Threads } from '../../threads/threads.ts'
import { SnapshotCache } from '../../xds/snapshot-cache.ts'
import { parseServeOptions } from './options.ts'
import { workerOptions } from './worker-options.ts'
import { xdsServer } from './xds-server.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

it('an Envoy that speaks plaintext to --xds-tls is told of in the log, and cannot fill it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'signalbox-'))
  closers.push(() => rm(folder, { recursive: true }))
  const { cert, key } = selfSigned(['localhost'])
  const [certFile, keyFile] = [join(folder, 'c'), join(folder, 'k')]
  await Promise.all([writeFile(certFile, cert), writeFile(keyFile, key)])
  const options = parseServeOptions(['--config', 'c', '--xds-tls', `${certFile},${keyFile}`])
  const lines: string[] = []
  const log = createLog('warn', { write: line => lines.push(line) })
  const threads = new Threads({
    count: 1,
    listen: { host: '127.0.0.1', port: 0 },
    ownAddresses: false,
    worker: workerOptions(options),
    log,
    onLive: () => {},
  })
  const server = xdsServer(options, { host: '127.0.0.1', port: 0 }, { cache: new SnapshotCache(), threads, log })
  const port = await server.listen()
  closers.push(() => server.close())
  for (let i = 0; i < 8; i++) {
    let closed = false
    const socket = connect(port, '127.0.0.1', () => socket.write(PREFACE))
    socket.on('error', () => {}).on('close', () => (closed = true))
    await waitFor('the end', () => closed)
  }
  expect(lines.map(line => JSON.parse(line) as object)).toEqual(
    Array.from({ length: 5 }, () =>
      expect.objectContaining({
        msg: 'xDS: a client failed to shake hands',
        peer: '127.0.0.1',
        hint: 'it seems to speak plaintext, or not HTTP/2 over TLS',
      }),
    ),
  )
})
