/** What the engines of a pool have told of their KV caches: takes their events and keeps the index that picks look at (./kv-index.ts). */
import { EngineBlocks } from './engine-blocks.ts'
import type { RemovedBlocks, StoredBlocks } from './block-events.ts'
import type { KvEventsPlan } from './kv-events-plan.ts'
import type { KvIndexState } from './kv-index-state.ts'
import { KvIndexWriter } from './kv-index-writer.ts'
import { keyHigh, keyLow, TokenChain } from './token-chain.ts'
import { type Turns, TURNS } from './turns.ts'

/** Attention of which a block is worth something only with all blocks before it, and enough with them. Others reuse parts. */
const INDEXED_KINDS: ReadonlySet<string> = new Set(['full_attention', 'mla_attention', 'sink_full_attention'])
/** A row and the room around it (./engine-blocks.ts). */
const BYTES_PER_BLOCK = 64
/** What it costs to look at a row and to take a block from the index, in blocks told. */
const ROW_COST = 1 / 64
const UNINDEX_COST = 1 / 4

export interface KvLedgerOptions {
  readonly slots: number
  readonly onState?: (() => void) | undefined
  /** In which blocks are forgotten. Default: those of all feeds. */
  readonly turns?: Turns
}

/** Since the start. */
export class KvLedgerCounts {
  /** Blocks told of, and gone. */
  stored = 0
  removed = 0
  cleared = 0
  /** Blocks left out: their parent is unknown. */
  orphaned = 0
  /** Left out: an attention group that says nothing of prefixes, a block size too many. */
  ignored = 0
  /** Forgotten to stay within memory. */
  evicted = 0
}

interface Engine {
  blocks: EngineBlocks
  blockSize: number
  /** Attention groups that are not indexed. */
  readonly skippedGroups: Set<number>
}

export class KvLedger {
  readonly counts = new KvLedgerCounts()
  readonly #plan: KvEventsPlan
  readonly #index: KvIndexWriter
  readonly #engines = new Map<number, Engine>()
  /** By slot: blocks that its engine does not have any more, but which are in the index still. */
  readonly #given = new Map<number, EngineBlocks>()
  readonly #turns: Turns
  readonly #chain = new TokenChain()
  readonly #maxBlocks: number
  #blocks = 0
  /** Where the next block is looked for that has to go. */
  #hand = 0

  constructor(plan: KvEventsPlan, { slots, onState, turns = TURNS }: KvLedgerOptions) {
    this.#plan = plan
    this.#turns = turns
    const maxBytes = Math.floor(plan.maxBytes / 2)
    this.#maxBlocks = Math.floor(maxBytes / BYTES_PER_BLOCK)
    this.#index = new KvIndexWriter({ slots, tiers: plan.tiers.length, maxBytes, maxKeys: plan.maxKeys, onState })
  }

  get plan(): KvEventsPlan {
    return this.#plan
  }

  /** For readers; another one after `onState`. */
  get state(): KvIndexState {
    return this.#index.state
  }

