import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import type { FromWorker, ListenAddress, Listening, ToWorker, WorkerStart } from './messages.ts'
import { PlanSender } from './plan-wire.ts'
import type { ToWorkerWire, WireStart } from './worker-wire.ts'

const MODULE = fileURLToPath(new URL('./worker.ts', import.meta.url))
/** The first pause before a successor; doubled with each failure … */
const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 10_000
/** … until one has lived this long. */
const GOOD_LIFE_MS = 60_000

export type ThreadState =
  /** No worker: the next one comes after a pause. */
  | 'down'
  | 'starting'
  | 'up'
  /** Its event loop does not turn. */
  | 'hung'
  /** It was told to drain. */
  | 'draining'

export interface ThreadHost {
  /** What a worker of the thread needs now. */
  begin(thread: Thread): Omit<WorkerStart, 'thread' | 'shared' | 'own'>
  /** The worker told something. What tells of the thread itself is not passed on. */
  told(thread: Thread, message: FromWorker): void
  /** It came up, hangs, turns again, or is gone. */
  changed(thread: Thread, why: 'up' | 'hung' | 'back'): void
  /** The worker has ended without being asked to; a successor comes in `pauseMs`. */
  died(thread: Thread, error: Error, pauseMs: number): void
}

/** One place in the data path, and the worker that fills it: a dead one gets a successor on the same ports. */
export class Thread {
  /** Column in everything that is counted by thread. */
  readonly column: number
  state: ThreadState = 'down'
  /** The version of the plan that its worker runs. */
  adopted = 0
  restarts = 0
  listening: { readonly shared: Listening | undefined; readonly own: Listening | undefined } | undefined
  readonly #host: ThreadHost
  #listen: { readonly shared: ListenAddress | undefined; readonly own: ListenAddress | undefined }
  #worker: Worker | undefined
  #sender = new PlanSender()
  #bornAt = 0
  #failures = 0
  #timer: NodeJS.Timeout | undefined
  #stopped = false
  #gone: Promise<unknown> = Promise.resolve()

  constructor(
    column: number,
    listen: { readonly shared: ListenAddress | undefined; readonly own: ListenAddress | undefined },
    host: ThreadHost,
  ) {
    this.column = column
    this.#listen = listen
    this.#host = host
  }

  /** The first start: resolves when it listens, rejects when it can't. Later ones are tried again and again. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#stopped) throw new Error('the threads end')
      const worker = this.#spawn()
      worker.once('error', reject)
      worker.on('message', (message: FromWorker) => {
        if (message.type === 'listening') resolve()
      })
    })
  }

  /** The port that the first thread was given for all; before `start`. */
  sharePort(port: number): void {
    const { shared } = this.#listen
    if (shared !== undefined && 'host' in shared) this.#listen = { ...this.#listen, shared: { ...shared, port } }
  }

  /** Whether there is a worker that may be running some plan. */
  get alive(): boolean {
    return this.#worker !== undefined
  }

  post(message: ToWorker): void {
    if (this.#worker === undefined) return
    const wire: ToWorkerWire =
      message.type === 'run' ? { ...message, share: this.#sender.pack(message.share) } : message
    this.#worker.postMessage(wire)
  }

  /** The event loop of its worker does not turn, or turns again. */
  setHung(hung: boolean): void {
    if (this.state !== (hung ? 'up' : 'hung')) return
    this.state = hung ? 'hung' : 'up'
    this.#host.changed(this, hung ? 'hung' : 'back')
  }

  /** Ends the worker, which gets a successor. */
  kill(): void {
    void this.#worker?.terminate()
  }

  drain(graceMs: number): void {
    this.#stop()
    if (this.state === 'up') this.state = 'draining'
    // It has no streams, and would answer late.
    if (this.state === 'starting') void this.#worker?.terminate()
    else this.post({ type: 'drain', graceMs })
  }

  /** Ends the worker for good. Resolves when it is gone. */
  async stop(): Promise<void> {
    this.#stop()
    await this.#worker?.terminate()
    await this.#gone
  }

  #stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  #spawn(): Worker {
    this.state = 'starting'
    this.#sender = new PlanSender()
    this.#bornAt = performance.now()
    const begin = this.#host.begin(this)
    this.adopted = begin.version
    const plans = begin.plans.map(share => this.#sender.pack(share))
    const workerData: WireStart = { ...begin, plans, thread: this.column, ...this.#listen }
    const worker = new Worker(MODULE, { workerData, name: `signalbox-data-path-${this.column}` })
    this.#worker = worker
    let failure: Error | undefined
    worker.on('error', (error: unknown) => {
      failure = error instanceof Error ? error : new Error(String(error))
    })
    worker.on('message', (message: FromWorker) => this.#take(message))
    this.#gone = new Promise<void>(resolve => {
      worker.once('exit', code => {
        this.#exited(failure ?? new Error(`the worker ended with status ${code}`))
        resolve()
      })
    })
    return worker
  }

  #take(message: FromWorker): void {
    if (message.type === 'adopted') this.adopted = message.version
    if (message.type === 'listening') {
      const { shared, own } = message
      this.listening = { shared, own }
      // A successor listens on the ports that this one was given.
      this.#listen = { shared: bound(this.#listen.shared, shared), own: bound(this.#listen.own, own) }
      if (this.state === 'starting') this.state = 'up'
      this.#host.changed(this, 'up')
    } else {
      this.#host.told(this, message)
    }
  }

  #exited(failure: Error): void {
    const first = this.listening === undefined
    this.#worker = undefined
    this.state = 'down'
    // What was asked to end has nothing left to drain.
    if (this.#stopped) this.#host.told(this, { type: 'drained' })
    if (this.#stopped || first) return
    this.#failures = performance.now() - this.#bornAt > GOOD_LIFE_MS ? 0 : this.#failures + 1
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** Math.max(0, this.#failures - 1), LONGEST_PAUSE_MS)
    this.restarts++
    this.#host.died(this, failure, pause)
    this.#timer = setTimeout(() => this.#spawn(), pause)
  }
}

/** The address with the port that it was given. */
function bound(listen: ListenAddress | undefined, listening: Listening | undefined): ListenAddress | undefined {
  return listen === undefined || listening === undefined || 'path' in listen
    ? listen
    : { ...listen, port: listening.port }
}
