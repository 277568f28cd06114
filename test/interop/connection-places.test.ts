/** Who may hold places that are few (`--max-connections`): silence holds none for long, strangers not those of peers with a certificate. */
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { type ClientHttp2Session, connect as connectHttp2, type SecureClientSessionOptions } from 'node:http2'
import { connect as connectPlain } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { frameMessage } from '../../src/grpc/framing.ts'
import { listenH2 } from '../../src/grpc/h2/h2-transport.ts'
import { selfSigned } from '../../src/grpc/self-signed.ts'
import { Harness } from '../../src/grpc/suite/harness.ts'
import { grpcRequest } from '../../src/grpc/suite/raw-http2-client.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'
import { waitFor } from '../support/wait-for.ts'

const PLACES = 4
const gateway = selfSigned(['gateway'])
const SHOWN = { cert: gateway.cert, key: gateway.key }
const ENHANCE_YOUR_CALM = 11
let folder: TempFolder

beforeAll(async () => {
  folder = await makeTempFolder()
  await writeFile(join(folder.path, 'ca.crt'), gateway.cert)
})
afterAll(() => folder.remove())

describe('peers without a certificate, where those with one are trusted', () => {
  const harness = new Harness(options => listenH2({ ...options, trust: 'verified', maxConnections: PLACES }))
  const serve = () =>
    harness.serve([harness.echo], {
      tls: {
        certificate: { kind: 'self-signed' },
        clientCaFile: join(folder.path, 'ca.crt'),
        clientOptional: true,
      },
    })

  /** Connected and told the server's settings, and what it hears then. */
  async function open(port: number, shown: { readonly cert?: string; readonly key?: string }) {
    const options: SecureClientSessionOptions = { rejectUnauthorized: false, ...shown }
    const session = connectHttp2(`https://127.0.0.1:${port}`, options)
    const heard: { goaway?: number } = {}
    session.on('error', () => {})
    session.on('goaway', code => (heard.goaway = code))
    harness.afterwards(() => session.destroy())
    await once(session, 'remoteSettings')
    return { session, heard }
  }

  /** A stream that stays open, once the server has answered on it. */
  async function hold(session: ClientHttp2Session): Promise<void> {
    const stream = session.request(grpcRequest('/test.Echo/Run'))
    stream.on('error', () => {})
    stream.write(frameMessage(Buffer.from('x')))
    await once(stream, 'data')
  }

  it('have half of the places', async () => {
    const server = await serve()
    const strangers = [await open(server.port, {}), await open(server.port, {})]
    const third = await open(server.port, {})
    await waitFor('a refusal', () => third.heard.goaway === ENHANCE_YOUR_CALM)
    for (let i = 0; i < PLACES / 2; i++) await hold((await open(server.port, SHOWN)).session)
    for (const { session } of strangers) await hold(session)
    expect(server.connections).toBe(PLACES)
  })

  it('make room for those with one, and who has no streams goes first', async () => {
    const server = await serve()
    const [busy, idle] = [await open(server.port, {}), await open(server.port, {})]
    await hold(busy.session)
    const trusted = [await open(server.port, SHOWN), await open(server.port, SHOWN)]
    for (const { session } of trusted) await hold(session)
    await hold((await open(server.port, SHOWN)).session)
    await waitFor('the idle one to be closed', () => idle.session.closed)
    expect([busy.session.closed, server.connections]).toEqual([false, PLACES])
    await hold((await open(server.port, SHOWN)).session)
    await waitFor('the busy one to be closed', () => busy.session.closed)
    const one = await open(server.port, SHOWN)
    await waitFor('a refusal', () => one.heard.goaway === ENHANCE_YOUR_CALM)
    for (const { session } of trusted) await hold(session)
    expect(server.connections).toBe(PLACES)
  })
})

describe('a client that does not come out with its preface', () => {
  const harness = new Harness(options => listenH2({ ...options, prefaceMs: 100 }))

  it.each([
    ['nothing', ''],
    ['half of it', 'PRI * HT'],
    ['all but its SETTINGS', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ])('is closed: %s', async (_name, begins) => {
    const server = await harness.serve([harness.echo])
    const socket = connectPlain(server.port, '127.0.0.1').on('error', () => {})
    harness.afterwards(() => socket.destroy())
    socket.write(begins)
    await once(socket.resume(), 'close')
    await waitFor('its place', () => server.connections === 0)
  })
})

describe('a client that has sent its preface', () => {
  const harness = new Harness(options => listenH2({ ...options, prefaceMs: 2000 }))

  it('stays', async () => {
    const server = await harness.serve([harness.echo])
    const session = connectHttp2(`http://127.0.0.1:${server.port}`)
    harness.afterwards(() => session.destroy())
    await once(session, 'remoteSettings')
    // One that comes after it and is silent is closed meanwhile.
    const silent = connectPlain(server.port, '127.0.0.1').on('error', () => {})
    harness.afterwards(() => silent.destroy())
    await once(silent.resume(), 'close')
    const stream = session.request(grpcRequest('/test.Echo/Run'))
    stream.resume().end(frameMessage(Buffer.from('x')))
    await once(stream, 'trailers')
  })
})
