/**
 * The data-path plan: the half of `compile`'s result that the ext_proc service runs. Plain, structured-cloneable data with
 * content-derived ids; each thread links it to plug-ins by name. The other half, the Envoy configuration, is compiled from the
 * same entries, so that body modes and routes cannot disagree with what is decided here.
 */
import type { MediaTokensPlan } from '../inference/media-tokens.ts'
import type { PoolPlan } from '../inference/pool-plan.ts'

/** How a route's request body reaches us (design.md, "Look, don't carry"). */
export type BodyNeed = 'none' | 'look' | 'full-duplex'

/** When the model fact is final: at the first `model` seen, or only when the whole body was (a duplicate may follow). */
export type ModelFact = 'none' | 'first' | 'whole'

export interface Plan {
  /** Hash of the content. */
  readonly version: string
  readonly routing: RoutingPlan
  readonly entries: readonly EntryPlan[]
  readonly pools: readonly PoolPlan[]
  /** Id of the entry for streams that name none (gateways whose configuration is not ours). */
  readonly defaultEntry?: string
  /** Pools of gateways that we don't configure, where there may be several: how their streams are told apart. */
  readonly gatewayPools?: readonly GatewayPoolPlan[]
  /** Entries of filters of ours in such gateways. */
  readonly plugs?: PlugPlan
}

/** Ids of entries by what a filter of ours in somebody else's gateway is there for (`PLUG_METADATA`). */
export interface PlugPlan {
  /** Tells the model in a header; the gateway's routes do the rest. */
  readonly route: string
  /** Chooses pool and endpoint by the model. */
  readonly pick?: string
}

/** A pool that gateways reach through us, by whatever tells them apart. */
export interface GatewayPoolPlan {
  /** Id of its entry. */
  readonly entry: string
  /** `namespace/name` */
  readonly pool: string
  /** `name.namespace` of the Service by which the pool refers to us, and its port. Other pools may have the same. */
  readonly service?: string
  readonly port?: number
}

/** Names on the wire, the same for all entries. */
export interface RoutingPlan {
  /** Header that carries the model, lower case. Default `x-gateway-model-name`. */
  readonly modelHeader: string
  /** Header that carries the base model, lower case. Default `x-gateway-base-model-name`. */
  readonly baseModelHeader: string
  /** Adapter or base model → base model (the BBR ConfigMaps' map). */
  readonly baseModels: Readonly<Record<string, string>>
}

/** gRPC initial metadata by which Envoy's route tells us its entry (`ExtProcOverrides.grpc_initial_metadata`). */
export const ENTRY_METADATA = 'x-signalbox-entry'
/** gRPC initial metadata of a filter of ours in a gateway that we don't configure: a key of `PlugPlan`. */
export const PLUG_METADATA = 'x-signalbox-plug'
/** Header set by our answer; target routes match it exactly, so that Envoy goes where the plan went. Clients' copies are removed. */
export const TARGET_HEADER = 'x-signalbox-target'

/** Key of the decision record by which Envoy knows an answer of ours from one of its own. */
export const ANSWERED_RECORD = 'answered'

/** A group of routes behind one entry route of ours: same virtual host, same path match. */
export interface EntryPlan {
  /** `name@hash`: content-addressed, so that an Envoy with the previous configuration still finds the previous plan. */
  readonly id: string
  /** For people: `gateway/listener/host/path`. */
  readonly name: string
  /**
   * `fleet`: Envoys that we configure; the answer names the target route and carries the decision record as metadata.
   * `gateway`: somebody else's data plane (Istio, an InferencePool); the answer names the endpoint in header and metadata.
   */
  readonly attach: 'fleet' | 'gateway'
  /** Stay on the stream until the response ends (in-flight counts by response); else it is closed as soon as nothing is needed. */
  readonly followResponse: boolean
  readonly body: BodyNeed
  readonly model: ModelFact
  /** Bytes of the prompt that the prefix fact needs; 0 = not needed. */
  readonly prefixBytes: number
  /** Whether the prompt has images, video or audio is needed. */
  readonly media?: true
  /** Which ones is needed: bodies are read to the end of their prompts. */
  readonly mediaHashes?: true
  /** Images and videos of prompts count by the tokens that they have, as they are estimated: bodies are read to the end of their prompts. */
  readonly mediaTokens?: MediaTokensPlan
  /** How many tokens the client lets the answer have is needed: bodies are read on for it, up to 1 MiB. */
  readonly outputCap?: true
  /** Cap of the request body; beyond it 413. */
  readonly maxBodyBytes: number
  /**
   * Envoy keeps a body for retries up to this many bytes (the target routes' `request_body_buffer_limit`); 0 = no target route keeps
   * any. Why that matters: `Decider.retryBufferBytes`.
   */
  readonly retryBufferBytes: number
  /** The filter's `message_timeout`; half of it without a decision sends one override. 0 = unknown, send none. */
  readonly messageTimeoutMs: number
  /** Our deadline for an upload: beyond it 408. The longer `message_timeout` that we ask for is as long. */
  readonly uploadTimeoutMs: number
  /** A body that does not grow for so long before the decision: 408. It is also what ends requests with trailers and nothing else. */
  readonly uploadIdleMs: number
  /**
   * How much longer the data plane waits for a decision while a request stands in a pool's queue, ms: no request waits longer. Absent: it
   * is not known, or nothing waits.
   */
  readonly maxWaitMs?: number
  /** First match wins. No match: 404 (`model_not_found` when a model condition was what failed). */
  readonly rules: readonly RulePlan[]
  /** Answer `GET /v1/models` ourselves with the union of the models of the pools behind this entry. */
  readonly listModels: boolean
  /** The subset hint of the gateway is passed over. Default: it is obeyed. */
  readonly ignoreSubset?: boolean
}

/** One HTTPRoute match with its targets. All conditions must hold. */
export interface RulePlan {
  /** For people and logs: `namespace/route[rule]`. */
  readonly name: string
  readonly path?: { readonly type: 'exact' | 'prefix'; readonly value: string }
  readonly method?: string
  readonly headers: readonly ValueMatch[]
  readonly query: readonly ValueMatch[]
  /** Exact or regular-expression condition on the `model` of the body. */
  readonly model?: ValueMatch
  /** The same on the base model. */
  readonly baseModel?: ValueMatch
  /** Weighted; empty = 500 (Gateway API: no valid backend). */
  readonly targets: readonly TargetPlan[]
}

export interface ValueMatch {
  /** Lower-case header name or query parameter. */
  readonly name: string
  readonly type: 'exact' | 'regex'
  readonly value: string
}

export interface TargetPlan {
  /** Value of `x-signalbox-target` for this target: stable, unique in the route configuration. */
  readonly id: string
  /** The same for the target's route without retries and mirrors; absent: `id` has none. */
  readonly unretriedId?: string
  readonly weight: number
  /** Envoy's cluster, for logs. */
  readonly cluster: string
  /** `namespace/name` of the InferencePool to pick from; absent: the cluster balances by itself. */
  readonly pool?: string
}
