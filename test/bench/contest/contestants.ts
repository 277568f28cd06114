/** Who places requests in a contest: each is an Envoy of its own with what decides beside it. */
import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { JsonObject } from '@bufbuild/protobuf'
import { startEnvoy } from '../../../src/cli/envoy/envoy-process.ts'
import { compileBootstrap } from '../../../src/compile/bootstrap.ts'
import { parseHostPort } from '../../../src/compile/envoy/clusters.ts'
import { freePort } from '../../support/free-ports.ts'
import { documents, GATEWAY, poolYaml, routeYaml } from '../../support/pool-config.ts'
import { ServeProcess } from '../../support/serve-process.ts'
import { makeTempFolder } from '../../support/temp-folder.ts'
import { start } from '../child-programs.ts'
import { type LbPolicy, pickedBootstrap, plainBootstrap, writeEndpoints } from './envoy-config.ts'

export interface Binaries {
  readonly envoy: string
  /** Undefined: llm-d's endpoint picker is not there. */
  readonly epp: string | undefined
}

/** A gateway that is ready for requests. */
interface Gateway {
  readonly port: number
  /** These are the endpoints from now on. */
  update(addresses: readonly string[]): Promise<void>
  stop(): Promise<void>
}

export interface Contestant {
  readonly name: string
  readonly title: string
  /** Undefined where a program that it needs is missing. */
  start(addresses: readonly string[], binaries: Binaries): Promise<Gateway>
}

/** llm-d's default profile, written out: a configuration that names a discovery has no scorers of its own accord. */
const LLM_D_PLUGINS = `
- { type: queue-scorer }
- { type: kv-cache-utilization-scorer }
- { type: prefix-cache-scorer }`
const LLM_D_PROFILE = `schedulingProfiles:
- name: default
  plugins:
  - { pluginRef: queue-scorer, weight: 2 }
  - { pluginRef: kv-cache-utilization-scorer, weight: 2 }
  - { pluginRef: prefix-cache-scorer, weight: 3 }`
const PICKER_HEAD = 'apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig'

export const CONTESTANTS: readonly Contestant[] = [
  plain('random', 'random', 'RANDOM'),
  plain('round-robin', 'round robin', 'ROUND_ROBIN'),
  plain('least-request', 'least request', 'LEAST_REQUEST'),
  { name: 'llm-d', title: 'llm-d EPP', start: startEpp },
  signalbox(
    'signalbox-llm-d',
    "Signalbox, llm-d's profile",
    `${PICKER_HEAD}\nplugins:${LLM_D_PLUGINS}\n${LLM_D_PROFILE}\n`,
  ),
  signalbox('signalbox', 'Signalbox'),
]

function plain(name: string, title: string, policy: LbPolicy): Contestant {
  return {
    name,
    title,
    start: (addresses, { envoy: binary }) =>
      startAll(async (folder, onStop) => {
        const port = await freePort()
        const update = (all: readonly string[]) => writeEndpoints(folder, all)
        await update(addresses)
        onStop(await startGateway(binary, plainBootstrap(port, policy, folder)))
        return { port, update }
      }),
  }
}

/** `signalbox serve` with its own fleet of one Envoy. */
function signalbox(name: string, title: string, picker?: string): Contestant {
  return {
    name,
    title,
    start: (addresses, { envoy: binary }) =>
      startAll(async (folder, onStop) => {
        const port = await freePort()
        const file = join(folder, 'config.yaml')
        const update = async (all: readonly string[]) => {
          const config = documents(
            GATEWAY.replace('@PORT@', String(port)),
            poolYaml({ addresses: all }),
            routeYaml({ models: { '': 'pool' } }),
            ...(picker === undefined ? [] : [picker]),
          )
          await replace(file, config)
        }
        await update(addresses)
        const args = ['--config', file, '--drain', '1', '--log-level', 'info']
        const serve = await ServeProcess.start([...args, '--ext-proc', '127.0.0.1:0', '--xds', '127.0.0.1:0'], folder)
        onStop(() => serve.end('SIGKILL'))
        const xds = String(serve.log().find(({ msg }) => msg === 'Signalbox serves')!['xds'])
        const bootstrap = compileBootstrap({ nodeId: name, cluster: name, xds: { addresses: [xds] } })
        onStop(await startGateway(binary, JSON.parse(JSON.stringify(bootstrap)) as JsonObject))
        return { port, update }
      }),
  }
}

/** llm-d's endpoint picker without Kubernetes: the plug-in `file-discovery` reads its endpoints from a file. */
function startEpp(addresses: readonly string[], { envoy: binary, epp }: Binaries): Promise<Gateway> {
  if (epp === undefined) throw new Error("llm-d's endpoint picker is not there")
  return startAll(async (folder, onStop) => {
    const port = await freePort()
    const [grpc, health, metrics] = [await freePort(), await freePort(), await freePort()]
    const file = join(folder, 'endpoints.yaml')
    const update = async (all: readonly string[]) => {
      const lines = all.map((each, i) => {
        const { host, port: number } = parseHostPort(each)
        return `  - { name: "replica-${i}", address: "${host}", port: "${number}" }`
      })
      await replace(file, `endpoints:\n${lines.join('\n')}\n`)
    }
    await update(addresses)
    const config = join(folder, 'picker.yaml')
    const discovery = `- { type: file-discovery, parameters: { path: "${file}", watchFile: true } }`
    await writeFile(
      config,
      `${PICKER_HEAD}\nplugins:\n${discovery}${LLM_D_PLUGINS}\ndataLayer: { discovery: { pluginRef: file-discovery } }\n${LLM_D_PROFILE}\n`,
    )
    const ports = [`--grpc-port=${grpc}`, `--grpc-health-port=${health}`, `--metrics-port=${metrics}`]
    const off = ['--secure-serving=false', '--metrics-endpoint-auth=false', '--tracing=false', '--enable-pprof=false']
    const named = ['--pool-name=contest', '--pool-namespace=default']
    const picker = start(epp, [`--config-file=${config}`, ...named, ...ports, ...off])
    picker.child.stdout?.resume()
    onStop(() => picker.stop('SIGKILL'))
    onStop(await startGateway(binary, pickedBootstrap(port, `127.0.0.1:${grpc}`)))
    return { port, update }
  })
}

/** Everything that was started and a folder, ended together, the last first. */
async function startAll(
  begin: (folder: string, onStop: (stop: () => Promise<unknown>) => void) => Promise<Omit<Gateway, 'stop'>>,
): Promise<Gateway> {
  const folder = await makeTempFolder()
  const stops: (() => Promise<unknown>)[] = [() => folder.remove()]
  const stop = async () => {
    for (const each of stops.toReversed()) await each()
  }
  try {
    return { ...(await begin(folder.path, each => stops.push(each))), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** One worker thread: an Envoy balances per thread, so that more would only blur what its policies do. */
async function startGateway(binary: string, bootstrap: JsonObject): Promise<() => Promise<unknown>> {
  const envoy = await startEnvoy({ binary, bootstrap, concurrency: 1 })
  try {
    await envoy.ready()
  } catch (error) {
    await envoy.kill()
    throw error
  }
  return () => envoy.kill()
}

async function replace(file: string, text: string): Promise<void> {
  await writeFile(`${file}.new`, text)
  await rename(`${file}.new`, file)
}
