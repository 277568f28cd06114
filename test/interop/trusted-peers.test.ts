/** Whose resets are free where `--trust verified` says that gateways show certificates (issue 4, "limits differ for trusted peers"). */
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { listenH2 } from '../../src/grpc/h2/h2-transport.ts'
import { selfSigned } from '../../src/grpc/self-signed.ts'
import { Harness } from '../../src/grpc/suite/harness.ts'
import { exchange, flood, goawayCode, over } from '../../src/grpc/suite/hostile/bystander.ts'
import { grpcRequest, headersFrame, RawHttp2Client, resetFrame } from '../../src/grpc/suite/raw-http2-client.ts'
import type { TransportServer } from '../../src/grpc/transport.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'

/** Forty times what anybody may reset at once. */
const RESETS = 40_000
const BATCH = 500
const CANCEL = 8
const ENHANCE_YOUR_CALM = 11

const harness = new Harness(options => listenH2({ ...options, trust: 'verified' }))
const { echo } = harness
const gateway = selfSigned(['gateway'])
let folder: TempFolder
let clientCaFile: string

beforeAll(async () => {
  folder = await makeTempFolder()
  clientCaFile = join(folder.path, 'ca.crt')
  await writeFile(clientCaFile, gateway.cert)
})
afterAll(() => folder.remove())

/** A port on which `server` is reached without TLS of one's own. */
async function plaintextPort(server: TransportServer, shown: ConnectionOptions): Promise<number> {
  const bridge = createServer(plain => {
    const secure = connectTls({ port: server.port, host: '127.0.0.1', rejectUnauthorized: false, ...shown })
    for (const socket of [plain, secure]) socket.on('error', () => {})
    plain.pipe(secure).pipe(plain)
    plain.once('close', () => secure.destroy())
    // What the client still sends is nobody's, but has to be read for the end to arrive.
    secure.once('close', () => plain.resume().end())
  }).listen(0, '127.0.0.1')
  harness.afterwards(() => bridge.close())
  await once(bridge, 'listening')
  return (bridge.address() as AddressInfo).port
}

/** A connection that was served once, and has then begun and reset many streams, or ended before. */
async function resetting(shown: ConnectionOptions): Promise<RawHttp2Client> {
  const tls = { certificate: { kind: 'self-signed' }, clientCaFile, clientOptional: true } as const
  const server = await harness.serve([echo], { tls })
  const client = await RawHttp2Client.connect(await plaintextPort(server, { ALPNProtocols: ['h2'], ...shown }))
  harness.afterwards(() => client.destroy())
  await exchange(client, 1, echo.path)
  for (let from = 1; from < RESETS && !client.closed; from += BATCH) {
    const frames = Array.from({ length: BATCH }, (_, i) => {
      const stream = 2 * (from + i) + 1
      return Buffer.concat([headersFrame(stream, grpcRequest(echo.path)), resetFrame(stream, CANCEL)])
    })
    await flood(client, Buffer.concat(frames), 1)
  }
  return client
}

it('a gateway with a certificate of the authority may reset as many streams as it likes', async () => {
  const client = await resetting({ cert: gateway.cert, key: gateway.key })
  await exchange(client, 2 * RESETS + 3, echo.path)
  expect(goawayCode(client)).toBeUndefined()
})

it('anybody without one is served, and told to calm down', async () => {
  const client = await resetting({})
  await over(client)
  expect(goawayCode(client)).toBe(ENHANCE_YOUR_CALM)
})
