/**
 * The part of the data-path plan that describes one InferencePool: what `Pool` (./pool.ts) runs. Plain, structured-cloneable
 * data; `src/pipeline/plan.ts` refers to it.
 */

export interface PoolPlan {
  /** `namespace/name` */
  readonly name: string
  readonly cluster: string
  readonly endpoints: readonly EndpointPlan[]
  /** No endpoint ready: `true` answers nothing and lets Envoy balance, `false` is 503. */
  readonly failOpen: boolean
  /** 404 for a model that no endpoint lists (once every endpoint has listed its models). */
  readonly rejectUnknownModels: boolean
  /** Exact `model` → weighted replacements; the key `""` is the generic rule. */
  readonly rewrites: readonly RewritePlan[]
  readonly scheduling: SchedulingPlan
  readonly scrape: ScrapePlan
}

export interface EndpointPlan {
  /** `ip:port`, IPv6 in brackets: the exact text that Envoy's EDS has. */
  readonly address: string
  readonly labels: Readonly<Record<string, string>>
}

export interface RewritePlan {
  /** Absent: generic, applies to any model. */
  readonly model?: string
  readonly targets: readonly { readonly model: string; readonly weight: number }[]
}

/** A plug-in of an EndpointPickerConfig (./scheduling/plugins/registry.ts). */
export interface PluginPlan {
  readonly type: string
  readonly parameters: Readonly<Record<string, unknown>>
}

export interface ScorerPlan {
  readonly type: string
  readonly weight: number
  /** Present: a scorer of an EndpointPickerConfig, with llm-d's formula. Absent: our own scorer of this name. */
  readonly parameters?: Readonly<Record<string, unknown>>
}

export interface SchedulingPlan {
  readonly scorers: readonly ScorerPlan[]
  /** In this order, before the scorers. Default: none. */
  readonly filters?: readonly PluginPlan[]
  /** Default: the best score. */
  readonly picker?: PluginPlan
  /** Length of the ordered endpoint list (the first is preferred, the others are for retries). */
  readonly maxEndpoints: number
  /** Requests waiting per endpoint from which the endpoint counts as saturated; all saturated: 429. 0 = never. */
  readonly maxQueue: number
  /** Bytes of prompt per block of the prefix index. */
  readonly prefixBlockBytes: number
  /** Bytes of the prompt that the prefix index looks at. Default: the limit of the configuration. */
  readonly prefixBytes?: number
  /** Blocks remembered per endpoint. */
  readonly prefixBlocksPerEndpoint: number
}

export interface ScrapePlan {
  readonly path: string
  readonly intervalMs: number
  readonly timeoutMs: number
  /** An endpoint whose last good scrape is older is stale: its load is taken as unknown (the worst seen). */
  readonly staleMs: number
  /** How often `/v1/models` is read. */
  readonly modelsIntervalMs: number
}
