import type { MediaTokensPlan } from '../media-tokens.ts'
import type { PickRequest, PickResult, PickStatus, Placement } from '../pick.ts'

/** Runs the profiles of a pool for the request that is being placed. */
export interface ProfileRunner {
  /**
   * Filters, scores and picks by the profile with this number. `peer` is the slot of the endpoint that an earlier profile chose for the same
   * request, for plug-ins that keep the two close; −1 = none. `out` is only valid with OK.
   */
  run(profile: number, peer: number, out: Placement): PickStatus
  /** Bytes at the beginning of the prompt that this slot's endpoint presumably has in its cache. */
  cachedBytes(slot: number): number
}

/** Says which profiles a request runs through, and what their choices mean. One object a pool and thread; must not allocate. */
export interface ProfileHandler {
  /** The name in configuration. */
  readonly type: string
  /** The request goes to this port of the chosen endpoint's host, and a header tells the endpoint's own address. */
  readonly primaryPort?: number
  /** What it needs to know of prompts. */
  readonly needs: PromptNeeds
  /** Fills `out`, which is empty, when it returns OK. */
  pick(runner: ProfileRunner, request: PickRequest, out: PickResult): PickStatus
}

/** What must be known of a prompt before its request is placed. */
export interface PromptNeeds {
  /** What replicas have of it in their caches. */
  readonly prefix: boolean
  /** Whether it is at least so long, beyond what the prefix index looks at. */
  readonly bytes: number
  /** Whether it has images, video or audio. */
  readonly media: boolean
  /** Which ones: their hashes, for which it is read to its end. Default: no. */
  readonly mediaHashes?: boolean
  /** How many tokens images and videos have; absent: nobody asks. */
  readonly mediaTokens?: MediaTokensPlan | undefined
  /** How many tokens the client lets the answer have. Default: no. */
  readonly outputCap?: boolean
}

export const NO_NEEDS: PromptNeeds = { prefix: false, bytes: 0, media: false }

/** Whether a further replica takes part in a request. Must not allocate. */
export interface StageDecider {
  /** The name in configuration. */
  readonly type: string
  readonly needs: PromptNeeds
  /** `cachedBytes`: what the request's own replica has of the prompt; 0 where that replica is not chosen yet. */
  disaggregates(request: PickRequest, cachedBytes: number): boolean
}

/** What a profile handler is made from. */
export interface HandlerParts {
  /** Number of the profile of this name, −1 = there is none. */
  profile(name: string): number
  /** Number of profiles. */
  readonly profiles: number
  /** @throws UnknownPluginError for a name that is not in the plan */
  decider(name: string): StageDecider
}