  /** Blocks of all engines, keys in the index, and its bytes. */
  get size(): { readonly blocks: number; readonly keys: number; readonly bytes: number; readonly evicted: number } {
    const { keys, bytes, evicted } = this.#index
    return { blocks: this.#blocks, keys, bytes, evicted: evicted + this.counts.evicted }
  }

  reserve(slots: number): void {
    this.#index.reserve(slots)
  }

  stored(slot: number, event: StoredBlocks): void {
    const engine = this.#engine(slot)
    const { hashes } = event
    if (!this.#isIndexed(engine, event) || !this.#takesSize(slot, engine, event.blockSize)) {
      this.counts.ignored += hashes.to - hashes.from
      return
    }
    const tier = this.#tierOf(event.medium)
    if (event.tokenCount === 0) return this.#copied(slot, engine, event, tier)
    const chain = this.#chain
    let depth = 0
    if (event.hasParent) {
      const parent = engine.blocks.find(event.parentLow, event.parentHigh)
      if (parent < 0) {
        this.counts.orphaned += hashes.to - hashes.from
        return
      }
      chain.a = engine.blocks.a(parent)
      chain.b = engine.blocks.b(parent)
      depth = engine.blocks.depth(parent)
      engine.blocks.confirm(parent)
    } else {
      chain.start(this.#plan.hashSeed, event.loraName)
    }
    engine.blocks.parentLow = event.hasParent ? event.parentLow : 0
    engine.blocks.parentHigh = event.hasParent ? event.parentHigh : 0
    for (let i = hashes.from; i < hashes.to; i++) {
      chain.extra(event.extras[i] ?? 0)
      chain.append(event.tokens, i * event.blockSize, (i + 1) * event.blockSize)
      depth += event.blockSize
      this.#store(slot, engine, hashes.low[i]!, hashes.high[i]!, depth, tier)
      engine.blocks.parentLow = hashes.low[i]!
      engine.blocks.parentHigh = hashes.high[i]!
    }
    this.counts.stored += hashes.to - hashes.from
  }

  removed(slot: number, event: RemovedBlocks): void {
    const engine = this.#engine(slot)
    if (engine.skippedGroups.has(event.group)) return
    const tier = this.#tierOf(event.medium)
    const { blocks } = engine
    const { hashes } = event
    for (let i = hashes.from; i < hashes.to; i++) {
      const row = blocks.find(hashes.low[i]!, hashes.high[i]!)
      if (row < 0) continue
      const low = keyLow(blocks.a(row), blocks.b(row))
      const high = keyHigh(blocks.a(row), blocks.b(row))
      const before = blocks.count
      if (blocks.lower(row, tier)) this.#index.remove(low, high, slot, tier)
      this.#blocks -= before - blocks.count
    }
    this.counts.removed += hashes.to - hashes.from
  }

  /**
   * The engine holds nothing, or we do not know what. Many blocks leave the index over several turns of the event loop; until then it does
   * not count as one that tells, and `sweep` must come before its next event.
   */
  clear(slot: number): void {
    const engine = this.#engines.get(slot)
    if (engine === undefined) return
    this.counts.cleared++
    if (engine.blocks.count === 0) return
    this.#settle(slot)
    const given = engine.blocks
    engine.blocks = new EngineBlocks()
    this.#given.set(slot, given)
    this.#turns.repeat(() => (this.#given.get(slot) === given ? this.sweep(slot) : 0))
    if (this.#given.get(slot) === given) this.#index.unregister(slot)
  }

  /** Does a part of what is left to do of `clear`. Returns what that cost, in blocks; 0: nothing was left. */
  sweep(slot: number): number {
    const given = this.#given.get(slot)
    if (given === undefined) return 0
    const cost = this.#forgetting(given, visit => given.giveUpSome(visit), slot)
    if (given.count > 0) return cost
    this.#given.delete(slot)
    const size = this.#engines.get(slot)?.blockSize ?? 0
    // Others may have taken the place of its size.
    if (size > 0 && !this.#index.register(slot, size)) this.#engines.get(slot)!.blockSize = 0
    return cost
  }

  /** The engine told something that we did not hear: blocks may have gone. Those that it has are confirmed by what it tells of them. */
  doubt(slot: number): void {
    this.#engines.get(slot)?.blocks.doubt()
  }

  /** Forgets what was doubtful and has not been confirmed, if that is much over several turns of the event loop. */
  forgetDoubtful(slot: number): void {
    const blocks = this.#engines.get(slot)?.blocks
    if (blocks === undefined) return
    blocks.beginForgetting()
    this.#turns.repeat(() => {
      if (this.#engines.get(slot)?.blocks !== blocks) return 0
      return this.#forgetting(blocks, visit => blocks.forgetSome(visit), slot)
    })
  }

  /** The endpoint has gone. */
  forget(slot: number): void {
    this.clear(slot)
    this.#engines.delete(slot)
    this.#index.unregister(slot)
  }

  /** Takes from the index what `some` visits. Returns the cost, in blocks told. */
  #forgetting(blocks: EngineBlocks, some: (visit: (row: number) => void) => number, slot: number): number {
    const before = blocks.count
    const rows = some(row => this.#unindex(slot, blocks, row))
    const gone = before - blocks.count
    this.#blocks -= gone
    return rows * ROW_COST + gone * UNINDEX_COST
  }

  /** Where nobody swept before. */
  #settle(slot: number): void {
    while (this.sweep(slot) > 0);
  }

  #engine(slot: number): Engine {
    this.#settle(slot)
    let engine = this.#engines.get(slot)
    if (engine === undefined) {
      engine = { blocks: new EngineBlocks(), blockSize: 0, skippedGroups: new Set() }
      this.#engines.set(slot, engine)
    }
    return engine
  }

  #isIndexed({ skippedGroups }: Engine, { group, specKind }: StoredBlocks): boolean {
    if (specKind === '') return group <= 0
    if (INDEXED_KINDS.has(specKind)) return true
    if (group >= 0) skippedGroups.add(group)
    return false
  }

