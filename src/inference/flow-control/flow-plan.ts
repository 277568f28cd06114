/**
 * What of an EndpointPickerConfig's `flowControl` the data path runs (epp.md §2.1, §3.10). Plain, structured-cloneable data; part of the
 * pool's `SchedulingPlan`.
 */
import type { PluginPlan } from '../pool-plan.ts'

export interface FlowControlPlan {
  /** Caps of what waits in all bands and threads; absent: none. */
  readonly maxBytes?: number
  readonly maxRequests?: number
  /** Longest wait, ms; 0 = no limit but the request's own. */
  readonly requestTtlMs: number
  /** The same while the pool has no endpoint: scale from zero. */
  readonly noEndpointTtlMs: number
  /** Every priority that a request may have, highest first. */
  readonly bands: readonly BandPlan[]
  /** Of priorities that have no band of their own. */
  readonly defaultBand: BandTemplate
  readonly defaultNegativeBand: BandTemplate
  readonly usageLimit: PluginPlan
  readonly saturation: PluginPlan
  /** Requests of negative priority are called back while others wait. Default: nothing is. */
  readonly evicts?: true
}

export interface BandTemplate {
  readonly maxBytes: number
  readonly maxRequests: number
  readonly fairness: PluginPlan
  readonly ordering: PluginPlan
}

export interface BandPlan extends BandTemplate {
  readonly priority: number
}

/** Admission where flow control is off: it only ever refuses requests of negative priority. */
export interface AdmissionPlan {
  readonly saturation: PluginPlan
  /** Further plug-ins that may refuse. */
  readonly admitters: readonly PluginPlan[]
}
