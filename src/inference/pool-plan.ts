/**
 * The part of the data-path plan that describes one InferencePool: what `Pool` (./pool.ts) runs. Plain, structured-cloneable
 * data; `src/pipeline/plan.ts` refers to it.
 */
import type { AdmissionPlan, FlowControlPlan } from './flow-control/flow-plan.ts'
import type { BurstPlan } from './bursts/burst-plan.ts'
import type { MediaTokensPlan } from './media-tokens.ts'
import type { KvEventsPlan } from './kv-events/kv-events-plan.ts'
import type { UsageReportPlan } from './usage-report.ts'

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
  /** Priorities by the names that requests give (InferenceObjectives); absent: there are none, and all have priority 0. */
  readonly objectives?: Readonly<Record<string, number>>
  readonly scheduling: SchedulingPlan
  readonly scrape: ScrapePlan
  /** Absent: none of its own. */
  readonly limits?: PoolLimits
}

export interface PoolLimits {
  /** Requests on their way. */
  readonly inFlight?: number
  /** Bytes of bodies that are held before they are decided, by all threads together. */
  readonly heldBytes?: number
}

export interface EndpointPlan {
  /** `ip:port`, IPv6 in brackets: the exact text that Envoy's EDS has. */
  readonly address: string
  readonly labels: Readonly<Record<string, string>>
  /** Name of its pod, for metrics. Absent: it is none. */
  readonly pod?: string
  /** Place of its port among the pool's. */
  readonly rank?: number
}

export interface RewritePlan {
  /** Name of the InferenceModelRewrite, for metrics. */
  readonly name?: string
  /** Absent: generic, applies to any model. */
  readonly model?: string
  readonly targets: readonly { readonly model: string; readonly weight: number }[]
}

/** A plug-in of an EndpointPickerConfig (./scheduling/plugins/registry.ts). */
export interface PluginPlan {
  readonly type: string
  readonly parameters: Readonly<Record<string, unknown>>
}

export interface NamedPluginPlan extends PluginPlan {
  readonly name: string
}

/** An approximate prefix cache beside the pool's own, for plug-ins that name it. */
export interface PrefixCachePlan {
  readonly name: string
  /** Blocks of the pool's own index that make one of this. */
  readonly stride: number
  readonly blocksPerEndpoint: number
  /** As `SchedulingPlan.prefixAutoTune`. */
  readonly autoTune?: boolean
  /** Bytes of the prompt that it looks at. Default: as the pool's own. */
  readonly bytes?: number
}

/** A header by which clients keep a session. */
export interface SessionHeaderPlan {
  /** In lower case. */
  readonly header: string
  /** Whose endpoint it names. */
  readonly of: 'primary' | 'prefill' | 'encode'
}

interface LabelHeaderPlan {
  /** In lower case. */
  readonly header: string
  readonly label: string
}

export interface ScorerPlan {
  readonly type: string
  readonly weight: number
  /** Present: a scorer of an EndpointPickerConfig, with llm-d's formula. Absent: our own scorer of this name. */
  readonly parameters?: Readonly<Record<string, unknown>>
}

/** How one choice among a pool's endpoints is made. */
export interface ProfilePlan {
  readonly scorers: readonly ScorerPlan[]
  /** In this order, before the scorers. Default: none. */
  readonly filters?: readonly PluginPlan[]
  /** Default: the best score. */
  readonly picker?: PluginPlan
  /** Length of the ordered endpoint list (the first is preferred, the others are for retries). */
  readonly maxEndpoints: number
}

export interface NamedProfilePlan extends ProfilePlan {
  readonly name: string
}

/** A profile handler (./scheduling/profile-handler.ts), and the deciders that its parameters name. */
export interface HandlerPlan extends PluginPlan {
  readonly deciders: Readonly<Record<string, PluginPlan>>
}

/** The profile itself is the primary one: it chooses the endpoint that the request goes to. */
export interface SchedulingPlan extends ProfilePlan {
  /** Responses tell which endpoint the gateway says has served them. Default: they don't. */
  readonly tellsServed?: boolean
  /** Responses tell clients which endpoints their session has. Default: they don't. */
  readonly sessionHeaders?: readonly SessionHeaderPlan[]
  /** Responses tell clients labels of the endpoint that has their request. Default: they don't. */
  readonly labelHeaders?: readonly LabelHeaderPlan[]
  /** Who leaves out endpoints for the whole request, before all profiles. Default: nobody. */
  readonly screeners?: readonly PluginPlan[]
  /** Users' own, told of what becomes of requests. Default: nobody is. */
  readonly hooks?: readonly PluginPlan[]
  /** Name of the primary profile. Default: `default`. */
  readonly profileName?: string
  /** Further profiles; the handler runs them. */
  readonly profiles?: readonly NamedProfilePlan[]
  /** Absent: every request runs through the primary profile, and that is all. */
  readonly handler?: HandlerPlan
  /** Types of the parsers that read requests (src/llm/request-apis.ts). Default: gateways' requests are read by llm-d's default ones, our fleet's by none. */
  readonly parsers?: readonly string[]
  /** Headers that name whom a request without a fairness id belongs to, lower case. Default: none. */
  readonly agentHeaders?: readonly string[]
  /** Requests wait in queues while the pool is saturated. Default: they are sent on at once. */
  readonly flowControl?: FlowControlPlan
  /** Where there is no flow control: who is refused while the pool is saturated. Default: nobody. */
  readonly admission?: AdmissionPlan
  /** What the gateway is told of a request's usage when its response ends. Default: nothing. */
  readonly usageReports?: readonly UsageReportPlan[]
  /** Who may refuse a request of negative priority by what is known of its candidates. Default: nobody. */
  readonly admitters?: readonly PluginPlan[]
  /** What replicas hold of prompts is followed by their KV cache events. Default: it is only guessed, by what they were sent. */
  readonly kvEvents?: KvEventsPlan
  /** Requests wait a moment for others with their prompt. Default: they don't. */
  readonly bursts?: BurstPlan
  /** Requests waiting per endpoint from which the endpoint counts as saturated; all saturated: 429. 0 = never. */
  readonly maxQueue: number
  /** Data producers, in the order in which they run; none that only configures what is said elsewhere. Default: none. */
  readonly producers?: readonly NamedPluginPlan[]
  /** Default: none. */
  readonly prefixCaches?: readonly PrefixCachePlan[]
  /** How many tokens images and videos of prompts have. Default: as many as their URL or base64. */
  readonly mediaTokens?: MediaTokensPlan
  /** Bytes of prompt per block of the prefix index. */
  readonly prefixBlockBytes: number
  /** Bytes of the prompt that the prefix index looks at. Default: the limit of the configuration. */
  readonly prefixBytes?: number
  /** Blocks remembered per endpoint. */
  readonly prefixBlocksPerEndpoint: number
  /**
   * Of an endpoint whose metrics tell its blocks' number and size as many are remembered as those hold, and matches end with a whole block of
   * its own. Default: sizes are those of the plan for all.
   */
  readonly prefixAutoTune?: boolean
}

