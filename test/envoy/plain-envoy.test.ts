import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { JsonObject } from '@bufbuild/protobuf'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { parse } from 'yaml'
import { type EnvoyProcess, startEnvoy } from '../../src/cli/envoy/envoy-process.ts'
import { isAtLeast } from '../../src/cli/envoy/envoy-version.ts'
import { parseEppOptions } from '../../src/cli/epp/epp-options.ts'
import { Signalbox } from '../../src/cli/serve/signalbox.ts'
import type { Simulator } from '../../src/sim/simulator.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { describeOnEnvoy } from '../support/envoy-suite.ts'
import { sendHttp1 } from '../support/http-client.ts'
import { addressOf, startSimulators } from '../support/simulators.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'

const EXAMPLE = join(import.meta.dirname, '..', '..', 'examples', 'plain-envoy')
const DESTINATION = 'x-gateway-destination-endpoint'

/** A file of the example, each `[from, to]` of which must be there. */
function example(name: string, ...changes: readonly (readonly [string, string | number])[]): string {
  let text = readFileSync(join(EXAMPLE, name), 'utf8')
  for (const [from, to] of changes) {
    expect([name, text]).toEqual([name, expect.stringContaining(from)])
    text = text.replaceAll(from, String(to))
  }
  return text
}

/** What the comments of the example say to change for a list of endpoints. */
const LIST = {
  picker: [['maxNumOfEndpoints: 1', 'maxNumOfEndpoints: 3']],
  envoy: [
    ['cluster: replica #', 'cluster: replicas-with-retries #'],
    ['# retry_policy:', 'retry_policy:'],
    ['#   retry_on:', '  retry_on:'],
    ['#   num_retries:', '  num_retries:'],
  ],
} as const

/** What its README says to change for bodies that stay in Envoy. */
const LOOK = {
  envoy: [
    ['request_body_mode: FULL_DUPLEX_STREAMED', 'request_body_mode: STREAMED'],
    ['request_trailer_mode: SEND', 'request_trailer_mode: SKIP'],
    ['message_timeout: 5s', 'message_timeout: 300s\n<filter>send_body_without_waiting_for_header_response: true'],
    ['domains: ["*"]', 'domains: ["*"]\n<host>request_body_buffer_limit: 33554432'],
    ['<filter>', ' '.repeat(22)],
    ['<host>', ' '.repeat(22)],
  ],
} as const

/** Pairs of what is replaced and by what, by file. */
interface Changes {
  readonly picker?: readonly (readonly [string, string])[]
  readonly envoy?: readonly (readonly [string, string])[]
}

describeOnEnvoy('examples/plain-envoy', envoyBinary => {
  let folder: TempFolder
  let simulators: Simulator[]
  const running: { stop(): Promise<unknown> }[] = []

  /** The example with other ports and these changes. @returns the gateway's port */
  async function start(name: string, changes: Changes = {}): Promise<number> {
    const endpoints = join(folder.path, `${name}-endpoints.yaml`)
    const [first, second] = simulators.map(({ port }) => port) as [number, number]
    const ports = [
      ['8101', first],
      ['8102', second],
    ] as const
    await writeFile(endpoints, example('endpoints.yaml', ...ports))
    const picker = join(folder.path, `${name}-picker.yaml`)
    await writeFile(
      picker,
      example('picker.yaml', ['examples/plain-envoy/endpoints.yaml', endpoints], ...(changes.picker ?? [])),
    )
    const flags = ['--grpc-port=0', '--grpc-health-port=0', '--metrics-port=0', '--drain-timeout=0', '--threads=1']
    const { serve } = parseEppOptions(['--pool-name=models', `--config-file=${picker}`, ...flags], {}, '127.0.0.1')
    const signalbox = new Signalbox(serve, createLog('silent'))
    running.push(signalbox)
    await signalbox.start()
    const extProcPort = signalbox.extProcAddress.split(':').at(-1)!
    const { admin: _admin, ...bootstrap } = parse(
      example(
        'envoy.yaml',
        ...ports,
        ['9002', extProcPort],
        ['port_value: 8080', 'port_value: 0'],
        ...(changes.envoy ?? []),
      ),
    ) as JsonObject
    const envoy: EnvoyProcess = await startEnvoy({ binary: envoyBinary.path, bootstrap, concurrency: 1 })
    running.push(envoy)
    await envoy.ready()
    return await envoy.admin.listenerPort('http')
  }

  const ask = (port: number, i: number) =>
    sendHttp1({
      port,
      path: '/v1/chat/completions',
      // Whatever a client says of it counts for nothing.
      headers: { 'content-type': 'application/json', [DESTINATION]: '127.0.0.1:1' },
      body: JSON.stringify({ model: 'llama', messages: [{ role: 'user', content: `${i}: hello` }], max_tokens: 3 }),
    })
  const pickedFor = (simulator: Simulator) =>
    simulator
      .requests()
      .filter(({ path }) => path === '/v1/chat/completions')
      .map(({ headers }) => headers[DESTINATION])

  beforeAll(async () => {
    folder = await makeTempFolder()
    simulators = await startSimulators(['vllm-0', 'vllm-1'])
  })
  afterAll(async () => {
    for (const process of running.toReversed()) await process.stop()
    await Promise.all(simulators.map(simulator => simulator.close()))
    await folder.remove()
  })

  it('sends each request to the one endpoint that the picker names', async () => {
    const port = await start('one')
    for (let i = 0; i < 8; i++) expect((await ask(port, i)).status).toBe(200)
    expect(simulators.flatMap(pickedFor)).toHaveLength(8)
    for (const simulator of simulators)
      for (const picked of pickedFor(simulator)) expect(picked).toBe(addressOf(simulator))
  }, 60_000)

  it('and, where bodies are looked at, a long one with the model at its end', async () => {
    // Before, what Envoy holds could not be said in a virtual host.
    if (!isAtLeast(envoyBinary.version, '1.37.0')) return
    const port = await start('look', LOOK)
    const prompt = 'some words '.repeat(200_000)
    const body = JSON.stringify({ prompt, max_tokens: 1, model: 'unknown' })
    const { status, headers } = await sendHttp1({ port, path: '/v1/completions', body })
    // The replica has read all of it, and serves no such model.
    expect([status, headers['x-sim-replica']]).toEqual([404, expect.stringMatching(/^vllm-[01]$/)])
  }, 60_000)

  it('and, changed as its comments say, to the next of a list', async () => {
    const port = await start('list', LIST)
    expect((await ask(port, 8)).status).toBe(200)
    const [gone, left] = simulators as [Simulator, Simulator]
    const lists = simulators.flatMap(pickedFor).filter(picked => picked?.includes(','))
    expect(lists.map(list => list!.split(',').toSorted())).toEqual([simulators.map(addressOf).toSorted()])
    await gone.close()
    for (let i = 9; i < 17; i++) {
      const { status, headers } = await ask(port, i)
      expect([status, headers['x-sim-replica']]).toEqual([200, left.name])
    }
  }, 60_000)
})
