import { type ChildProcess, spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { startWatchdog } from '../../src/cli/envoy/envoy-watchdog.ts'
import { readMetrics } from './read-metrics.ts'
import { waitFor } from './wait-for.ts'

/** A line of the log of `signalbox serve`. */
export interface LogLine {
  readonly level: number
  readonly msg: string
  readonly [field: string]: unknown
}

/** Commands that serve, with their admin port on any free one. */
const COMMANDS = {
  serve: ['serve', '--admin', '127.0.0.1:0'],
  epp: ['epp', '--metrics-port=0', '--grpc-port=0', '--grpc-health-port=0'],
} as const
const ROOT = join(import.meta.dirname, '..', '..')

/**
 * `bin/signalbox serve`, or `epp`, as a process of its own, so that it can crash. The admin port is any free one. Should the tests die, a
 * watchdog ends it.
 */
export class ServeProcess {
  readonly pid: number
  /** Resolves with the exit status, or the signal's name, when the process is gone. */
  readonly exited: Promise<number | NodeJS.Signals>
  readonly #child: ChildProcess
  readonly #log: string[]
  #adminUrl = ''
  #extProcAddress = ''

  private constructor(child: ChildProcess, log: string[], exited: Promise<number | NodeJS.Signals>) {
    this.#child = child
    this.pid = child.pid!
    this.#log = log
    this.exited = exited
  }

  /** @throws {Error} it ended before it served; the message carries its log */
  static async start(
    args: readonly string[],
    temporaryFolder: string,
    command: keyof typeof COMMANDS = 'serve',
  ): Promise<ServeProcess> {
    const child = spawn(join(ROOT, 'bin', 'signalbox'), [...COMMANDS[command], ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const log: string[] = ['']
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      const lines = text.split('\n')
      lines[0] = `${log.pop()}${lines[0]}`
      log.push(...lines)
    })
    const exited = new Promise<number | NodeJS.Signals>((resolve, reject) => {
      child.once('error', reject)
      child.once('exit', (code, signal) => resolve(signal ?? code ?? -1))
    })
    const serve = new ServeProcess(child, log, exited)
    const watchdog = startWatchdog(serve.pid, join(temporaryFolder, 'nothing'))
    void exited.finally(() => watchdog.dismiss())
    const started = waitFor(`signalbox ${command}`, () => serve.log().find(line => line.msg === 'Signalbox serves'), {
      timeoutMs: 20_000,
    })
    const early = exited.then(how => {
      throw new Error(`signalbox ${command} ended (${how}):\n${log.join('\n')}`)
    })
    const { admin, extProc } = await Promise.race([started, early])
    serve.#adminUrl = `http://${String(admin)}`
    serve.#extProcAddress = String(extProc)
    early.catch(() => {})
    return serve
  }

  /** Where the ext_proc service, and its gRPC health, are reached. */
  get extProcAddress(): string {
    return this.#extProcAddress
  }

  /** The log so far; lines that are no JSON (a crash's stack) are left out. */
  log(): LogLine[] {
    return this.#log.filter(line => line.startsWith('{') && line.endsWith('}')).map(line => JSON.parse(line) as LogLine)
  }

  /** A JSON document of the admin port. */
  async admin<T>(path: string): Promise<T> {
    return (await (await fetch(`${this.#adminUrl}${path}`)).json()) as T
  }

  /** The metrics page: sample (with its labels) → value. */
  async metrics(): Promise<ReadonlyMap<string, number>> {
    return readMetrics(await (await fetch(`${this.#adminUrl}/metrics`)).text())
  }

  /** Resident memory, bytes. */
  async residentBytes(): Promise<number> {
    const status = await readFile(`/proc/${this.pid}/status`, 'utf8')
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) * 1024
  }

  /** A signal, and the end that it brings. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | NodeJS.Signals> {
    this.#child.kill(signal)
    return await this.exited
  }
}
