import type { Clock, ClockTimer } from './clock.ts'
import { KvCache } from './kv-cache.ts'
import type { KvEventRecorder } from './kv-events.ts'
import { LoraSlots } from './lora-slots.ts'
import { type FinishReason, Sequence, type SequenceRequest } from './sequence.ts'

/** Durations in simulated milliseconds. */
export interface EngineOptions {
  /** Sequences that run at once. */
  readonly maxNumSeqs: number
  /** Tokens computed in one step, shared by prefill and decode. */
  readonly maxNumBatchedTokens: number
  /** Tokens in a block of KV cache. */
  readonly blockSize: number
  readonly numGpuBlocks: number
  /** Adapters on the GPU at once. */
  readonly maxLoras: number
  readonly loraLoadMs: number
  /** A step that computes any prompt costs this much more … */
  readonly prefillBaseMs: number
  /** … and this for each prompt token that the cache did not have. */
  readonly prefillMsPerToken: number
  /** A step that generates for a single sequence costs this much; */
  readonly decodeMs: number
  /** each further sequence adds this share of it. */
  readonly decodeGrowth: number
}

/** What the metrics want to know. */
export interface EngineObserver {
  step(promptTokens: number, generatedTokens: number): void
  prefixLookup(tokens: number, hits: number): void
  /** A token was generated; `sinceMs` since the one before it, or since the arrival for the first. */
  token(sequence: Sequence, sinceMs: number): void
  preempted(): void
  finished(sequence: Sequence, reason: FinishReason): void
  /** Queue or batch changed. */
  changed(engine: Engine): void
}

interface Chunk {
  readonly sequence: Sequence
  readonly tokens: number
}

/**
 * The model server: one loop of steps over a batch that requests join and leave between any two steps (continuous batching),
 * as vLLM's scheduler does it: sequences that run come first, then the queue in order of arrival as far as slots, tokens and
 * blocks reach; long prompts are computed in chunks; who runs out of blocks throws out the youngest, which starts over later.
 */
export class Engine {
  readonly cache: KvCache
  readonly loras: LoraSlots
  readonly #options: EngineOptions
  readonly #clock: Clock
  readonly #observer: EngineObserver
  readonly #kvEvents: KvEventRecorder | undefined
  #waiting: Sequence[] = []
  readonly #running: Sequence[] = []
  #chunks: Chunk[] = []
  /** When the current step is complete; undefined: no step. */
  #due: number | undefined
  #timer: ClockTimer | undefined

  constructor(options: EngineOptions, clock: Clock, observer: EngineObserver, kvEvents?: KvEventRecorder) {
    this.#options = options
    this.#clock = clock
    this.#observer = observer
    this.#kvEvents = kvEvents
    this.cache = new KvCache(options.numGpuBlocks, kvEvents === undefined ? undefined : key => kvEvents.removed(key))
    this.loras = new LoraSlots(options.maxLoras, options.loraLoadMs)
  }

  get waiting(): readonly Sequence[] {
    return this.#waiting
  }

  get running(): readonly Sequence[] {
    return this.#running
  }

