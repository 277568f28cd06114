import { ApiError } from './api-error.ts'
import { keyOf, type ListAnswer, metadataOf, type WatchEvent } from './api-shapes.ts'
import { BackOff } from './back-off.ts'
import { LineCutter } from './line-cutter.ts'
import {
  type Kept,
  REFLECTOR_TIMING,
  type ReflectorOptions,
  type ReflectorState,
  type ReflectorTiming,
} from './reflector-options.ts'

const PAGE = 500
/** etcd stores 1.5 MiB at most; as JSON with its managed fields an object may be some times that. */
const MAX_LINE_BYTES = 16 * 1024 * 1024
/** A resource that was there is believed to be gone after so many 404s: an API server that starts may say so too early. */
const GONE_AFTER = 3
/** A watch that ended before this did not work. */
const SHORT_WATCH_MS = 1000

/**
 * Keeps a copy of a collection of objects: a paged list, then a watch from there, begun again for ever. Objects that vanished
 * unseen go with the next list. Until `stop`, nothing throws.
 */
export class Reflector<T> {
  readonly #options: ReflectorOptions<T>
  readonly #timing: ReflectorTiming
  readonly #backOff: BackOff
  #objects = new Map<string, Kept<T>>()
  #state: ReflectorState = 'starting'
  /** Where the next watch begins. Undefined: with a list. */
  #version: string | undefined
  #listed = false
  #missed = 0
  #heardAt: number | undefined
  #request = new AbortController()
  #wake: (() => void) | undefined
  #running: Promise<void> | undefined
  #stopped = false

  constructor(options: ReflectorOptions<T>) {
    this.#options = options
    this.#timing = options.timing ?? REFLECTOR_TIMING
    this.#backOff = new BackOff(this.#timing.firstRetryMs, this.#timing.lastRetryMs)
  }

  get state(): ReflectorState {
    return this.#state
  }

  /** Whether the store is what the server has, or it is known that the server has nothing for us. Never goes back. */
  get settled(): boolean {
    return this.#listed || this.#state === 'absent' || this.#state === 'forbidden'
  }

  /** Milliseconds since the server said anything in this watch or list; undefined: never. */
  get ageMs(): number | undefined {
    return this.#heardAt === undefined ? undefined : performance.now() - this.#heardAt
  }

  get size(): number {
    return this.#objects.size
  }

  *values(): Iterable<T> {
    for (const { value } of this.#objects.values()) yield value
  }

  start(): void {
    this.#running ??= this.#run()
  }

  /** No request or timer is left when this resolves. The store stays. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#request.abort()
    this.#wake?.()
    await this.#running
  }

  async #run(): Promise<void> {
    while (!this.#isStopped()) {
      let delay = 0
      try {
        if (this.#version === undefined) await this.#list()
        const began = performance.now()
        await this.#watch(this.#version!)
        if (performance.now() - began < SHORT_WATCH_MS) delay = this.#backOff.next()
      } catch (error) {
        if (this.#isStopped()) return
        delay = this.#failed(error instanceof Error ? error : new Error(String(error)))
        await this.#options.client.renew()
      }
      if (delay > 0) await this.#sleep(delay)
    }
  }

  /** What a failure means. Returns how long to wait. */
  #failed(error: Error): number {
    this.#options.counts.errors++
    const { absentMs } = this.#timing
    const status = error instanceof ApiError ? error.status : undefined
    if (status === 404) {
      this.#version = undefined
      this.#missed++
      if (this.#listed && this.#missed < GONE_AFTER) return this.#enter('failing', error, this.#backOff.next())
      this.#replace(new Map())
      return this.#enter('absent', error, jittered(absentMs))
    }
    this.#missed = 0
    if (status === 403) return this.#enter('forbidden', error, jittered(absentMs))
    if (error instanceof ApiError) {
      if (error.needsList) this.#version = undefined
      // This is no outage, only the end of a long pause: a list mends it.
      if (status === 410) return this.#backOff.next()
      return this.#enter('failing', error, Math.max(error.retryAfterMs ?? 0, this.#backOff.next()))
    }
    return this.#enter('failing', error, this.#backOff.next())
  }

  #enter(state: ReflectorState, error: Error | undefined, delay: number): number {
    const settled = this.settled
    this.#state = state
    this.#options.onState(state, error)
    if (!settled && this.settled) this.#options.onChange()
    return delay
  }

