import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it, jest } from '@jest/globals'
import { type EnvoyProcess, startEnvoy } from '../../src/cli/envoy/envoy-process.ts'
import { parseEppOptions } from '../../src/cli/epp/epp-options.ts'
import { Signalbox } from '../../src/cli/serve/signalbox.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { describeOnEnvoy } from '../support/envoy-suite.ts'
import { gatewayBootstrap } from '../support/gateway-bootstrap.ts'
import { sendHttp1 } from '../support/http-client.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'

jest.setTimeout(60_000)

const DESTINATION = 'x-gateway-destination-endpoint'
const FILTER = {
  processingMode: {
    requestHeaderMode: 'SEND',
    responseHeaderMode: 'SEND',
    requestBodyMode: 'FULL_DUPLEX_STREAMED',
    responseBodyMode: 'FULL_DUPLEX_STREAMED',
    requestTrailerMode: 'SEND',
    responseTrailerMode: 'SEND',
  },
}
const PARAMETERS = `---
apiVersion: signalbox.dev/v1alpha1
kind: SignalboxParameters
metadata: { name: settings }
spec: { limits: { prefixBytes: 16384 } }
`
const SAYS_THREE = '- { type: max-score-picker, parameters: { maxNumOfEndpoints: 3 } }\n'

/** llm-d's own Envoys, as its page on endpoint discovery has them, know no replica: they go where the header says. */
describeOnEnvoy('an Envoy whose cluster is ORIGINAL_DST by the header', binary => {
  let folder: TempFolder
  let backends: RecordingBackend[]
  let envoy: EnvoyProcess
  const pickers: Signalbox[] = []

  const picker = async (name: string, plugins: string, more = ''): Promise<{ readonly address: string }> => {
    const file = join(folder.path, `${name}.yaml`)
    await writeFile(
      file,
      `apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- { name: list, type: file-discovery, parameters: { path: "${join(folder.path, 'endpoints.yaml')}" } }
${plugins}dataLayer: { discovery: { pluginRef: list } }
${more}`,
    )
    const ports = ['--grpc-port=0', '--grpc-health-port=0', '--metrics-port=0', '--drain-timeout=0', '--threads=1']
    const flags = ['--pool-name=pool', '--secure-serving=false', `--config-file=${file}`, ...ports]
    const signalbox = new Signalbox(parseEppOptions(flags, {}, '127.0.0.1').serve, createLog('silent'))
    pickers.push(signalbox)
    await signalbox.start()
    return { address: signalbox.extProcAddress }
  }

  beforeAll(async () => {
    folder = await makeTempFolder()
    backends = await Promise.all(
      ['a', 'b', 'c'].map(name =>
        startRecordingBackend({
          script: ({ path }) => (path.startsWith('/v1/c') ? { chunks: [Buffer.from(name)] } : { status: 404 }),
        }),
      ),
    )
    const listed = backends.map(({ port }, i) => `- { name: vllm-${i}, address: 127.0.0.1, port: "${port}" }`)
    await writeFile(join(folder.path, 'endpoints.yaml'), `endpoints:\n${listed.join('\n')}\n`)
    const peers = {
      none: await picker('none', '- type: queue-scorer\n'),
      silent: await picker('silent', '- type: queue-scorer\n- type: max-score-picker\n'),
      parameters: await picker('parameters', '- type: random-picker\n', PARAMETERS),
      list: await picker('list', SAYS_THREE),
    }
    envoy = await startEnvoy({
      binary: binary.path,
      bootstrap: gatewayBootstrap({
        peers,
        listeners: Object.keys(peers).map(peer => ({ name: peer, peer, filter: FILTER })),
        pool: [],
        originalDestination: true,
        special: backends[0]!.address,
        accessLog: join(folder.path, 'access.log'),
      }),
      concurrency: 1,
    })
    await envoy.ready()
  })
  afterAll(async () => {
    await envoy?.stop()
    await Promise.all(pickers.map(signalbox => signalbox.stop()))
    await Promise.all((backends ?? []).map(backend => backend.close()))
    await folder?.remove()
  })

  const ask = async (listener: string) =>
    await sendHttp1({
      port: await envoy.admin.listenerPort(listener),
      path: '/v1/completions',
      headers: { 'content-type': 'application/json' },
      body: '{"model":"m","prompt":"x"}',
    })
  const told = () => backends.flatMap(({ requests }) => requests).flatMap(({ headers }) => headers[DESTINATION] ?? [])

  it.each(['none', 'silent', 'parameters'])('gets one endpoint, and reaches it: picker %s', async listener => {
    for (let i = 0; i < 4; i++) expect((await ask(listener)).status).toBe(200)
    const addresses = backends.map(({ address }) => address)
    expect(told().length).toBeGreaterThan(0)
    for (const destination of told()) expect(addresses).toContain(destination)
  })

  it('cannot take a list, which is for other gateways', async () => {
    expect((await ask('list')).status).toBe(503)
  })
})