  /** Queues a request. Prompt and `maxTokens` together must fit into the cache: the caller has checked. */
  submit(request: SequenceRequest): Sequence {
    const sequence = new Sequence(request, this.#options.blockSize, this.#clock.now())
    this.#waiting.push(sequence)
    this.#observer.changed(this)
    if (this.#due === undefined) this.#wake(0)
    return sequence
  }

  /** Ends a sequence at once and frees what it holds; a no-op when it is over. */
  cancel(sequence: Sequence): void {
    if (sequence.state !== 'done') this.#end(sequence, 'abort')
  }

  /** Stops the loop. Sequences stay as they are. */
  close(): void {
    this.#timer?.cancel()
    this.#due = Number.POSITIVE_INFINITY
  }

  #wake(delay: number): void {
    this.#timer?.cancel()
    this.#timer = this.#clock.after(delay, () => this.#run())
  }

  #run(): void {
    this.#timer = undefined
    const now = this.#clock.now()
    for (;;) {
      let start = now
      if (this.#due !== undefined) {
        if (this.#due > now) break
        start = now - this.#due > this.#clock.catchUpMs ? now : this.#due
        this.#finishStep()
      }
      const duration = this.#beginStep(start)
      this.#due = duration === undefined ? undefined : start + duration
      if (this.#due === undefined) return
    }
    this.#wake(this.#due - this.#clock.now())
  }

  /** Plans the next step; its duration, or undefined when there is nothing to do (a timer is set when an adapter loads). */
  #beginStep(now: number): number | undefined {
    let budget = this.#options.maxNumBatchedTokens
    const chunks: Chunk[] = []
    let preempted = false
    // Victims are taken from the end, behind the index.
    for (let i = 0; i < this.#running.length && budget > 0; i++) {
      const sequence = this.#running[i]!
      const tokens = Math.min(sequence.chain.length - sequence.computed, budget)
      while (sequence.state === 'running' && !this.#reserve(sequence, sequence.computed + tokens)) {
        this.#preempt(this.#running.at(-1)!)
        preempted = true
      }
      if (sequence.state !== 'running') break
      chunks.push({ sequence, tokens })
      budget -= tokens
    }
    if (!preempted) this.#admit(now, budget, chunks)
    this.#chunks = chunks
    this.#observer.changed(this)
    this.#kvEvents?.flush()
    return chunks.length === 0 ? undefined : this.#duration(chunks)
  }

  #admit(now: number, tokens: number, chunks: Chunk[]): void {
    let budget = tokens
    const claimed = new Set<string>()
    let wakeAt = Number.POSITIVE_INFINITY
    for (let i = 0; i < this.#waiting.length; ) {
      if (budget === 0 || this.#running.length >= this.#options.maxNumSeqs) break
      const sequence = this.#waiting[i]!
      const { lora } = sequence.request
      if (lora !== undefined) {
        const readyAt = this.loras.request(lora, now, claimed)
        claimed.add(lora)
        if (readyAt === undefined || readyAt > now) {
          wakeAt = Math.min(wakeAt, readyAt ?? wakeAt)
          i++
          continue
        }
      }
      if (!this.#start(sequence)) break
      this.#waiting.splice(i, 1)
      const share = Math.min(sequence.chain.length - sequence.computed, budget)
      chunks.push({ sequence, tokens: share })
      budget -= share
    }
    if (chunks.length === 0 && wakeAt < Number.POSITIVE_INFINITY) this.#wake(wakeAt - now)
  }

  /** Moves a waiting sequence into the batch; false when the cache has no room for its prompt. */
  #start(sequence: Sequence): boolean {
    const { blockSize } = this.#options
    const length = sequence.chain.length
    // At least one token has to be computed to get the next one out of it.
    const cached = this.cache.match(sequence.chain.keys, Math.floor((length - 1) / blockSize))
    const blocks = this.cache.allocate(cached, Math.ceil(length / blockSize) - cached.length)
    if (blocks === undefined) return false
    sequence.blocks = blocks
    sequence.computed = cached.length * blockSize
    sequence.prefillTarget = length
    sequence.state = 'running'
    if (sequence.scheduledAt === undefined) {
      sequence.scheduledAt = this.#clock.now()
      sequence.cachedTokens = sequence.computed
      this.#observer.prefixLookup(length, sequence.computed)
    }
    if (sequence.request.prefilled === true && sequence.preemptions === 0) {
      sequence.computed = length - 1
      sequence.prefillTarget = 0
      this.#publish(sequence, cached.length, Math.floor(sequence.computed / blockSize))
    }
    if (sequence.request.lora !== undefined) this.loras.use(sequence.request.lora)
    this.#running.push(sequence)
    return true
  }

  #reserve(sequence: Sequence, tokens: number): boolean {
    const missing = Math.ceil(tokens / this.#options.blockSize) - sequence.blocks.length
    if (missing <= 0) return true
    const blocks = this.cache.allocate([], missing)
    if (blocks === undefined) return false
    sequence.blocks.push(...blocks)
    return true
  }

  #preempt(sequence: Sequence): void {
    this.#stop(sequence)
    sequence.state = 'waiting'
    sequence.computed = 0
    sequence.preemptions++
    this.#waiting.unshift(sequence)
    this.#observer.preempted()
  }