  async #list(): Promise<void> {
    const { counts } = this.#options
    const objects = new Map<string, Kept<T>>()
    let page = `&limit=${PAGE}`
    let version: string | undefined
    for (;;) {
      let answer: ListAnswer
      try {
        answer = (await this.#withTimer(this.#timing.listMs, signal =>
          this.#options.client.getJson(this.#url(page), signal),
        )) as ListAnswer
      } catch (error) {
        // The list's continuation is too old, as it may be for very large lists on busy servers: then all at once.
        if (!(error instanceof ApiError) || error.status !== 410 || page === '') throw error
        objects.clear()
        page = ''
        continue
      }
      this.#heardAt = performance.now()
      version = answer.metadata?.resourceVersion
      if (version === undefined || version === '' || !Array.isArray(answer.items))
        throw new Error('the answer is no list of objects')
      for (const object of answer.items) this.#keep(objects, object)
      const next = answer.metadata?.continue
      if (next === undefined || next === '') break
      page = `&limit=${PAGE}&continue=${encodeURIComponent(next)}`
    }
    counts.lists++
    if (this.#listed) counts.relists++
    const first = !this.settled
    this.#listed = true
    this.#version = version
    const changed = this.#replace(objects)
    this.#works()
    if (first && !changed) this.#options.onChange()
  }

  async #watch(version: string): Promise<void> {
    const seconds = Math.ceil((this.#timing.watchMs / 1000) * (1 + Math.random()))
    const query = `&watch=true&allowWatchBookmarks=true&timeoutSeconds=${seconds}&resourceVersion=${encodeURIComponent(version)}`
    await this.#withTimer(this.#timing.silenceMs, async (signal, heard) => {
      const stream = await this.#options.client.watch(this.#url(query), signal)
      this.#works()
      const lines = new LineCutter(MAX_LINE_BYTES)
      for await (const chunk of stream) {
        heard()
        this.#heardAt = performance.now()
        this.#backOff.reset()
        let changed = false
        try {
          for (const line of lines.push(chunk)) changed = this.#take(JSON.parse(line) as WatchEvent) || changed
        } catch (error) {
          // What we can't read would come again from here.
          this.#version = undefined
          throw error
        } finally {
          if (changed) this.#options.onChange()
        }
      }
    })
  }

  /** Whether the event changed the store. */
  #take({ type, object }: WatchEvent): boolean {
    if (type === 'ERROR') {
      const { code, message } = (object ?? {}) as { code?: unknown; message?: unknown }
      throw new ApiError(typeof code === 'number' ? code : 500, `the watch ended: ${String(message)}`)
    }
    const metadata = metadataOf(object)
    if (metadata === undefined) throw new Error('a watch event has no object')
    if (metadata.resourceVersion !== undefined) this.#version = metadata.resourceVersion
    if (type === 'BOOKMARK') return false
    this.#options.counts.events++
    const key = keyOf(metadata)
    if (type === 'DELETED') return this.#objects.delete(key)
    const before = this.#objects.get(key)
    this.#keep(this.#objects, object)
    return this.#objects.get(key)?.fingerprint !== before?.fingerprint
  }

  #keep(objects: Map<string, Kept<T>>, object: unknown): void {
    const metadata = metadataOf(object)
    if (metadata === undefined) return
    const kept = this.#options.convert(object)
    if (kept === undefined) objects.delete(keyOf(metadata))
    else objects.set(keyOf(metadata), kept)
  }

  /** Whether the new objects differ from the old. */
  #replace(objects: Map<string, Kept<T>>): boolean {
    const before = this.#objects
    this.#objects = objects
    let changed = before.size !== objects.size
    for (const [key, { fingerprint }] of objects) {
      if (changed) break
      changed = before.get(key)?.fingerprint !== fingerprint
    }
    if (changed) this.#options.onChange()
    return changed
  }

  #works(): void {
    this.#missed = 0
    if (this.#state !== 'watching') this.#enter('watching', undefined, 0)
  }

  /** Runs a request that is given up when `heard` isn't called for so long. */
  async #withTimer<R>(ms: number, run: (signal: AbortSignal, heard: () => void) => Promise<R>): Promise<R> {
    const request = new AbortController()
    this.#request = request
    if (this.#stopped) request.abort()
    const timer = setTimeout(() => request.abort(new Error(`no answer for ${ms / 1000} s`)), ms)
    try {
      return await run(request.signal, () => timer.refresh())
    } finally {
      clearTimeout(timer)
    }
  }

  #url(query: string): string {
    const { path, labelSelector } = this.#options
    const selector = labelSelector === undefined ? '' : `labelSelector=${encodeURIComponent(labelSelector)}`
    return `${path}?${selector}${query}`.replace('?&', '?')
  }

  async #sleep(ms: number): Promise<void> {
    if (this.#stopped) return
    await new Promise<void>(resolve => {
      const timer = setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    this.#wake = undefined
  }

  /** As a call, because it changes while we wait. */
  #isStopped(): boolean {
    return this.#stopped
  }
}

function jittered(ms: number): number {
  return ms * (0.75 + Math.random() / 2)
}
