import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('../main.ts', import.meta.url))

/** A command of this CLI as a process of its own. */
export class Child {
  readonly name: string
  readonly #process: ChildProcess
  readonly exited: Promise<number | null>
  /** What it printed last, for a message when it ends too soon. */
  #tail = ''

  constructor(name: string, argv: readonly string[]) {
    this.name = name
    // With the same options of V8: code that was compiled with others is of no use to them.
    this.#process = spawn(process.execPath, [...process.execArgv, MAIN, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream?.on('data', (data: Buffer) => {
        this.#tail = (this.#tail + data.toString()).slice(-4000)
      })
    }
    // Whatever ends this process, as when nobody reads its output any more: nobody else would end that one.
    const end = () => this.#process.kill('SIGTERM')
    process.once('exit', end)
    this.exited = new Promise<number | null>(resolve => {
      this.#process.on('exit', code => resolve(code))
      this.#process.on('error', () => resolve(null))
    }).finally(() => process.off('exit', end))
  }

  get pid(): number {
    return this.#process.pid ?? 0
  }

  get output(): string {
    return this.#tail
  }

  /** SIGTERM, then SIGKILL after `graceMs`. */
  async stop(graceMs = 5000): Promise<void> {
    this.#process.kill('SIGTERM')
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), graceMs)
    await this.exited
    clearTimeout(timer)
  }
}
