import type { EndpointTable } from './endpoint-table.ts'
import { FurtherPrefixIndexes } from './further-prefix-indexes.ts'
import type { PoolPlan } from './pool-plan.ts'
import type { PoolShare } from './pool-share.ts'
import { PrefixIndex } from './prefix-index.ts'
import { createPrefixLogMemory, PrefixLog } from './prefix-log.ts'
import { promptNeeds } from './scheduling/profiles.ts'
import { capacityOf } from './whole-blocks.ts'

/** A prompt that was sent to an endpoint: its blocks' keys in the prefix index, `keys[0, 2 × blocks)`, only valid during a call. */
export interface SentPrompt {
  readonly address: string
  readonly keys: Int32Array
  readonly blocks: number
  /** Of the prompt, as far as they are known. */
  readonly promptBytes: number
}

export interface PrefixKeeperOptions {
  /** Threads that pick, the main thread included. */
  readonly threads: number
  /** Other replicas of Signalbox are told what threads record. */
  readonly peers?: boolean
}

/** The main thread's side of a pool's approximate prefix caches: makes and forgets what other threads match and record. */
export class PrefixKeeper {
  readonly #table: EndpointTable
  readonly #options: PrefixKeeperOptions
  #plan!: PoolPlan['scheduling']
  #index: PrefixIndex | undefined
  readonly #further = new FurtherPrefixIndexes()
  #log: SharedArrayBuffer | undefined
  #logs: readonly PrefixLog[] = []
  /** Slots of endpoints that have come back, without what they had cached. */
  #lost: number[] = []

  constructor(table: EndpointTable, options: PrefixKeeperOptions) {
    this.#table = table
    this.#options = options
  }

  /** `left`: slots of endpoints that have gone, once no thread has a plan with them any more: before, it would still note prompts there. */
  update(plan: PoolPlan['scheduling'], left: readonly number[]): void {
    this.#plan = plan
    const { prefixBlocksPerEndpoint, prefixBlockBytes } = plan
    const { capacity, liveCount } = this.#table
    const isUsed = promptNeeds(plan).prefix
    if (left.length > 0) this.#forget(left)
    this.#further.update(isUsed ? (plan.prefixCaches ?? []) : [], capacity, liveCount)
    if (isUsed && prefixBlocksPerEndpoint > 0 && prefixBlockBytes > 0) {
      const size = { slots: capacity, endpoints: liveCount, blocksPerEndpoint: prefixBlocksPerEndpoint }
      if (this.#index === undefined) this.#index = new PrefixIndex(size)
      else this.#index.reserve(size)
    } else {
      this.#index = undefined
    }
    this.#keepLog()
  }

  share(): Pick<PoolShare, 'index' | 'furtherIndexes' | 'prefixLog'> {
    return {
      index: this.#index?.state,
      furtherIndexes: this.#further.states,
      ...(this.#log === undefined ? {} : { prefixLog: this.#log }),
    }
  }

  threadDied(): void {
    this.#index?.threadDied()
    this.#further.threadDied()
  }

  /** The metrics of the slot's endpoint were read: caches are as large as it says that its own is, where the plan wants that. */
  tune(slot: number): void {
    if (this.#index === undefined) return
    const { prefixAutoTune, prefixBlockBytes, prefixCaches } = this.#plan
    this.#index.holds(slot, prefixAutoTune === true ? capacityOf(slot, prefixBlockBytes, this.#table) : 0)
    if (prefixCaches !== undefined) this.#further.tune(prefixCaches, slot, prefixBlockBytes, this.#table)
  }

  /** The slot's endpoint has come back, without what it had cached. */
  lost(slot: number): void {
    // A pass over the tables: one for all that come back at once.
    if (this.#lost.length === 0) setImmediate(() => this.#forgetLost())
    this.#lost.push(slot)
  }

  /** Takes what threads have noted since this was called last. */
  take(visit: (prompt: SentPrompt) => void): void {
    const table = this.#table
    for (const log of this.#logs) {
      log.drain((slot, generation, keys, blocks, promptBytes) => {
        const address = table.address(slot)
        if (address === undefined || table.currentGeneration[slot] !== generation) return
        visit({ address, keys, blocks, promptBytes })
      })
    }
  }

  /** Another replica has sent a prompt to the slot's endpoint. Returns the bytes of it that were there already; undefined: nobody asks. */
  sentElsewhere(slot: number, { keys, blocks }: SentPrompt): number | undefined {
    if (this.#index === undefined) return undefined
    const held = this.#index.heldKeys(keys, blocks, slot)
    this.#index.recordKeys(keys, blocks, slot)
    return held * this.#plan.prefixBlockBytes
  }

  #keepLog(): void {
    const { peers = false, threads } = this.#options
    if (!peers || this.#index === undefined || this.#log !== undefined) return
    const memory = createPrefixLogMemory(threads)
    this.#log = memory
    this.#logs = Array.from({ length: threads }, (_, thread) => new PrefixLog(memory, thread))
  }

  #forgetLost(): void {
    const slots = this.#lost
    this.#lost = []
    this.#forget(slots)
  }

  #forget(slots: readonly number[]): void {
    this.#index?.forget(slots)
    this.#further.forget(slots)
  }
}
