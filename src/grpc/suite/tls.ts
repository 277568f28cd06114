/** Certificates on a listener; each implementation's test calls it. */
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect as connectHttp2 } from 'node:http2'
import type { ClientHttp2Session } from 'node:http2'
import { connect as connectPlain } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import type { SecureClientSessionOptions } from 'node:http2'
import { Client, Metadata, credentials, status as Status } from '@grpc/grpc-js'
import type { StatusObject } from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { frameMessage } from '../framing.ts'
import type { Listen } from './harness.ts'
import { MOST_BEYOND } from '../listener.ts'
import type { TransportErrorSource } from '../transport-options.ts'
import { grpcRequest } from './raw-http2-client.ts'
import { RecordingService, eventually } from './recording-service.ts'
import { selfSigned } from '../self-signed.ts'
import type { CertificatePair } from '../self-signed.ts'
import type { TlsOptions } from '../tls.ts'
import { GrpcStatus } from '../transport.ts'
import type { TransportServer } from '../transport.ts'

export function tlsSuite(transport: string, listen: Listen): void {
  const cleanups: (() => unknown)[] = []
  let folder = ''
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'signalbox-'))
  })
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
    await rm(folder, { recursive: true })
  })

  /** What ended a session. */
  const failures = new WeakMap<ClientHttp2Session, Promise<string>>()

  const path = '/test.Echo/Run'

  async function serve(
    tls: TlsOptions,
    more: { readonly maxConnections?: number } = {},
  ): Promise<TransportServer & { errors: [unknown, TransportErrorSource][] }> {
    const errors: [unknown, TransportErrorSource][] = []
    const echo = new RecordingService(path, {
      message: ({ stream }, message) => stream.send(frameMessage(message)),
      halfClosed: ({ stream }) => stream.end(GrpcStatus.OK),
    })
    const server = await listen({
      services: [echo],
      listen: { host: '127.0.0.1', port: 0 },
      tls,
      ...more,
      onError: (error, source) => errors.push([error, source]),
    })
    cleanups.push(() => server.close())
    return Object.assign(server, { errors })
  }

  function session(server: TransportServer, options: SecureClientSessionOptions): ClientHttp2Session {
    const client = connectHttp2(`https://localhost:${server.port}`, {
      host: '127.0.0.1',
      servername: 'localhost',
      ...options,
    } as SecureClientSessionOptions)
    cleanups.push(() => client.destroy())
    failures.set(
      client,
      new Promise(resolve => {
        client.on('error', (error: NodeJS.ErrnoException) => resolve(String(error.code)))
        client.on('close', () => resolve('closed'))
      }),
    )
    return client
  }

  /** `grpc-status` of a call, or the code of the error that ended its session. */
  async function call(client: ClientHttp2Session): Promise<string> {
    const request = client.request(grpcRequest(path))
    request.resume().end(frameMessage(Buffer.from('x')))
    const status = new Promise<string>(resolve => {
      request.once('trailers', trailers => resolve(String(trailers['grpc-status'])))
      // The session mostly knows better what happened, but not of every refusal.
      request.once('error', (error: NodeJS.ErrnoException) => setTimeout(resolve, 50, String(error.code)))
    })
    return Promise.race([status, failures.get(client)!])
  }

  /** Serial-like identity of the certificate that new handshakes get. */
  function fingerprint(server: TransportServer): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connectTls(
        { port: server.port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] },
        () => {
          resolve(socket.getPeerCertificate().fingerprint256)
          socket.destroy()
        },
      )
      socket.on('error', reject)
    })
  }

  async function files(pair: CertificatePair): Promise<{ kind: 'files'; certFile: string; keyFile: string }> {
    const [certFile, keyFile] = [join(folder, 'tls.crt'), join(folder, 'tls.key')]
    await writeFile(certFile, pair.cert)
    await writeFile(keyFile, pair.key)
    return { kind: 'files', certFile, keyFile }
  }

  describe(`${transport}: self-signed`, () => {
    it('is served over a real handshake, with h2', async () => {
      const server = await serve({ certificate: { kind: 'self-signed' } })
      const client = session(server, { rejectUnauthorized: false })
      expect(await call(client)).toBe('0')
      expect(client.alpnProtocol).toBe('h2')
    })

    it('renegotiates nothing: a handshake costs more than its request (RFC 9113 §9.2.1)', async () => {
      const server = await serve({ certificate: { kind: 'self-signed' } })
      const options = { rejectUnauthorized: false, ALPNProtocols: ['h2'], maxVersion: 'TLSv1.2' } as const
      const socket = connectTls({ port: server.port, host: '127.0.0.1', ...options })
      cleanups.push(() => socket.destroy())
      await new Promise(resolve => socket.once('secureConnect', resolve))
      expect(socket.getProtocol()).toBe('TLSv1.2')
      const outcome = await new Promise(resolve => {
        socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code))
        socket.renegotiate({ rejectUnauthorized: false }, () => resolve('renegotiated'))
      })
      expect(outcome).toBe('ERR_SSL_NO_RENEGOTIATION')
    })

    it('names what it is told to name, and is not trusted by default', async () => {
      const server = await serve({ certificate: { kind: 'self-signed', names: ['picker.example'] } })
      const socket = connectTls({ port: server.port, host: '127.0.0.1', rejectUnauthorized: false })
      await new Promise(resolve => socket.once('secureConnect', resolve))
      expect(socket.getPeerCertificate().subjectaltname).toBe('DNS:picker.example')
      expect(socket.authorized).toBe(false)
      socket.destroy()
      expect(await call(session(server, {}))).toBe('DEPTH_ZERO_SELF_SIGNED_CERT')
    })

    it('carries many streams at once', async () => {
      const server = await serve({ certificate: { kind: 'self-signed' } })
      const client = session(server, { rejectUnauthorized: false })
      expect(new Set(await Promise.all(Array.from({ length: 200 }, () => call(client))))).toEqual(new Set(['0']))
    })

    it('drains', async () => {
      const server = await serve({ certificate: { kind: 'self-signed' } })
      const client = session(server, { rejectUnauthorized: false })
      expect(await call(client)).toBe('0')
      const goaway = new Promise(resolve => client.once('goaway', resolve))
      await server.drain(1000)
      expect(await goaway).toBe(0)
    })

    it('a connection that is one too many is told so', async () => {
      const server = await serve({ certificate: { kind: 'self-signed' } }, { maxConnections: 1 })
      const first = session(server, { rejectUnauthorized: false })
      expect(await call(first)).toBe('0')
      const second = session(server, { rejectUnauthorized: false })
      // ENHANCE_YOUR_CALM: nothing that it sends was or will be served.
      const told = new Promise(resolve => second.once('goaway', (code, last) => resolve([code, last])))
      expect(await Promise.race([told, failures.get(second)])).toEqual([11, 0])
      expect(await call(first)).toBe('0')
    })

    it('connections that never shake hands count, too', async () => {
      const server = await serve({ certificate: { kind: 'self-signed' } }, { maxConnections: 3 })
      const silent = Array.from({ length: 3 + MOST_BEYOND }, () =>
        connectPlain(server.port, '127.0.0.1').on('error', () => {}),
      )
      cleanups.push(() => silent.forEach(socket => socket.destroy()))
      await Promise.all(silent.map(socket => new Promise(resolve => socket.once('connect', resolve))))
      expect(await call(session(server, { rejectUnauthorized: false }))).not.toBe('0')
      for (const socket of silent) socket.destroy()
      while ((await call(session(server, { rejectUnauthorized: false }))) !== '0') continue
    })

    it('outlives clients that speak plaintext, or no h2', async () => {
      const server = await serve({ certificate: { kind: 'self-signed' } })
      const plain = connectPlain(server.port, '127.0.0.1')
      plain.on('error', () => {})
      plain.write('GET / HTTP/1.1\r\n\r\n')
      await new Promise(resolve => plain.resume().once('close', resolve))
      const http1 = connectTls({
        port: server.port,
        host: '127.0.0.1',
        rejectUnauthorized: false,
        ALPNProtocols: ['http/1.1'],
      })
      const refusal = await new Promise<NodeJS.ErrnoException>(resolve => http1.once('error', resolve))
      expect(refusal.code).toBe('ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL')
      await eventually(() => server.errors.length >= 2)
      expect(new Set(server.errors.map(([, source]) => source))).toEqual(new Set(['connection']))
      expect(await call(session(server, { rejectUnauthorized: false }))).toBe('0')
    })
  })

  describe(`${transport}: certificate files`, () => {
    it('are served to a client that verifies them, grpc-js too', async () => {
      const pair = selfSigned(['localhost'])
      const server = await serve({ certificate: await files(pair) })
      expect(await call(session(server, { ca: pair.cert }))).toBe('0')
      const client = new Client(server.address, credentials.createSsl(Buffer.from(pair.cert)), {
        'grpc.ssl_target_name_override': 'localhost',
      })
      cleanups.push(() => client.close())
      const same = (bytes: Buffer): Buffer => bytes
      const stream = client.makeBidiStreamRequest<Buffer, Buffer>(path, same, same, new Metadata())
      stream.on('error', () => {})
      stream.resume().end()
      expect((await new Promise<StatusObject>(resolve => stream.once('status', resolve))).code).toBe(Status.OK)
    })

    it('are loaded again when they change; connections live on', async () => {
      const [old, fresh] = [selfSigned(['localhost']), selfSigned(['localhost'])]
      const server = await serve({ certificate: await files(old), reloadMs: 10 })
      const client = session(server, { ca: old.cert })
      expect(await call(client)).toBe('0')
      const before = await fingerprint(server)
      await files(fresh)
      let after = before
      while (after === before) after = await fingerprint(server)
      expect(await call(session(server, { ca: fresh.cert }))).toBe('0')
      expect(await call(client)).toBe('0')
    })

    it('stay in use while the new ones are unusable, which is reported once', async () => {
      const [old, fresh] = [selfSigned(['localhost']), selfSigned(['localhost'])]
      const certificate = await files(old)
      const server = await serve({ certificate, reloadMs: 10 })
      const before = await fingerprint(server)
      const bad = async (file: string, content: string, expected: RegExp): Promise<void> => {
        // The connections by which this test looks at the certificate end early, which is reported as well.
        const reports = (): unknown[] => server.errors.filter(([, source]) => source === 'certificate')
        const known = reports().length
        await writeFile(file, content)
        await eventually(() => reports().length > known)
        expect(String(reports()[known])).toMatch(expected)
        await new Promise(resolve => setTimeout(resolve, 60))
        expect(reports()).toHaveLength(known + 1)
        expect(await fingerprint(server)).toBe(before)
      }
      await bad(certificate.certFile, 'not a certificate', /PEM|no start line/i)
      await bad(certificate.certFile, fresh.cert, /mismatch/)
      await copyFile(certificate.keyFile, join(folder, 'old.key'))
      await rm(certificate.keyFile)
      await eventually(() => server.errors.some(([error]) => String(error).includes('ENOENT')))
      await writeFile(certificate.keyFile, fresh.key)
      while ((await fingerprint(server)) === before) await new Promise(resolve => setTimeout(resolve, 5))
    })

    it('must be usable at the start', async () => {
      const certificate = await files(selfSigned(['a']))
      await expect(serve({ certificate: { ...certificate, keyFile: join(folder, 'none') } })).rejects.toThrow('ENOENT')
      await writeFile(certificate.keyFile, selfSigned(['a']).key)
      await expect(serve({ certificate })).rejects.toThrow('mismatch')
    })
  })

  describe(`${transport}: client certificates`, () => {
    it.each([
      ['required', 'known', true],
      ['required', 'unknown', false],
      ['required', 'no', false],
      ['optional', 'known', true],
      ['optional', 'unknown', false],
      ['optional', 'no', true],
    ])('%s: a client with %s certificate: %s', async (mode, shown, accepted) => {
      const known = selfSigned(['client'])
      const clientCaFile = join(folder, 'ca.crt')
      await writeFile(clientCaFile, known.cert)
      const server = await serve({
        certificate: { kind: 'self-signed' },
        clientCaFile,
        clientOptional: mode === 'optional',
      })
      const pair = { known, unknown: selfSigned(['client']), no: {} }[shown]
      const result = await call(session(server, { rejectUnauthorized: false, ...pair }))
      expect(result === '0').toBe(accepted)
      expect(server.streams).toBe(0)
    })
  })
}
