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

const ROOT = join(import.meta.dirname, '..', '..')

/**
 * `bin/signalbox serve` as a process of its own, so that it can crash. The admin port is any free one. Should the tests die, a
 * watchdog ends it.
 */
export class ServeProcess {
  readonly pid: number
  /** Resolves with the exit status, or the signal's name, when the process is gone. */
  readonly exited: Promise<number | NodeJS.Signals>
  readonly #child: ChildProcess
  readonly #log: string[]
  #adminUrl = ''

  private constructor(child: ChildProcess, log: string[], exited: Promise<number | NodeJS.Signals>) {
    this.#child = child
    this.pid = child.pid!
    this.#log = log
    this.exited = exited
  }

  /** @throws {Error} it ended before it served; the message carries its log */
  static async start(args: readonly string[], temporaryFolder: string): Promise<ServeProcess> {
    const child = spawn(join(ROOT, 'bin', 'signalbox'), ['serve', '--admin', '127.0.0.1:0', ...args], {
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
    const started = waitFor('signalbox serve', () => serve.log().find(line => line.msg === 'Signalbox serves'), {
      timeoutMs: 20_000,
    })
    const early = exited.then(how => {
      throw new Error(`signalbox serve ended (${how}):\n${log.join('\n')}`)
    })
    serve.#adminUrl = `http://${String((await Promise.race([started, early]))['admin'])}`
    early.catch(() => {})
    return serve
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
