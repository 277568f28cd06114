/** What an engine tells of blocks: records that a parser fills again and again (./event-batch.ts). */

const DEFAULT_MEDIUM = 'gpu'
/** Room that stays between batches. */
const KEPT_HASHES = 1024
const KEPT_TOKENS = 16 * 1024

/**
 * Blocks that an engine has now. One record a parser: valid during the call that gives it. Tokens and extras are those of all blocks of the list;
 * of a later part the parent is the block before it.
 */
export class StoredBlocks {
  readonly hashes = new HashList()
  hasParent = false
  parentLow = 0
  parentHigh = 0
  tokens = new Uint32Array(1024)
  tokenCount = 0
  /** Tokens a block; 0: not told (copies of known blocks to another tier). */
  blockSize = 0
  /** Lower case. */
  medium = DEFAULT_MEDIUM
  loraName = ''
  /** Of each block, what its hash depends on beside model, adapter and tokens; 0 = nothing. */
  readonly extras: number[] = []
  /** −1: none. */
  group = -1
  /** Kind of the attention; '' = not told. */
  specKind = ''

  clear(): void {
    this.hashes.clear()
    this.hasParent = false
    this.tokenCount = 0
    if (this.tokens.length > KEPT_TOKENS) this.tokens = new Uint32Array(KEPT_TOKENS)
    this.blockSize = 0
    this.medium = DEFAULT_MEDIUM
    this.loraName = ''
    this.extras.length = 0
    this.group = -1
    this.specKind = ''
  }
}

export class RemovedBlocks {
  readonly hashes = new HashList()
  medium = DEFAULT_MEDIUM
  group = -1

  clear(): void {
    this.hashes.clear()
    this.medium = DEFAULT_MEDIUM
    this.group = -1
  }
}

/** 64-bit hashes as words. A long list is told in parts, so that none takes long: those from `from` up to, without, `to`. */
export class HashList {
  count = 0
  from = 0
  to = 0
  low = new Int32Array(64)
  high = new Int32Array(64)

  reserve(count: number): void {
    if (this.low.length >= count) return
    this.low = new Int32Array(2 * count)
    this.high = new Int32Array(2 * count)
  }

  /** What a long event needed is given back: there is a parser for every endpoint. */
  clear(): void {
    this.count = this.from = this.to = 0
    if (this.low.length <= KEPT_HASHES) return
    this.low = new Int32Array(KEPT_HASHES)
    this.high = new Int32Array(KEPT_HASHES)
  }
}
