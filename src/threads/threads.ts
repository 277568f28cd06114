import { setTimeout as pause } from 'node:timers/promises'
import { OutcomeTotals, Outcomes, createOutcomesMemory } from '../pipeline/outcomes.ts'
import { createHeldMemory, HeldBudget } from '../extproc/held-budget.ts'
import { PlanKeeper } from '../pipeline/plan-keeper.ts'
import type { Plan } from '../pipeline/plan.ts'
import { RequestTotals } from '../pipeline/request-totals.ts'
import type { Log } from '../telemetry/log.ts'
import { createSeriesMemory } from '../telemetry/shared-series.ts'
import type { FinishedSpan } from '../telemetry/span.ts'
import { claimPort, type ListenAt, listenAddresses } from './listen-addresses.ts'
import { counts } from './measuring.ts'
import type { FromWorker, WorkerOptions, WorkerStart } from './messages.ts'
import { ModelNews } from './model-news.ts'
import { Shedding } from './shedding.ts'
import { Thread } from './thread.ts'
import { createFiguresMemory, Figure, ThreadFigures } from './thread-figures.ts'
import { Watch } from './watch.ts'

export interface ThreadsOptions {
  /** Other replicas of Signalbox tell what they do (`PoolKeeper.peerCounts`). Default: none. */
  readonly peers?: boolean
  /** Threads that decide. */
  readonly count: number
  readonly listen: ListenAt
  /** Each thread gets an address of its own, beside the one for all: data planes that we configure are told all of them. */
  readonly ownAddresses: boolean
  readonly worker: WorkerOptions
  readonly log: Log
  /** Told when a thread begins or ceases to serve. */
  readonly onLive: () => void
  /** Takes lines of the trace of decisions. */
  readonly onTrace?: ((line: string) => void) | undefined
  /** Takes the traces of requests that are over. */
  readonly onSpans?: ((spans: readonly FinishedSpan[]) => void) | undefined
}

/** How long an answer of workers to a question for their figures may take; they are read as they are then. */
const PUBLISH_MS = 200
const LOOK_MS = 1000
/** How often it is looked whether anybody is connected. */
const UNUSED_MS = 100
/** Beyond the time for open streams, for trailers and goodbyes. */
const GOODBYE_MS = 2000

/**
 * The threads of the data path, as the main thread sees them: what they run, what they counted, and that there are as many as there
 * should be. A request never changes threads; only numbers are shared.
 */
