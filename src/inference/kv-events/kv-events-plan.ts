/** How the precise prefix cache of a pool is kept (epp.md §3.8). Plain data, part of `SchedulingPlan`. */

export interface KvEventsPlan {
  /** Name of the producer: scorers ask for its answer by it. */
  readonly producer: string
  /** Tokens a block, as the share of a prompt is counted: an incomplete last block counts for nothing. */
  readonly blockTokens: number
  readonly hashSeed: string
  /** Best first; at least one, at most four. */
  readonly tiers: readonly { readonly name: string; readonly weight: number }[]
  /** Of everything that is kept of the engines' blocks. */
  readonly maxBytes: number
  /** Keys in the index at most. */
  readonly maxKeys: number
  readonly topicFilter: string
  /** Where an endpoint publishes: this port + its rank, or what the endpoint's label says. */
  readonly socketPort: number
  /** The same for replays; 0 = there are none. */
  readonly replayPort: number
  /** Only of endpoints with all of these labels; absent: of all. */
  readonly labels?: readonly LabelRequirement[]
  /** How long an endpoint is believed to get the blocks of a request that was sent there, ms; 0 = not at all. */
  readonly speculativeTtlMs: number
  /** Where prompts that come as text are turned into tokens; absent: nowhere, the approximate index has to do. */
  readonly render?: RenderPlan
}

export interface LabelRequirement {
  readonly key: string
  readonly operator: 'equals' | 'differs' | 'exists' | 'absent'
  readonly value: string
}

export interface RenderPlan {
  /** Without a path's slash at the end. */
  readonly url: string
  readonly timeoutMs: number
  /** What the server that renders calls the model; absent: as the request does. */
  readonly model?: string
  /** Requests under way at once, of each thread. */
  readonly maxConcurrent: number
}

/** Labels of an endpoint that say where it publishes, instead of the plan's ports. */
export const EVENTS_PORT_LABEL = 'signalbox.dev/kv-events-port'
export const REPLAY_PORT_LABEL = 'signalbox.dev/kv-replay-port'