  #duration(chunks: readonly Chunk[]): number {
    const { prefillBaseMs, prefillMsPerToken, decodeMs, decodeGrowth } = this.#options
    let prefill = 0
    let decodes = 0
    for (const { sequence, tokens } of chunks) {
      if (sequence.computed < sequence.prefillTarget) prefill += tokens
      else decodes++
    }
    const prefillTime = prefill > 0 ? prefillBaseMs + prefill * prefillMsPerToken : 0
    return prefillTime + (decodes > 0 ? decodeMs * (1 + decodeGrowth * (decodes - 1)) : 0)
  }

  #finishStep(): void {
    let promptTokens = 0
    let generatedTokens = 0
    for (const { sequence, tokens } of this.#chunks) {
      // A callback of an earlier one may have cancelled it.
      if (sequence.state !== 'running') continue
      const { blockSize } = this.#options
      const full = Math.floor(sequence.computed / blockSize)
      sequence.computed += tokens
      this.#publish(sequence, full, Math.floor(sequence.computed / blockSize))
      if (sequence.computed < sequence.chain.length) continue
      if (sequence.generated === 0) promptTokens += sequence.request.prompt.length
      if (sequence.request.maxTokens === 0)
        this.#end(sequence, sequence.request.naturalLength === 0 ? 'stop' : 'length')
      else {
        generatedTokens++
        this.#generate(sequence)
      }
    }
    this.#chunks = []
    this.#observer.step(promptTokens, generatedTokens)
  }

  /** Blocks that are computed now, told of in runs of those that nobody else has. */
  #publish(sequence: Sequence, first: number, end: number): void {
    let from = first
    for (let i = first; i < end; i++) {
      if (this.cache.publish(sequence.blocks[i]!, sequence.chain.keys[i]!)) continue
      if (from < i) this.#kvEvents?.stored(sequence, from, i)
      from = i + 1
    }
    if (from < end) this.#kvEvents?.stored(sequence, from, end)
  }

  #generate(sequence: Sequence): void {
    const { request } = sequence
    const now = this.#clock.now()
    const index = sequence.generated++
    sequence.chain.append(request.generate(index))
    this.#observer.token(sequence, now - (sequence.lastTokenAt ?? sequence.arrivedAt))
    sequence.firstTokenAt ??= now
    sequence.lastTokenAt = now
    let reason: FinishReason | undefined
    if (sequence.generated >= request.naturalLength) reason = 'stop'
    else if (sequence.generated >= request.maxTokens) reason = 'length'
    const stopped = request.token(index, reason)
    // The callback may have cancelled it.
    if ((sequence.state as string) === 'done') return
    if (stopped) this.#end(sequence, 'stop')
    else if (reason !== undefined) this.#end(sequence, reason)
  }

  #end(sequence: Sequence, reason: FinishReason): void {
    if (sequence.state === 'running') this.#stop(sequence)
    else this.#waiting = this.#waiting.filter(other => other !== sequence)
    sequence.state = 'done'
    sequence.finishedAt = this.#clock.now()
    this.#observer.finished(sequence, reason)
    this.#observer.changed(this)
    sequence.request.finished(sequence, reason)
  }

  /** Takes a sequence out of the batch and gives back its blocks and its adapter. */
  #stop(sequence: Sequence): void {
    this.#running.splice(this.#running.indexOf(sequence), 1)
    this.cache.release(sequence.blocks)
    sequence.blocks = []
    if (sequence.request.lora !== undefined) this.loras.leave(sequence.request.lora, this.#clock.now())
  }
}
