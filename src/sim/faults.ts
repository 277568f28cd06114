import { z } from 'zod'

/** What each failure switch may be. Durations are milliseconds on the wall. */
const switches = {
  /** The port refuses connections, open ones are cut. */
  refuseConnections: z.boolean(),
  /** Requests are read and never answered. */
  hang: z.boolean(),
  /** Share of the inference requests that are answered with 503, 0 to 1. */
  errorShare: z.number().min(0).max(1),
  /** The connection is cut after so many generated tokens. */
  dieAfterTokens: z.int().min(0),
  /** `/metrics` answers this much later. */
  metricsDelayMs: z.number().min(0).max(3_600_000),
  /** `/metrics` is a 500, nothing at all, cut in the middle of a line, or not a metrics page. */
  brokenMetrics: z.enum(['status', 'empty', 'truncated', 'garbage']),
  /** `/health` answers this much later. */
  healthDelayMs: z.number().min(0).max(3_600_000),
  /** `/health` answers 503. */
  unhealthy: z.boolean(),
  /** The server ends at once, cutting every connection, with this exit status. */
  exit: z.int().min(0).max(255),
}

/** The failure switches of one simulator. An absent switch is off. */
export const faultsSchema = z.strictObject(switches).partial()
export type Faults = z.infer<typeof faultsSchema>

const off = Object.fromEntries(Object.entries(switches).map(([name, schema]) => [name, schema.nullable()])) as {
  [Name in keyof typeof switches]: z.ZodNullable<(typeof switches)[Name]>
}

/** A change of switches: null is off, an absent one stays as it is. */
export const faultChangeFields = z
  .strictObject({
    ...off,
    /** After so many milliseconds the switches named here are off again. */
    durationMs: z.int().min(1).max(86_400_000),
  })
  .partial()

/** What `POST /sim/fault` takes. */
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
    const { durationMs, ...named } = change
    this.#set(changed(this.#current, named))
    if (durationMs === undefined) return
    const off = Object.fromEntries(Object.keys(named).map(name => [name, null]))
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      this.#set(changed(this.#current, off))
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

/** The switches after a change. */
export function changed(faults: Faults, change: FaultChange): Faults {
  const { durationMs: _, ...named } = change
  return Object.fromEntries(Object.entries({ ...faults, ...named }).filter(([, value]) => value != null))
}