  #takesSize(slot: number, engine: Engine, size: number): boolean {
    if (size === 0 || size === engine.blockSize) return true
    // Groups of layers may have blocks of different sizes: one of them is enough.
    if (engine.blocks.count > 0) return false
    this.#index.unregister(slot)
    if (!this.#index.register(slot, size)) return false
    engine.blockSize = size
    return true
  }

  /** Media that nobody gave a weight are the worst tier. */
  #tierOf(medium: string): number {
    const { tiers } = this.#plan
    const tier = tiers.findIndex(({ name }) => name === medium)
    return tier < 0 ? tiers.length - 1 : tier
  }

  /** Known blocks are in another tier too. */
  #copied(slot: number, { blocks }: Engine, { hashes }: StoredBlocks, tier: number): void {
    for (let i = hashes.from; i < hashes.to; i++) {
      const row = blocks.find(hashes.low[i]!, hashes.high[i]!)
      if (row < 0) this.counts.orphaned++
      else this.#again(slot, blocks, row, tier)
    }
    this.counts.stored += hashes.to - hashes.from
  }

  #store(slot: number, { blocks }: Engine, low: number, high: number, depth: number, tier: number): void {
    const { a, b } = this.#chain
    const row = blocks.find(low, high)
    if (row >= 0) return this.#again(slot, blocks, row, tier)
    if (this.#blocks >= this.#maxBlocks && !this.#makeRoom(slot, blocks, depth)) return
    if (!blocks.add(low, high, a, b, depth, tier)) {
      this.counts.evicted++
      return
    }
    this.#blocks++
    this.#index.add(keyLow(a, b), keyHigh(a, b), slot, tier, depth)
  }

  #again(slot: number, blocks: EngineBlocks, row: number, tier: number): void {
    const known = blocks.has(row, tier)
    blocks.raise(row, tier)
    blocks.confirm(row)
    const a = blocks.a(row)
    const b = blocks.b(row)
    if (!known) this.#index.add(keyLow(a, b), keyHigh(a, b), slot, tier, blocks.depth(row))
  }

  /** Forgets a block of the same engine that is deeper in its chain than the new one. False: there is none, so the new one has to go. */
  #makeRoom(slot: number, blocks: EngineBlocks, depth: number): boolean {
    this.#hand = (this.#hand + 0x9e3779b1) | 0
    const row = blocks.deepest(this.#hand >>> 4)
    this.counts.evicted++
    if (row < 0 || blocks.depth(row) <= depth) return false
    this.#unindex(slot, blocks, row)
    blocks.delete(row)
    this.#blocks--
    return true
  }

  #unindex(slot: number, blocks: EngineBlocks, row: number): void {
    const a = blocks.a(row)
    const b = blocks.b(row)
    for (let tier = 0; tier < this.#plan.tiers.length; tier++)
      if (blocks.has(row, tier)) this.#index.remove(keyLow(a, b), keyHigh(a, b), slot, tier)
  }
}
