import { appendFile, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type EnvoyProcess, startEnvoy } from '../../src/cli/envoy/envoy-process.ts'
import type { EnvoyBinary } from '../../src/cli/envoy/resolve-envoy.ts'
import { compileBootstrap } from '../../src/compile/bootstrap.ts'
import { freePort, freePorts } from './free-ports.ts'
import { TEST_THREADS } from './rig.ts'
import { ServeProcess } from './serve-process.ts'
import { makeTempFolder, type TempFolder } from './temp-folder.ts'
import { waitFor } from './wait-for.ts'

export interface ProcessRigOptions {
  readonly envoy: EnvoyBinary
  /** As YAML; `@PORT@` stands for the gateway's port, `@FOLDER@` for a temporary folder. */
  readonly config: string
  /** Further options of `signalbox serve`. */
  readonly args?: readonly string[]
}

/**
 * A Signalbox in a process of its own and an Envoy that it configures, both of which can be ended and started again on the same
 * ports. (`Rig` has Signalbox in the tests' own process: quicker, but it can't crash.)
 */
export class ProcessRig {
  readonly port: number
  readonly folder: TempFolder
  readonly #options: ProcessRigOptions
  readonly #extProcPort: number
  readonly #xdsPort: number
  serve!: ServeProcess
  envoy!: EnvoyProcess

  private constructor(options: ProcessRigOptions, ports: readonly [number, number, number], folder: TempFolder) {
    this.#options = options
    ;[this.port, this.#extProcPort, this.#xdsPort] = ports
    this.folder = folder
  }

  static async start(options: ProcessRigOptions): Promise<ProcessRig> {
    const ports = [await freePort(), await freePorts(TEST_THREADS + 1), await freePort()] as const
    const rig = new ProcessRig(options, ports, await makeTempFolder())
    try {
      await rig.configure(options.config)
      await rig.startSignalbox()
      await rig.startEnvoy()
    } catch (error) {
      await rig.stop()
      throw error
    }
    return rig
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  /** Replaces the configuration as an editor would, by renaming. Takes force some 100 ms later. */
  async configure(yaml: string): Promise<void> {
    const file = join(this.folder.path, 'config.yaml')
    const text = yaml.replaceAll('@PORT@', String(this.port)).replaceAll('@FOLDER@', this.folder.path)
    await writeFile(`${file}.new`, text)
    await rename(`${file}.new`, file)
  }

  /** On the ports that it had, so that Envoy finds it again. */
  async startSignalbox(): Promise<void> {
    this.serve = await ServeProcess.start(
      [
        `--config=${join(this.folder.path, 'config.yaml')}`,
        '--drain=1',
        `--threads=${TEST_THREADS}`,
        `--ext-proc=127.0.0.1:${this.#extProcPort}`,
        `--xds=127.0.0.1:${this.#xdsPort}`,
        ...(this.#options.args ?? []),
      ],
      this.folder.path,
    )
  }

  async startEnvoy(): Promise<void> {
    const bootstrap = compileBootstrap({
      nodeId: 'rig',
      cluster: 'rig',
      xds: { addresses: [`127.0.0.1:${this.#xdsPort}`] },
    })
    this.envoy = await startEnvoy({
      binary: this.#options.envoy.path,
      bootstrap: JSON.parse(JSON.stringify(bootstrap)),
      concurrency: 1,
      logPath: join(this.folder.path, 'envoy.log'),
    })
    await this.envoy.ready()
    await this.listens()
  }

  /** Resolves when the gateway's port answers. */
  async listens(): Promise<void> {
    await waitFor(
      'the gateway',
      async () => {
        await (await fetch(`${this.url}/rig-is-up`)).arrayBuffer()
        return true
      },
      { timeoutMs: 15_000 },
    )
  }

  /** Entries of the access log so far; see `parametersYaml`. */
  async accessLog(): Promise<Record<string, unknown>[]> {
    const path = join(this.folder.path, 'access.log')
    await appendFile(path, '')
    const lines = (await readFile(path, 'utf8')).split('\n').filter(line => line !== '')
    return lines.map(line => JSON.parse(line) as Record<string, unknown>)
  }

  async stop(): Promise<void> {
    await this.envoy?.stop()
    await this.serve?.end('SIGTERM')
    await this.folder.remove()
  }
}