export class Threads {
  readonly keeper: PlanKeeper
  /** The main thread's own; `totals` has everybody's. */
  readonly outcomes = new Outcomes()
  readonly totals: OutcomeTotals
  /** What is measured by model and tenant; undefined: nothing is. */
  readonly series: RequestTotals | undefined
  readonly budget: HeldBudget
  readonly figures: ThreadFigures
  readonly threads: readonly Thread[]
  readonly #options: ThreadsOptions
  readonly #outcomes: readonly SharedArrayBuffer[]
  /** By thread, from the first that decides on. */
  readonly #series: readonly SharedArrayBuffer[]
  readonly #held: SharedArrayBuffer
  readonly #figuresMemory: SharedArrayBuffer
  readonly #watch: Watch
  readonly #shedding: Shedding
  readonly #modelNews = new ModelNews((keeper, models) => {
    const pool = keeper.plan.name
    // A pool that has gone meanwhile may have a successor of its name.
    if (this.keeper.pools.get(pool) !== keeper) return
    for (const thread of this.threads) thread.post({ type: 'models', pool, models })
  })
  #ready = false
  /** Counts the plans that were given out. */
  #version = 0
  /** Who waits for a version to be in force. */
  #waiting: { readonly version: number; readonly inForce: () => void }[] = []
  /** The newest version that data planes may know of: a thread that runs an older one must not be asked. */
  #inForce = 0
  #publishing: { left: number; readonly done: () => void } | undefined
  #draining: (() => void) | undefined
  #timer: NodeJS.Timeout | undefined
  shed = 0

  constructor(options: ThreadsOptions) {
    this.#options = options
    const columns = options.count + 1
    this.#outcomes = Array.from({ length: columns }, (_, i) =>
      i === 0 ? this.outcomes.memory : createOutcomesMemory(),
    )
    this.totals = new OutcomeTotals(this.#outcomes)
    const measures = counts(options.worker.measuring ?? {})
    this.#series = measures ? Array.from({ length: options.count }, createSeriesMemory) : []
    this.series = measures ? new RequestTotals(this.#series) : undefined
    this.#held = createHeldMemory(columns)
    this.budget = new HeldBudget(options.worker.maxHeldBytes, this.#held)
    this.#figuresMemory = createFiguresMemory(columns)
    this.figures = new ThreadFigures(this.#figuresMemory)
    this.keeper = new PlanKeeper({
      releaseBy: options.worker.releaseBy,
      threads: columns,
      peers: options.peers ?? false,
      onModels: keeper => this.#modelNews.changed(keeper),
    })
    const host = {
      begin: (thread: Thread) => this.#begin(thread),
      told: (thread: Thread, message: FromWorker) => this.#told(thread, message),
      changed: (thread: Thread, why: 'up' | 'hung' | 'back') => this.#changed(thread, why),
      died: (thread: Thread, error: Error, pauseMs: number) => this.#died(thread, error, pauseMs),
    }
    const addresses = listenAddresses(options.listen, options.count, options.ownAddresses)
    this.threads = addresses.map((listen, i) => new Thread(i + 1, listen, host))
    this.#watch = new Watch(this.threads, this.figures, options.log)
    this.#shedding = new Shedding(options.count)
  }

  /** Resolves when all threads listen. Rejects when an address or a certificate cannot be used. */
  async start(): Promise<void> {
    const { listen } = this.#options
    const [first, ...others] = this.threads
    // Threads share their port with whoever listens on it in that way: another process must not be among them.
    if (others.length > 0 && 'host' in listen) await claimPort(listen)
    await first!.start()
    const { shared } = first!.listening!
    for (const thread of others) if (shared !== undefined) thread.sharePort(shared.port)
    await Promise.all(others.map(thread => thread.start()))
    this.#timer = setInterval(() => this.#look(), LOOK_MS).unref()
    this.#watch.start()
  }

  /** Where a gateway that is not told of threads reaches us. */
  get address(): string {
    const listening = this.threads[0]!.listening
    return (listening?.shared ?? listening?.own)?.address ?? ''
  }

  get port(): number {
    const listening = this.threads[0]!.listening
    return (listening?.shared ?? listening?.own)?.port ?? 0
  }

  /**
   * Runs a plan from now on, on every thread; `inForce` is called once all have it. Entries of a plan must not be named to data planes
   * before that. @throws Error for a plan that does not fit together; nothing has changed then
   */
  run(plan: Plan, inForce: () => void): void {
    const version = this.#version + 1
    this.keeper.update(plan, { version, adopted: this.#adopted })
    this.series?.setConfigured(plan.pools)
    this.#version = version
    this.#waiting.push({ version, inForce })
    const share = this.keeper.share()!
    for (const thread of this.threads) thread.post({ type: 'run', version, share })
    this.#checkInForce()
  }

  /** What health checks say. */
  setReady(ready: boolean): void {
    this.#ready = ready
    for (const thread of this.threads) thread.post({ type: 'ready', ready })
  }

  /** Whether requests may be sent to the thread. */
  isLive(thread: Thread): boolean {
    return thread.state === 'up' && thread.adopted >= this.#inForce
  }

  /** For the admin port. */
  status(): unknown {
    return this.threads.map(thread => ({
      thread: thread.column,
      state: thread.state,
      serves: this.isLive(thread),
      plan: thread.adopted,
      restarts: thread.restarts,
      shared: thread.listening?.shared?.address,
      own: thread.listening?.own?.address,
      utilisation: this.figures.get(thread.column, Figure.UTILISATION),
      connections: this.figures.get(thread.column, Figure.CONNECTIONS),
      openStreams: this.figures.get(thread.column, Figure.OPEN_STREAMS),
    }))
  }

  /** Resolves when all figures are as they are now; those of threads that don't answer are as they were told last. */
  async publish(): Promise<void> {
    const asked = this.threads.filter(({ state }) => state === 'up')
    if (asked.length === 0 || this.#publishing !== undefined) return
    await new Promise<void>(resolve => {
      const timer = setTimeout(() => this.#publishing?.done(), PUBLISH_MS)
      const done = () => {
        clearTimeout(timer)
        this.#publishing = undefined
        resolve()
      }
      this.#publishing = { left: asked.length, done }
      for (const thread of asked) thread.post({ type: 'publish' })
    })
  }

  /** Resolves when nobody is connected any more, after `limitMs` at the latest. */
  async unused(limitMs: number): Promise<void> {
    const deadline = performance.now() + limitMs
    const connections = () => this.threads.some(({ column }) => this.figures.get(column, Figure.CONNECTIONS) > 0)
    // Who has just connected is counted as soon as the thread is asked.
    if (limitMs > 0) await this.publish()
    while (performance.now() < deadline && connections()) await pause(UNUSED_MS)
  }

  /** No new streams; open ones may finish within `graceMs`. Then all workers are gone. */
  async drain(graceMs: number): Promise<void> {
    clearInterval(this.#timer)
    this.#modelNews.stop()
    this.#watch.stop()
    if (this.threads.some(({ alive }) => alive)) {
      await new Promise<void>(resolve => {
        // node turns a longer delay into 1 ms.
        const timer = setTimeout(resolve, Math.min(graceMs + GOODBYE_MS, 0x7fffffff))
        this.#draining = () => {
          clearTimeout(timer)
          resolve()
        }
        for (const thread of this.threads) thread.drain(graceMs)
        this.#checkDrained()
      })
    }
    await Promise.all(this.threads.map(thread => thread.stop()))
  }

  /** The newest version that all workers run. */
  get #adopted(): number {
    const alive = this.threads.filter(thread => thread.alive)
    return Math.min(this.#version, ...alive.map(thread => thread.adopted))
  }

  #begin({ column }: Thread): Omit<WorkerStart, 'thread' | 'shared' | 'own'> {
    const share = this.keeper.share()
    return {
      options: this.#options.worker,
      memory: {
        outcomes: this.#outcomes[column]!,
        held: this.#held,
        figures: this.#figuresMemory,
        series: this.#series[column - 1],
      },
      plans: share === undefined ? [] : [...this.keeper.earlierShares(), share],
      version: this.#version,
      ready: this.#ready,
    }
  }

  #told(thread: Thread, message: FromWorker): void {
    if (message.type === 'adopted') {
      this.#checkInForce()
      // One that came up while a plan was given out serves from now on.
      this.#options.onLive()
    } else if (message.type === 'trace') this.#options.onTrace?.(message.line)
    else if (message.type === 'spans') this.#options.onSpans?.(message.spans)
    else if (message.type === 'error') this.#options.log.error(message.fields, message.message)
    else if (message.type === 'drained') {
      thread.state = 'down'
      this.#checkDrained()
    } else if (message.type === 'published' && this.#publishing !== undefined && --this.#publishing.left === 0) {
      this.#publishing.done()
    } else if (message.type === 'shed' && message.done) {
      this.shed++
      this.#options.log.info({ thread: thread.column }, 'an overloaded thread sheds a connection')
    }
  }

  #changed(thread: Thread, why: 'up' | 'hung' | 'back'): void {
    const { log } = this.#options
    if (why === 'hung') this.keeper.threadHangs(thread.column)
    if (why === 'hung') log.error({ thread: thread.column }, 'a data path thread does not answer')
    else if (why === 'back') log.warn({ thread: thread.column }, 'a data path thread answers again')
    else if (thread.restarts > 0) log.info({ thread: thread.column }, 'a data path thread was replaced')
    this.#checkInForce()
    this.#options.onLive()
  }

  #died(thread: Thread, error: Error, pauseMs: number): void {
    this.#options.log.error({ thread: thread.column, err: error, pauseMs }, 'a data path thread has died')
    this.keeper.threadDied(thread.column)
    this.budget.forget(thread.column)
    this.figures.clearGauges(thread.column)
    this.series?.threadDied(thread.column - 1)
    this.#options.onLive()
    this.#checkInForce()
    this.#checkDrained()
  }

  /** A thread that hangs is not waited for: nobody is sent to it. Neither is one that starts: it begins with the newest plan. */
  #checkInForce(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const { version, inForce } = next
      if (this.threads.some(({ state, adopted }) => state === 'up' && adopted < version)) break
      this.#waiting.shift()
      this.#inForce = version
      inForce()
    }
  }

  #checkDrained(): void {
    if (this.threads.every(({ state }) => state === 'down')) this.#draining?.()
  }

  #look(): void {
    const loads = this.threads.map(({ column }) => ({
      utilisation: this.figures.get(column, Figure.UTILISATION),
      connections: this.figures.get(column, Figure.SHARED_CONNECTIONS),
    }))
    const chosen = this.#shedding.look(loads, performance.now())
    if (chosen !== undefined) this.threads[chosen]!.post({ type: 'shed' })
  }
}
