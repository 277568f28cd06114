import { X509Certificate } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { join } from 'node:path'
import type { JsonObject } from '@bufbuild/protobuf'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { type EnvoyProcess, startEnvoy } from '../../src/cli/envoy/envoy-process.ts'
import { parseServeOptions } from '../../src/cli/serve/options.ts'
import { Signalbox } from '../../src/cli/serve/signalbox.ts'
import { type CertificatePair, selfSigned } from '../../src/grpc/self-signed.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { describeOnEnvoy } from '../support/envoy-suite.ts'
import { gatewayBootstrap } from '../support/gateway-bootstrap.ts'
import { documents, poolYaml } from '../support/pool-config.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'

const OPERATOR = selfSigned(['operator'])
/** The same name, another key. */
const STRANGER = selfSigned(['operator'])
const BODY = '{"model":"m","prompt":"x"}'
const fingerprint = ({ cert }: CertificatePair) => new X509Certificate(cert).fingerprint256
const EXPLAIN = { 'x-signalbox-explain': '1' }

const FILTER: JsonObject = {
  processingMode: {
    requestHeaderMode: 'SEND',
    responseHeaderMode: 'SEND',
    requestBodyMode: 'FULL_DUPLEX_STREAMED',
    responseBodyMode: 'FULL_DUPLEX_STREAMED',
    requestTrailerMode: 'SEND',
    responseTrailerMode: 'SEND',
  },
  requestAttributes: ['connection.sha256_peer_certificate_digest'],
}

/** The worst of gateways: it asks for certificates, and believes any. */
function believesAnybody(): JsonObject {
  const { cert, key } = selfSigned(['localhost'])
  return {
    name: 'tls',
    typedConfig: {
      '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
      commonTlsContext: {
        tlsCertificates: [{ certificateChain: { inlineString: cert }, privateKey: { inlineString: key } }],
        validationContext: {
          trustedCa: { inlineString: cert },
          trustChainVerification: 'ACCEPT_UNTRUSTED',
        },
      },
    },
  }
}

describeOnEnvoy("decisions are told to a gateway's client that has the certificate", envoyBinary => {
  let folder: TempFolder
  let backend: RecordingBackend
  let signalbox: Signalbox
  let envoy: EnvoyProcess
  let port: number

  beforeAll(async () => {
    folder = await makeTempFolder()
    backend = await startRecordingBackend({
      script: ({ path }) => (path.startsWith('/v1/c') ? {} : { status: 404 }),
    })
    const at = (name: string) => join(folder.path, name)
    await writeFile(at('config.yaml'), documents(poolYaml({ addresses: [backend.address] })))
    await writeFile(at('clients'), `# who runs this\nsha256 Fingerprint=${fingerprint(OPERATOR)}\n`)
    const args = [`--config=${at('config.yaml')}`, '--pool=default/pool', '--xds=off', '--admin=off', '--drain=1']
    signalbox = new Signalbox(
      parseServeOptions([
        ...args,
        `--ext-proc=unix:${at('socket')}`,
        `--explain-clients-file=${at('clients')}`,
        '--threads=1',
        '--log-level=silent',
      ]),
      createLog('silent'),
    )
    await signalbox.start()
    const bootstrap = gatewayBootstrap({
      peers: { socket: { address: at('socket') } },
      listeners: [{ name: 'gateway', peer: 'socket', filter: FILTER }],
      pool: [backend.address],
      special: backend.address,
      accessLog: at('access.log'),
    })
    const { listeners } = bootstrap['staticResources'] as { listeners: { filterChains: JsonObject[] }[] }
    listeners[0]!.filterChains[0]!['transportSocket'] = believesAnybody()
    envoy = await startEnvoy({ binary: envoyBinary.path, bootstrap, concurrency: 1 })
    await envoy.ready()
    port = await envoy.admin.listenerPort('gateway')
  })
  afterAll(async () => {
    await envoy?.stop()
    await signalbox?.stop()
    await backend?.close()
    await folder?.remove()
  })

  async function told(
    client: CertificatePair | undefined,
    headers: Readonly<Record<string, string>>,
  ): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    const outgoing = request({
      port,
      method: 'POST',
      path: '/v1/completions',
      rejectUnauthorized: false,
      agent: false,
      headers: { 'content-type': 'application/json', ...headers },
      ...client,
    })
    outgoing.on('error', reject)
    outgoing.on('response', incoming => {
      incoming.resume()
      incoming.on('end', () => resolve([incoming.statusCode, incoming.headers['x-signalbox-decision']]))
    })
    outgoing.end(BODY)
    return promise
  }

  it('and asks for it', async () => {
    expect(await told(OPERATOR, EXPLAIN)).toEqual([200, expect.stringContaining(`"picked":["${backend.address}"]`)])
    expect(await told(OPERATOR, {})).toEqual([200, undefined])
  })

  it('and to nobody else, whatever he says', async () => {
    const forged = {
      'x-forwarded-client-cert': `Hash=${fingerprint(OPERATOR).replaceAll(':', '').toLowerCase()}`,
      'connection.sha256_peer_certificate_digest': fingerprint(OPERATOR),
    }
    for (const client of [STRANGER, undefined])
      expect(await told(client, { ...EXPLAIN, ...forged })).toEqual([200, undefined])
    expect(backend.requests.filter(({ headers }) => 'x-signalbox-explain' in headers)).toEqual([])
  })
})
