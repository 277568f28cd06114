import { z } from 'zod'

/** The failure switches of one simulator. An absent switch is off. Durations are milliseconds on the wall. */
export const faultsSchema = z.strictObject({
  /** The port refuses connections, open ones are cut. */
  refuseConnections: z.boolean().optional(),
  /** Requests are read and never answered. */
  hang: z.boolean().optional(),
  /** Share of the inference requests that are answered with 503, 0 to 1. */
  errorShare: z.number().min(0).max(1).optional(),
  /** The connection is cut after so many generated tokens. */
  dieAfterTokens: z.int().min(0).optional(),
  /** `/metrics` answers this much later. */
  metricsDelayMs: z.number().min(0).max(3_600_000).optional(),
  /** `/metrics` is a 500, nothing at all, cut in the middle of a line, or not a metrics page. */
  brokenMetrics: z.enum(['status', 'empty', 'truncated', 'garbage']).optional(),
  /** `/health` answers this much later. */
  healthDelayMs: z.number().min(0).max(3_600_000).optional(),
  /** `/health` answers 503. */
  unhealthy: z.boolean().optional(),
  /** The server ends at once, cutting every connection, with this exit status. */
  exit: z.int().min(0).max(255).optional(),
})
export type Faults = z.infer<typeof faultsSchema>

/** What `POST /sim/fault` takes: switches to change, and for how long. */
export const faultChangeFields = faultsSchema.extend({
  /** After so many milliseconds the switches named here are off again. */
  durationMs: z.int().min(1).max(86_400_000).optional(),
})
export const faultChangeSchema = faultChangeFields.refine(
  change => change.refuseConnections !== true || change.durationMs !== undefined,
  'refuseConnections needs durationMs: nobody could reach the server to switch it off',
)
export type FaultChange = z.infer<typeof faultChangeFields>

/** Keeps the switches and tells who listens. */
export class FaultSwitches {
  #current: Faults
  readonly #onChange: (current: Faults) => void
  readonly #timers = new Set<NodeJS.Timeout>()

  constructor(initial: Faults, onChange: (current: Faults) => void) {
    this.#current = initial
    this.#onChange = onChange
  }

  get current(): Faults {
    return this.#current
  }

  /** Sets the switches named in `change` and leaves the others. */
  apply(change: FaultChange): void {
    const { durationMs, ...faults } = change
    this.#set({ ...this.#current, ...faults })
    if (durationMs === undefined) return
    const off = Object.fromEntries(Object.keys(faults).map(key => [key, undefined]))
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      this.#set({ ...this.#current, ...off })
    }, durationMs)
    this.#timers.add(timer)
  }

  /** Everything off. */
  clear(): void {
    this.stopTimers()
    this.#set({})
  }

  stopTimers(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
  }

  #set(faults: Faults): void {
    this.#current = faults
    this.#onChange(faults)
  }
}