export interface ScrapePlan {
  readonly path: string
  readonly intervalMs: number
  readonly timeoutMs: number
  /** An endpoint whose last good scrape is older is stale: its load is taken as unknown (the worst seen). */
  readonly staleMs: number
  /** How often `/v1/models` is read. */
  readonly modelsIntervalMs: number
  /** Replicas without load are asked this seldom; absent, or less than `intervalMs`: as often as others. */
  readonly idleIntervalMs?: number
  /** Nothing is read of any endpoint. */
  readonly off?: boolean
  /** Default: http. */
  readonly scheme?: 'http' | 'https'
  /** Default: the endpoint's own. */
  readonly port?: number
  readonly tls?: ScrapeTlsPlan
  /** How to read pages. Default: as each engine's own, by label (./engines.ts). */
  readonly engines?: EnginesPlan
  /** What lists of models are read from, where that differs; `false`: nobody reads lists. */
  readonly models?: (Omit<SourcePlan, 'intervalMs'> & { readonly intervalMs?: number }) | false
  /** Further pages, of exporters beside the engine. */
  readonly exporters?: readonly ExporterPlan[]
  /** Names of values beside the load, at most `ATTRIBUTES_PER_ENDPOINT`; `EndpointTable.attributeIndex` finds them. */
  readonly attributes?: readonly string[]
  /** Load reports in response headers are read too. */
  readonly orca?: boolean
  /** Times between tokens are read and learned from. Default: they aren't. */
  readonly tokenTimes?: boolean
}

/** Files are read when the first connection is opened, and again after changes. */
export interface ScrapeTlsPlan {
  readonly insecureSkipVerify: boolean
  readonly caCertPath?: string
  readonly certPath?: string
  readonly keyPath?: string
}

interface SourcePlan {
  readonly scheme: 'http' | 'https'
  /** Default: the endpoint's own. */
  readonly port?: number
  readonly path: string
  readonly intervalMs: number
  readonly tls?: ScrapeTlsPlan
}

export interface ExporterPlan extends SourcePlan {
  readonly metrics: readonly CustomMetricPlan[]
  /** A user's own data source extracts them; their names are those of the attributes. */
  readonly own?: PluginPlan
}

/** A family of a metrics page, and labels that its series must have (they may have others). */
export interface MetricSpec {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
}

export interface CustomMetricPlan {
  /** Name of the attribute. */
  readonly attribute: string
  readonly spec: MetricSpec
  /** The attribute is the value times this. Default: 1. */
  readonly scale?: number
  /** Of several series: their sum (default), or the largest. */
  readonly of?: 'sum' | 'max'
}

export interface EnginesPlan {
  /** Labels of endpoints that name the engine; the first that is there counts. */
  readonly labelKeys: readonly string[]
  /** Name of the engine of endpoints without such a label, or with an unknown one. */
  readonly default: string
  readonly engines: readonly EnginePlan[]
}

/** Where an engine's page has what. An absent signal is not looked for, and is 0. */
export interface EnginePlan {
  readonly name: string
  readonly waiting?: MetricSpec
  readonly running?: MetricSpec
  readonly kvUsage?: MetricSpec
  /** Looked at where `kvUsage` is not on the page. */
  readonly oldKvUsage?: MetricSpec
  readonly lora?: MetricSpec
  /** A family whose labels tell of the cache. */
  readonly cacheInfo?: MetricSpec
  readonly blockSizeLabel?: string
  readonly blockCountLabel?: string
  readonly blockSize?: MetricSpec
  readonly blockCount?: MetricSpec
  /** Counters since the engine's start, for what is learned of it. */
  readonly firstTokens?: MetricSpec
  readonly firstTokenSeconds?: MetricSpec
  readonly promptTokens?: MetricSpec
  readonly cachedTokens?: MetricSpec
  readonly queriedTokens?: MetricSpec
  readonly ended?: MetricSpec
  /** Times between tokens: their number and their sum, by the names that the engine's versions have; read with `ScrapePlan.tokenTimes`. */
  readonly tokenTimes?: readonly { readonly count: MetricSpec; readonly seconds: MetricSpec }[]
  readonly custom?: readonly CustomMetricPlan[]
}
