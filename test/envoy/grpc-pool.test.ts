import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { Client, credentials, Metadata, type StatusObject, status as Status } from '@grpc/grpc-js'
import { afterAll, beforeAll, beforeEach, expect, it } from '@jest/globals'
import { type EnvoyProcess, startEnvoy } from '../../src/cli/envoy/envoy-process.ts'
import { parseServeOptions } from '../../src/cli/serve/options.ts'
import { Signalbox } from '../../src/cli/serve/signalbox.ts'
import { frameMessage } from '../../src/grpc/framing.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { describeOnEnvoy } from '../support/envoy-suite.ts'
import { gatewayBootstrap } from '../support/gateway-bootstrap.ts'
import { documents, poolYaml } from '../support/pool-config.ts'
import { type RecordingBackend, startRecordingBackend } from '../support/recording-backend.ts'
import type { Reply } from '../support/reply.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'
import { waitFor } from '../support/wait-for.ts'

const GENERATE = '/vllm.grpc.engine.VllmEngine/Generate'
const DESTINATION = 'x-gateway-destination-endpoint'
/** Engines that speak HTTP/2 only have their metrics elsewhere. */
const PICKER = `
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- { type: prefix-cache-scorer }
- { type: vllmgrpc-parser }
requestHandler: { parsers: [{ pluginRef: vllmgrpc-parser }] }
dataLayer: { injectDefaults: false }
`

/** GenerateRequest with a text (epp.md §3.12). */
const generate = (prompt: string): Buffer =>
  Buffer.from(
    new BinaryWriter()
      .tag(1, WireType.LengthDelimited)
      .string('id')
      .tag(3, WireType.LengthDelimited)
      .string(prompt)
      .finish(),
  )
const PIECES = Array.from({ length: 5 }, (_, i) => Buffer.from(`piece ${i} `.repeat(2000 * i + 1)))

interface Answer {
  readonly messages: readonly Buffer[]
  readonly status: StatusObject
}

describeOnEnvoy('gRPC engines behind a gateway in full duplex', envoyBinary => {
  let folder: TempFolder
  let backends: RecordingBackend[]
  let signalbox: Signalbox
  let envoy: EnvoyProcess
  let client: Client
  let reply: Reply

  beforeAll(async () => {
    folder = await makeTempFolder()
    backends = await Promise.all([1, 2, 3].map(() => startRecordingBackend({ protocol: 'h2c', script: () => reply })))
    const addresses = backends.map(({ address }) => address)
    await writeFile(join(folder.path, 'config.yaml'), documents(poolYaml({ addresses }), PICKER))
    const args = ['--pool=default/pool', '--xds=off', '--ext-proc=127.0.0.1:0', '--admin=127.0.0.1:0', '--drain=1']
    signalbox = new Signalbox(
      parseServeOptions([`--config=${join(folder.path, 'config.yaml')}`, ...args]),
      createLog('silent'),
    )
    await signalbox.start()
    envoy = await startEnvoy({
      binary: envoyBinary.path,
      bootstrap: gatewayBootstrap({
        peers: { picker: { address: signalbox.extProcAddress } },
        listeners: [
          {
            name: 'gateway',
            peer: 'picker',
            filter: {
              processingMode: {
                requestHeaderMode: 'SEND',
                responseHeaderMode: 'SEND',
                requestBodyMode: 'FULL_DUPLEX_STREAMED',
                responseBodyMode: 'FULL_DUPLEX_STREAMED',
                requestTrailerMode: 'SEND',
                responseTrailerMode: 'SEND',
              },
            },
          },
        ],
        pool: addresses,
        poolIsHttp2: true,
        special: '127.0.0.1:9',
        accessLog: join(folder.path, 'access.log'),
      }),
      concurrency: 1,
    })
    await envoy.ready()
    client = new Client(`127.0.0.1:${await envoy.admin.listenerPort('gateway')}`, credentials.createInsecure())
  })
  beforeEach(() => {
    for (const backend of backends) backend.forget()
    reply = {
      headers: { 'content-type': 'application/grpc' },
      chunks: PIECES.map(piece => frameMessage(piece)),
      gapMs: 5,
      trailers: { 'grpc-status': '0', 'x-usage': '17' },
    }
  })
  afterAll(async () => {
    client?.close()
    await envoy?.stop()
    await signalbox?.stop()
    await Promise.all((backends ?? []).map(backend => backend.close()))
    await folder?.remove()
  })

  const call = async (message: Buffer): Promise<Answer> => {
    const bytes = (value: Buffer): Buffer => value
    const stream = client.makeServerStreamRequest<Buffer, Buffer>(GENERATE, bytes, bytes, message, new Metadata(), {
      deadline: Date.now() + 20_000,
    })
    const messages: Buffer[] = []
    stream.on('data', (each: Buffer) => messages.push(each))
    stream.on('error', () => {})
    const status = await new Promise<StatusObject>(resolve => stream.once('status', resolve))
    return { messages, status }
  }
  const served = () => backends.filter(({ requests }) => requests.some(({ path }) => path === GENERATE))

  it('a call goes to the picked one, and all of its answer comes back, trailers too', async () => {
    const message = generate('once upon a time '.repeat(5000))
    const { messages, status } = await call(message)
    expect([status.code, status.metadata.get('x-usage')]).toEqual([Status.OK, ['17']])
    expect(messages).toEqual(PIECES)
    const [backend, ...others] = served()
    expect(others).toEqual([])
    const { headers, body } = await backend!.completed()
    expect(headers[DESTINATION]!.split(',')[0]).toBe(backend!.address)
    expect(body.bytes).toEqual(Buffer.from(frameMessage(message)))
    await waitFor('nothing to be in flight', async () => {
      const pools = (await (await fetch(`http://${signalbox.adminAddress}/pools`)).json()) as Record<
        string,
        { inFlight: number }[]
      >
      return pools['default/pool']!.every(({ inFlight }) => inFlight === 0)
    })
  })

  it('prompts that begin alike stay together', async () => {
    const prompt = 'a story that is told again and again '.repeat(200)
    for (let i = 0; i < 8; i++) expect((await call(generate(`${prompt}${i}`))).status.code).toBe(Status.OK)
    expect(served()).toHaveLength(1)
  })

  it("an engine's error is its own", async () => {
    reply = {
      headers: { 'content-type': 'application/grpc' },
      trailers: { 'grpc-status': '8', 'grpc-message': 'no room' },
    }
    const { status } = await call(generate('x'))
    expect([status.code, status.details]).toEqual([Status.RESOURCE_EXHAUSTED, 'no room'])
  })

  it('a call without a prompt reaches nobody', async () => {
    expect((await call(Buffer.alloc(0))).status.code).not.toBe(Status.OK)
    expect(served()).toEqual([])
  })
})
