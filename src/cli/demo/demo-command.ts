import { rmSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { OpenAI } from 'openai'
import { compileBootstrap } from '../../compile/bootstrap.ts'
import type { Command, CommandIo } from '../command.ts'
import { type EnvoyProcess, startEnvoy } from '../envoy/envoy-process.ts'
import { type EnvoyBinary, EnvoyNotFoundError, resolveEnvoy } from '../envoy/resolve-envoy.ts'
import { parseCount, parseOptions } from '../options.ts'
import { findFaults, type LogLine } from './check.ts'
import { Child } from './child.ts'
import { LLAMA, LORA, playScenes, QWEN, type Take } from './scenes.ts'
import { anyRow, isFreeRow } from './ports.ts'
import { formatTable } from './table.ts'

const EXAMPLES = fileURLToPath(new URL('../../../examples/demo', import.meta.url))
const START_TIMEOUT_MS = 30_000

export const demoCommand: Command = {
  summary: 'three simulated vLLM servers, Signalbox and an Envoy: real requests, and who served them and why',
  help: `Usage: signalbox demo [--once] [--port N | --any-ports] [--embedded]

Gets an Envoy, starts three simulated vLLM servers with two models and a LoRA adapter, Signalbox, and the Envoy, which knows nothing
but where Signalbox is. Sends OpenAI requests with the official client, prints a table of who served them and why, and leaves everything
running until Ctrl-C.

  --once       end after the table; exit status 1 when anything was not as it should be
  --port N     the gateway's port; another free one when it is taken [8080]
  --any-ports  free ports for everything, the gateway too
  --embedded   use the embedded data plane even where there is an Envoy
`,
  async run(argv, io) {
    const { values } = parseOptions(argv, {
      once: { type: 'boolean', default: false },
      port: { type: 'string', default: '8080' },
      'any-ports': { type: 'boolean', default: false },
      embedded: { type: 'boolean', default: false },
    })
    // A terminal that is closed ends us and, as any exit, what we started.
    const hangUp = () => process.exit(129)
    process.once('SIGHUP', hangUp)
    const demo = new Demo(io, values['any-ports'] ? undefined : parseCount(values.port, '--port', 1))
    try {
      const faults = await demo.run(values.embedded)
      if (values.once || io.signal.aborted) return faults === 0 ? 0 : 1
      demo.explain()
      await demo.untilStopped()
      return 0
    } catch (error) {
      if (io.signal.aborted) return 130
      throw error
    } finally {
      await demo.stop()
      process.off('SIGHUP', hangUp)
    }
  },
}

class Demo {
  readonly #io: CommandIo
  /** Undefined: any free ports, also for everything else. */
  readonly #wantedPort: number | undefined
  readonly #children: Child[] = []
  #envoy: EnvoyProcess | undefined
  #folder = ''
  #ports = { gateway: 0, extProc: 0, xds: 0, admin: 0, replicas: [0, 0, 0] }

  constructor(io: CommandIo, port: number | undefined) {
    this.#io = io
    this.#wantedPort = port
  }

  get #url(): string {
    return `http://127.0.0.1:${this.#ports.gateway}`
  }

  get #accessLog(): string {
    return join(this.#folder, 'access.log')
  }

  /** Starts everything, plays the scenes, prints the table; returns the number of faults. */
  async run(embedded: boolean): Promise<number> {
    const envoy = embedded ? undefined : await this.#findEnvoy()
    this.#folder = await mkdtemp(join(tmpdir(), 'signalbox-demo-'))
    process.once('exit', this.#removeFolder)
    await this.#choosePorts()
    await this.#writeConfig()
    this.#startSimulators()
    this.#startSignalbox(envoy === undefined)
    await this.#answers('Signalbox', `http://127.0.0.1:${this.#ports.admin}/readyz`)
    if (envoy !== undefined) await this.#startEnvoy(envoy)
    const client = new OpenAI({ baseURL: `${this.#url}/v1`, apiKey: 'none', maxRetries: 0, timeout: 30_000 })
    const models = await this.#listModels(client)
    this.#say(`\nGET /v1/models: ${models.join(', ')}\n`)
    const takes = await playScenes(client)
    const log = await this.#readLog(takes)
    this.#printTable(takes, log)
    const faults = findFaults(takes, log, models)
    this.#say(
      faults.length === 0
        ? '\nAll as it should be.'
        : `\nNot as it should be:\n${faults.map(fault => `  - ${fault}`).join('\n')}`,
    )
    return faults.length
  }

  /** What to play with. */
  explain(): void {
    const chat = `curl ${this.#url}/v1/chat/completions -H 'content-type: application/json' \\\n    -d '{"model": "${LLAMA}", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}'`
    const lines = [
      '',
      'Everything runs on. Try:',
      `  ${chat}`,
      `  ${this.#url}/v1/models`.padEnd(48) + 'the models of all pools',
      `  http://127.0.0.1:${this.#ports.admin}/pools`.padEnd(48) +
        "Signalbox' view of the replicas; also /metrics, /clients, /configuration",
      ...(this.#envoy === undefined
        ? []
        : [
            `  ${this.#envoy.adminUrl}`.padEnd(48) +
              "Envoy's admin page: its whole configuration came from Signalbox (/config_dump)",
          ]),
      `  ${this.#accessLog}`.padEnd(48) + 'the access log, with each decision',
      `  ${this.#folder}`.padEnd(48) + 'the configuration: edit a file and save it',
      ...this.#ports.replicas.map(
        (port, i) =>
          `  http://127.0.0.1:${port}`.padEnd(48) +
          `replica ${i + 1} (${i < 2 ? `${LLAMA}, ${LORA}` : QWEN}); kill ${this.#children[i]!.pid} to see it replaced`,
      ),
      '',
      'Ctrl-C stops all of it.',
    ]
    this.#say(lines.join('\n'))
  }

  async untilStopped(): Promise<void> {
    const { signal } = this.#io
    if (!signal.aborted) await new Promise(resolve => signal.addEventListener('abort', resolve, { once: true }))
    this.#say('\nstopping ...')
  }

  async stop(): Promise<void> {
    await this.#envoy?.stop(2000)
    await Promise.all(this.#children.map(child => child.stop()))
    if (this.#folder !== '') await rm(this.#folder, { recursive: true, force: true })
    process.off('exit', this.#removeFolder)
  }

  readonly #removeFolder = (): void => rmSync(this.#folder, { recursive: true, force: true })

  #say(text: string): void {
    this.#io.stdout.write(`${text}\n`)
  }

  async #findEnvoy(): Promise<EnvoyBinary | undefined> {
    try {
      const envoy = await resolveEnvoy({ onProgress: line => this.#say(line) })
      this.#say(`Envoy ${envoy.version}: ${envoy.path}`)
      return envoy
    } catch (error) {
      if (!(error instanceof EnvoyNotFoundError)) throw error
      this.#say(`${error.message}\n\nGoing on WITHOUT ENVOY: the embedded data plane carries the traffic.`)
      return undefined
    }
  }

  async #choosePorts(): Promise<void> {
    const wanted = this.#wantedPort
    const free = async (port: number, count = 1) =>
      wanted !== undefined && (await isFreeRow(port, count)) ? port : await anyRow(count)
    this.#ports = {
      gateway: await free(wanted ?? 0),
      // Each thread has a port of its own behind the first one.
      extProc: await free(9002, 1 + availableParallelism()),
      xds: await free(18_000),
      admin: await free(9090),
      replicas: [await free(8101), await free(8102), await free(8103)],
    }
  }

  /** The files of examples/demo with the ports of now, and an access log in a file. */
  async #writeConfig(): Promise<void> {
    const { gateway, replicas } = this.#ports
    for (const name of await readdir(EXAMPLES)) {
      let text = await readFile(join(EXAMPLES, name), 'utf8')
      replicas.forEach((port, i) => (text = text.replaceAll(`port: ${8101 + i}`, `port: ${port}`)))
      await writeFile(join(this.#folder, name), text.replaceAll('port: 8080', `port: ${gateway}`))
    }
    const parameters = `# Settings of the demo.
apiVersion: signalbox.dev/v1alpha1
kind: SignalboxParameters
metadata: { name: demo }
spec:
  accessLog: { type: file, path: ${JSON.stringify(this.#accessLog)} }
`
    await writeFile(join(this.#folder, 'parameters.yaml'), parameters)
  }

  #startSimulators(): void {
    this.#ports.replicas.forEach((port, i) => {
      const models = i < 2 ? ['--model', LLAMA, '--lora', LORA] : ['--model', QWEN]
      this.#children.push(
        new Child(`simulator ${i + 1}`, ['sim', '--port', String(port), '--name', `replica-${i + 1}`, ...models]),
      )
    })
    this.#say(
      `simulators: ${this.#ports.replicas.map((port, i) => `127.0.0.1:${port} (${i < 2 ? LLAMA : QWEN})`).join(', ')}`,
    )
  }

  #startSignalbox(embedded: boolean): void {
    const { extProc, xds, admin } = this.#ports
    const argv = [
      'serve',
      '--config',
      this.#folder,
      '--ext-proc',
      `127.0.0.1:${extProc}`,
      '--admin',
      `127.0.0.1:${admin}`,
      '--drain',
      '1',
      '--log-level',
      'warn',
    ]
    this.#children.push(
      new Child('Signalbox', [...argv, '--xds', `127.0.0.1:${xds}`, ...(embedded ? ['--embedded'] : [])]),
    )
    this.#say(`Signalbox: ext_proc 127.0.0.1:${extProc}, xDS 127.0.0.1:${xds}, admin http://127.0.0.1:${admin}`)
  }

  async #startEnvoy(binary: EnvoyBinary): Promise<void> {
    const bootstrap = compileBootstrap({
      nodeId: 'demo',
      cluster: 'demo',
      xds: { addresses: [`127.0.0.1:${this.#ports.xds}`] },
    })
    // Flushed often, because the table is made from the access log.
    this.#envoy = await startEnvoy({
      binary: binary.path,
      bootstrap: { ...bootstrap },
      extraArgs: ['--file-flush-interval-msec', '100'],
    })
    await this.#envoy.ready(START_TIMEOUT_MS)
    this.#say(`Envoy: ${this.#url}, configured by Signalbox; admin ${this.#envoy.adminUrl}`)
  }

  /** Waits until the gateway lists the models of all replicas: then every part has found the others. */
  async #listModels(client: OpenAI): Promise<string[]> {
    let models: string[] = []
    await this.#eventually('the gateway lists all models', async () => {
      models = (await client.models.list()).data.map(model => model.id)
      return models.length >= 3
    })
    return models
  }

  async #answers(what: string, url: string): Promise<void> {
    await this.#eventually(what, async () => (await fetch(url)).ok)
  }

  async #eventually(what: string, probe: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + START_TIMEOUT_MS
    let last: unknown
    for (;;) {
      this.#io.signal.throwIfAborted()
      try {
        if (await probe()) return
      } catch (error) {
        last = error
      }
      const ended = await Promise.race([
        sleep(100, undefined),
        ...this.#children.map(child => child.exited.then(code => `${child.name} ended (${code}):\n${child.output}`)),
      ])
      if (ended !== undefined) throw new Error(ended)
      if (performance.now() > deadline) throw new Error(`waited ${START_TIMEOUT_MS / 1000} s: ${what}`, { cause: last })
    }
  }

  /** The lines of the access log by request id, as soon as there is one for each take. */
  async #readLog(takes: readonly Take[]): Promise<Map<string, LogLine>> {
    const lines = new Map<string, LogLine>()
    for (let tries = 0; tries < 100; tries++) {
      const text = await readFile(this.#accessLog, 'utf8').catch(() => '')
      for (const row of text.split('\n')) {
        if (!row.endsWith('}')) continue
        // Before 1.40 Envoy writes null for what it has been told to omit.
        const line = JSON.parse(row, (_, value: unknown) => value ?? undefined) as LogLine
        if (line.request_id !== undefined) lines.set(line.request_id, line)
      }
      if (takes.every(take => lines.has(take.requestId))) break
      await sleep(100)
    }
    return lines
  }

  #printTable(takes: readonly Take[], log: ReadonlyMap<string, LogLine>): void {
    const rows = takes.map(take => {
      const line = log.get(take.requestId)
      const replica = this.#ports.replicas.findIndex(port => line?.upstream === `127.0.0.1:${port}`)
      const served = replica < 0 ? '(Signalbox)' : `replica ${replica + 1} (:${this.#ports.replicas[replica]})`
      return [
        take.title,
        take.model,
        String(take.status),
        served,
        line?.reason ?? '?',
        take.result,
        String(take.milliseconds),
      ]
    })
    this.#say(formatTable([['request', 'model', 'status', 'served by', 'why', 'result', 'ms'], ...rows]))
  }
}
