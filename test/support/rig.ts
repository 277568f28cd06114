import { appendFile, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import type { JsonObject } from '@bufbuild/protobuf'
import { bootstrapCommand } from '../../src/cli/bootstrap.ts'
import type { EnvoyBinary } from '../../src/cli/envoy/resolve-envoy.ts'
import { type EnvoyProcess, startEnvoy } from '../../src/cli/envoy/envoy-process.ts'
import { parseServeOptions } from '../../src/cli/serve/options.ts'
import { Signalbox } from '../../src/cli/serve/signalbox.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { freePort, freePorts } from './free-ports.ts'
import { readMetrics } from './read-metrics.ts'
import { makeTempFolder, type TempFolder } from './temp-folder.ts'
import { waitFor } from './wait-for.ts'

/** Threads of the data path: the suites are run with one and with two. */
export const TEST_THREADS = Number(process.env['SIGNALBOX_TEST_THREADS'] ?? 1)

/** What carries the traffic: a real Envoy, or the embedded data plane. */
type Plane = EnvoyBinary | 'embedded'

export interface RigOptions {
  readonly plane: Plane
  /** The configuration as YAML; `@PORT@` stands for the gateway's port, `@FOLDER@` for a temporary folder. */
  readonly config: string
  /** Further options of `signalbox serve`. */
  readonly args?: readonly string[]
  /** False: `start` does not wait for the data plane to be configured, which it never may be. */
  readonly waits?: boolean
  /** Further options of `signalbox bootstrap`. */
  readonly bootstrapArgs?: readonly string[]
  /** Envoy's worker threads. Default 1. */
  readonly concurrency?: number
}

/**
 * A whole Signalbox with a data plane in front, as `signalbox serve` runs it, in this process: configuration files in a temporary
 * folder, free ports. Stop it in `afterAll`.
 */
export class Rig {
  readonly options: RigOptions
  readonly port: number
  readonly #folder: TempFolder
  readonly #extProcPort: number
  readonly #xdsPort: number
  signalbox: Signalbox | undefined
  envoy: EnvoyProcess | undefined

  private constructor(options: RigOptions, ports: readonly [number, number, number], folder: TempFolder) {
    this.options = options
    this.port = ports[0]
    this.#extProcPort = ports[1]
    this.#xdsPort = ports[2]
    this.#folder = folder
  }

  static async start(options: RigOptions): Promise<Rig> {
    // Each thread has a port of its own above the first.
    const ports = [await freePort(), await freePorts(Math.max(TEST_THREADS, 2) + 1), await freePort()] as const
    const rig = new Rig(options, ports, await makeTempFolder())
    await rig.configure(options.config)
    await rig.startSignalbox()
    if (options.plane !== 'embedded') await rig.startEnvoy()
    if (options.waits !== false) await rig.listens()
    return rig
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  get adminUrl(): string {
    return `http://${this.signalbox!.adminAddress}`
  }

  readonly #warnings: string[] = []

  get #configFile(): string {
    return join(this.#folder.path, 'config.yaml')
  }

  /** Replaces the configuration as an editor would, by renaming. Takes force some 100 ms later. */
  async configure(yaml: string): Promise<void> {
    const text = yaml.replaceAll('@PORT@', String(this.port)).replaceAll('@FOLDER@', this.#folder.path)
    await writeFile(`${this.#configFile}.new`, text)
    await rename(`${this.#configFile}.new`, this.#configFile)
  }

  /** What Signalbox's main thread logged as a warning or worse since the start, and what its data path had to report: lines of JSON. */
  get warnings(): readonly string[] {
    return this.#warnings
  }

  /** Starts Signalbox on the ports that it had, so that an Envoy finds it again. */
  async startSignalbox(): Promise<void> {
    const embedded = this.options.plane === 'embedded'
    const signalbox = new Signalbox(
      parseServeOptions([
        `--config=${this.#configFile}`,
        `--ext-proc=127.0.0.1:${this.#extProcPort}`,
        `--xds=127.0.0.1:${this.#xdsPort}`,
        '--admin=127.0.0.1:0',
        '--drain=1',
        '--log-level=silent',
        `--threads=${TEST_THREADS}`,
        ...(embedded ? ['--embedded'] : []),
        ...(this.options.args ?? []),
      ]),
      createLog('warn', { write: line => this.#warnings.push(line) }),
    )
    await signalbox.start()
    this.signalbox = signalbox
  }

  async stopSignalbox(): Promise<void> {
    await this.signalbox?.stop()
    this.signalbox = undefined
  }

  async startEnvoy(): Promise<void> {
    const { plane, concurrency = 1 } = this.options
    if (plane === 'embedded') return
    const bootstrap = await this.#bootstrap()
    this.envoy = await startEnvoy({
      binary: plane.path,
      bootstrap,
      concurrency,
      logPath: join(this.#folder.path, 'envoy.log'),
      // The default is 10 s.
      extraArgs: ['--file-flush-interval-msec', '50'],
    })
    if (this.options.waits !== false) await this.envoy.ready()
  }

  async #bootstrap(): Promise<JsonObject> {
    let text = ''
    const stdout = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        text += chunk.toString()
        done()
      },
    })
    const xds = `127.0.0.1:${this.#xdsPort}`
    const args = ['--node', 'rig', '--cluster', 'rig', '--xds', xds, ...(this.options.bootstrapArgs ?? [])]
    await bootstrapCommand.run(args, { stdout, stderr: process.stderr, signal: AbortSignal.abort() })
    const { admin: _fixedPort, ...bootstrap } = JSON.parse(text) as JsonObject
    return bootstrap
  }

  /** Resolves when the gateway's port answers. */
  async listens(): Promise<void> {
    const probe = async () => {
      const response = await fetch(`${this.url}/rig-is-up`)
      await response.arrayBuffer()
      return true
    }
    await waitFor('the gateway', probe, { timeoutMs: 15_000 })
  }

  /**
   * Resolves when the data plane gets decisions: on a starved machine Envoy's health checks of us may fail for a moment.
   * @param path of a route that reads JSON
   */
  async decides(path: string): Promise<void> {
    await waitFor('decisions', async () => {
      const response = await fetch(this.url + path, { method: 'POST', body: '{]' })
      await response.arrayBuffer()
      return response.status === 400
    })
  }

  /** Entries of the access log so far; the configuration must have `accessLog: {type: file, path: @FOLDER@/access.log}`. */
  async accessLog(): Promise<Record<string, unknown>[]> {
    const path = join(this.#folder.path, 'access.log')
    await appendFile(path, '')
    const lines = (await readFile(path, 'utf8')).split('\n').filter(line => line !== '')
    return lines.map(line => JSON.parse(line) as Record<string, unknown>)
  }

  /** A JSON document of the admin port. */
  async admin<T>(path: string): Promise<T> {
    const response = await fetch(`${this.adminUrl}${path}`)
    return (await response.json()) as T
  }

  /** The metrics page: sample (with its labels) → value. */
  async metrics(): Promise<ReadonlyMap<string, number>> {
    return readMetrics(await (await fetch(`${this.adminUrl}/metrics`)).text())
  }

  async stop(): Promise<void> {
    await this.envoy?.stop()
    await this.stopSignalbox()
    await this.#folder.remove()
  }
}
