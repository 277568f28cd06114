import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { type EnvoyProcess, startEnvoy } from '../../src/cli/envoy/envoy-process.ts'
import { parseServeOptions } from '../../src/cli/serve/options.ts'
import { Signalbox } from '../../src/cli/serve/signalbox.ts'
import type { Simulator } from '../../src/sim/simulator.ts'
import { startSimulator } from '../../src/sim/simulator.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { describeOnEnvoy, describeOnPlanes } from '../support/envoy-suite.ts'
import { gatewayBootstrap } from '../support/gateway-bootstrap.ts'
import { sendHttp1 } from '../support/http-client.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { Rig } from '../support/rig.ts'
import { addressOf, type EndpointView, type Occupation, occupy } from '../support/simulators.ts'
import { makeTempFolder, type TempFolder } from '../support/temp-folder.ts'
import { waitFor } from '../support/wait-for.ts'

/** What was told holds for the whole test, though it is slow. */
const PARAMETERS = '{ scrape: { stale: 10m } }'
const PICKER = `
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins: [{ type: running-requests-size-scorer }]
dataLayer: { injectDefaults: false }
`
const pool = (simulators: readonly Simulator[]) =>
  poolYaml({ addresses: simulators.map(addressOf), annotations: { 'signalbox.dev/load-reports': 'Headers' } })

/** Three replicas, each with reports in a form of its own. */
function startReplicas(): Promise<Simulator[]> {
  return Promise.all(
    (['TEXT', 'JSON', 'BIN'] as const).map(loadReports =>
      startSimulator({
        port: 0,
        name: loadReports,
        loadReports,
        prefillBaseMs: 1,
        prefillMsPerToken: 0.001,
        decodeMs: 1,
        faults: { brokenMetrics: 'status' },
      }),
    ),
  )
}

interface Way {
  /** Of the gateway. */
  readonly port: number
  readonly stream: boolean
  known(): Promise<readonly EndpointView[]>
}

/** Requests, one after the other, go where reports say that least runs, and follow when that changes. */
async function followsReports(way: Way, simulators: readonly Simulator[]): Promise<void> {
  const { port, stream } = way
  const body = JSON.stringify({ model: 'llama', prompt: 'Hello', max_tokens: 2, stream })
  const ask = async () => {
    const answer = await sendHttp1({ port, path: '/v1/completions', body })
    expect(answer.status).toBe(200)
    // Only who was asked for it, or always does, reports.
    expect({ ...answer.headers, ...answer.trailers }).toMatchObject(
      answer.headers['x-sim-replica'] === 'BIN'
        ? { 'endpoint-load-metrics-bin': expect.any(String) }
        : { 'endpoint-load-metrics': expect.any(String) },
    )
    return String(answer.headers['x-sim-replica'])
  }
  const [first, ...others] = simulators as [Simulator, ...Simulator[]]
  const tenGoTo = (wanted: (name: string) => boolean) =>
    waitFor('ten requests to follow', async () => {
      const names: string[] = []
      while (names.length < 10) {
        const name = await ask()
        if (!wanted(name)) return false
        names.push(name)
      }
      return true
    })
  let busy: Occupation[] = [await occupy(first, 'llama', 3)]
  try {
    // Nobody is known, and each is asked once: then it has told.
    await waitFor('the busy one to have told', async () => {
      await ask()
      const running = (await way.known()).find(({ address }) => address === addressOf(first))!
      return running.scrapedAt === 0 ? undefined : running.running === 3
    })
    await tenGoTo(name => name !== 'TEXT')

    await busy[0]!.end()
    busy = []
    for (const simulator of others) busy.push(await occupy(simulator, 'llama', 5))
    await tenGoTo(name => name === 'TEXT')
  } finally {
    await Promise.all(busy.map(each => each.end()))
  }
}

describeOnPlanes('load reports instead of scrapes, on our own fleet', plane => {
  let simulators: Simulator[]
  let rig: Rig
  beforeEach(async () => {
    simulators = await startReplicas()
    rig = await Rig.start({
      plane,
      config: documents(
        GATEWAY,
        pool(simulators),
        PICKER,
        routeYaml({ models: { '': 'pool' } }),
        parametersYaml(PARAMETERS),
      ),
    })
    await rig.decides('/v1/completions')
  })
  afterEach(async () => {
    await rig?.stop()
    await Promise.all(simulators.map(simulator => simulator.close()))
  })

  it.each([false, true])('are followed (streamed: %s)', async stream => {
    const known = async () => (await rig.admin<Record<string, EndpointView[]>>('/pools'))['default/pool']!
    await followsReports({ port: rig.port, stream, known }, simulators)
  })
})

describeOnEnvoy('load reports instead of scrapes, behind a gateway that is not ours', envoyBinary => {
  let folder: TempFolder
  let simulators: Simulator[]
  let signalbox: Signalbox
  let envoy: EnvoyProcess

  beforeAll(async () => {
    folder = await makeTempFolder()
  })
  beforeEach(async () => {
    simulators = await startReplicas()
    const config = join(folder.path, 'config.yaml')
    await writeFile(config, documents(pool(simulators), PICKER, parametersYaml(PARAMETERS)))
    const args = [`--config=${config}`, '--pool=default/pool', '--xds=off', '--admin=127.0.0.1:0', '--drain=1']
    signalbox = new Signalbox(
      parseServeOptions([...args, '--log-level=silent', '--ext-proc=127.0.0.1:0']),
      createLog('silent'),
    )
    await signalbox.start()
    const modes = (body: string, response: string, trailers: string) => ({
      processingMode: {
        requestHeaderMode: 'SEND',
        responseHeaderMode: 'SEND',
        requestBodyMode: body,
        responseBodyMode: response,
        requestTrailerMode: trailers,
        responseTrailerMode: trailers,
      },
    })
    envoy = await startEnvoy({
      binary: envoyBinary.path,
      bootstrap: gatewayBootstrap({
        peers: { plain: { address: signalbox.extProcAddress } },
        listeners: [
          { name: 'picker', peer: 'plain', filter: modes('FULL_DUPLEX_STREAMED', 'FULL_DUPLEX_STREAMED', 'SEND') },
          {
            name: 'plug',
            peer: 'plain',
            filter: { ...modes('STREAMED', 'NONE', 'SKIP'), sendBodyWithoutWaitingForHeaderResponse: true },
          },
        ],
        pool: simulators.map(addressOf),
        special: addressOf(simulators[0]!),
        accessLog: join(folder.path, 'access.log'),
      }),
      concurrency: 1,
    })
    await envoy.ready()
  })
  afterEach(async () => {
    await envoy?.stop()
    await signalbox?.stop()
    await Promise.all(simulators.map(simulator => simulator.close()))
  })
  afterAll(() => folder.remove())

  describe.each([
    ['an endpoint picker', 'picker', false],
    ['an endpoint picker', 'picker', true],
    ['the plug', 'plug', false],
  ])('%s', (_, listener, stream) => {
    it(`follows them (streamed: ${stream})`, async () => {
      const port = await envoy.admin.listenerPort(listener)
      const known = async () => {
        const pools = await (await fetch(`http://${signalbox.adminAddress}/pools`)).json()
        return (pools as Record<string, EndpointView[]>)['default/pool']!
      }
      await followsReports({ port, stream, known }, simulators)
    })
  })
})
