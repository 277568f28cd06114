/** What a pick is asked and what it says: `Pool.pick` (./pool.ts). */
import type { HeaderView } from '../extproc/header-view.ts'
import type { TokenIds } from './kv-events/token-ids.ts'
import type { MediaHashes } from './media-hashes.ts'
import type { PickRecord } from './pick-record.ts'
import type { PickTimes } from './pick-times.ts'
import type { PrefixHasher } from './prefix-hasher.ts'

/** The longest ordered list of endpoints. */
export const MAX_ENDPOINTS = 8

export const PickStatus = {
  OK: 0,
  /** No endpoint is ready, in the subset and serves the model. */
  NO_ENDPOINTS: 1,
  /** There are some, but the queue of each is at `maxQueue`. */
  SATURATED: 2,
  /** There are some, but the profile's filters left none. */
  FILTERED: 3,
  /** The request asks for a scheduling profile that there is not. */
  NO_PROFILE: 4,
  /** `onlyCached`, and the chosen endpoint has nothing of the prompt. */
  NOT_CACHED: 5,
  /** An admitter refuses the request. */
  NOT_ADMITTED: 6,
} as const
export type PickStatus = (typeof PickStatus)[keyof typeof PickStatus]

/** Pooled by the caller. */
export interface PickRequest {
  /** The model that the endpoint will be asked for, after rewrites. */
  model: string
  prefix: PrefixHasher | undefined
  /** Bytes of the prompt, as far as they are known. */
  promptBytes: number
  /** Bytes of the whole prompt, as estimated by the body's length where only its beginning was read. Default: `promptBytes`. */
  promptSize?: number
  /** Entries of the subset hint; undefined = all endpoints. */
  subset: readonly string[] | undefined
  /** `Date.now()`, the clock of scrapes. */
  nowMs: number
  /** For plug-ins that look at them. */
  headers?: HeaderView | undefined
  /** Tokens that the client lets the answer have at most, where a plug-in asks for it; undefined: it says nothing. */
  outputCap?: number | undefined
  /** The prompt has images, video or audio; known where a plug-in asks for it (`PromptNeeds`). */
  hasMedia?: boolean
  /** Hashes of these, where a plug-in asks for them. */
  media?: MediaHashes | undefined
  /** The prompt's tokens as the engine has them, where they are known. */
  tokens?: TokenIds | undefined
  /** Prompts with different salts share no cache. Default: empty. */
  salt?: string
  /** Told what the pick sees and does; for those few of which it is wanted. */
  record?: PickRecord | undefined
  /** Told when its steps begin and end; for those few of which it is wanted. */
  times?: PickTimes | undefined
  /** Known where the pool has admitters. Default: 0. */
  priority?: number
  /** Where the burst that the request is part of goes (./bursts/burst-window.ts). Default, or −1: anywhere. */
  burstSlot?: number
  burstGeneration?: number
  /** Only an endpoint that has the beginning of the prompt in its cache will do. */
  onlyCached?: boolean
}

/** Endpoints that one scheduling profile chose, the preferred one first: `slots[0, count)`. Generations are needed to release. */
export class Placement {
  count = 0
  readonly slots = new Int32Array(MAX_ENDPOINTS)
  readonly generations = new Int32Array(MAX_ENDPOINTS)
  readonly scores = new Float64Array(MAX_ENDPOINTS)
  /** Tokens that the request adds to those in flight at the first of them, where they are counted. */
  tokens = 0
  /** Those among them that are an estimate of the answer's. */
  answerTokens = 0
  /** The scorer that decided, `only-endpoint`, or `random`. */
  reason = ''
}

/** Pooled by the caller; valid until its next pick. The placement is that of the primary profile: where the request goes. */
export class PickResult extends Placement {
  /** Where another replica computes the prompt first; at most one. Empty: the request's own replica does. */
  readonly prefill = new Placement()
  /** Where images, video and audio are encoded first. */
  readonly encode = new Placement()

  /** Nothing was chosen. */
  clear(): void {
    this.count = 0
    this.prefill.count = 0
    this.encode.count = 0
  }

  /** Replicas other than the request's own have a part in it. */
  get isStaged(): boolean {
    return this.prefill.count > 0 || this.encode.count > 0
  }
}
