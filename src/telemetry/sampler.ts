/** Which requests are traced: OpenTelemetry's samplers, as plain data for every thread. */
export interface SamplerPlan {
  /** Whoever sent the request has decided for it; `share` is for those that come without a trace. */
  readonly parentBased: boolean
  /** 0 … 1 */
  readonly share: number
}

/** By a parent's decision (undefined: there is none) and a number in [0, 1). */
export function isSampled({ parentBased, share }: SamplerPlan, parent: boolean | undefined, random: number): boolean {
  return parentBased && parent !== undefined ? parent : random < share
}
