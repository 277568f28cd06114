import type { FairnessPolicy, Flow } from './fairness-policy.ts'
import type { FlowEntry } from './flow-entry.ts'

export interface ProgramAwareParameters {
  readonly lasWeightService: number
  readonly lasWeightHeadWait: number
  readonly lasHalfLifeSeconds: number
  readonly evictionTtlSeconds: number
  readonly evictionSweepSeconds: number
}

/** What a program has got, by tokens; it fades by half every half-life. */
interface Program {
  service: number
  /** When `service` was brought up to date, and when the program was last served, ms. */
  fadedAt: number
  servedAt: number
}

/** Programs are named by clients: with more, those that were served longest ago are forgotten. */
const MAX_PROGRAMS = 10_000
const BYTES_PER_TOKEN = 4
/** An answer's tokens cost the engine more than a prompt's. */
const OUTPUT_WEIGHT = 2

/** Tokens of a prompt as they are counted when a request is sent on. */
function promptEstimate(bytes: number): number {
  return Math.ceil(bytes / BYTES_PER_TOKEN)
}

/** What `used` is to be told of a request; `estimatedBytes`: of its prompt, where it has waited, else 0. */
export function serviceOf(input: number, output: number, estimatedBytes: number): number {
  return Math.max(0, input) + OUTPUT_WEIGHT * Math.max(0, output) - promptEstimate(estimatedBytes)
}

/**
 * Least attained service: whoever got the fewest tokens of late goes first, and the longer its head has waited the sooner
 * (`lasWeightService`, `lasWeightHeadWait`; both terms are shares of the largest among the flows that wait). Prompts are counted when
 * they are sent on, four bytes a token; when the response ends they are set right, and those of the answer are added.
 */
export class ProgramAwareFairness implements FairnessPolicy {
  readonly #parameters: ProgramAwareParameters
  readonly #flows = new Set<Flow>()
  readonly #programs = new Map<string, Program>()
  #sweptAt = 0

  constructor(parameters: ProgramAwareParameters) {
    this.#parameters = parameters
  }

  get programs(): number {
    return this.#programs.size
  }

  flowOf(fairnessId: string): string {
    return fairnessId
  }

  began(flow: Flow): void {
    this.#flows.add(flow)
  }

  ended(flow: Flow): void {
    this.#flows.delete(flow)
  }

  next(nowMs: number): Flow {
    const { lasWeightService, lasWeightHeadWait } = this.#parameters
    let mostService = 0
    let longestWait = 0
    for (const flow of this.#flows) {
      mostService = Math.max(mostService, this.#serviceOf(flow.id, nowMs))
      longestWait = Math.max(longestWait, nowMs - flow.entries.head!.arrivedAt)
    }
    let best: Flow | undefined
    let bestScore = Number.NEGATIVE_INFINITY
    for (const flow of this.#flows) {
      const service = mostService === 0 ? 0 : this.#serviceOf(flow.id, nowMs) / mostService
      const wait = longestWait === 0 ? 0 : (nowMs - flow.entries.head!.arrivedAt) / longestWait
      const score = lasWeightService * (1 - service) + lasWeightHeadWait * wait
      if (score <= bestScore) continue
      best = flow
      bestScore = score
    }
    return best!
  }

  served(flow: Flow, entry: FlowEntry, nowMs: number): void {
    this.used(flow.id, promptEstimate(entry.bytes), nowMs)
  }

  used(id: string, tokens: number, nowMs: number): void {
    const service = Math.max(0, this.#serviceOf(id, nowMs) + tokens)
    // Put anew, so that the map is in the order of service.
    this.#programs.delete(id)
    this.#programs.set(id, { service, fadedAt: nowMs, servedAt: nowMs })
    this.#sweep(nowMs)
  }

  #serviceOf(id: string, nowMs: number): number {
    const program = this.#programs.get(id)
    if (program === undefined) return 0
    const halfLives = (nowMs - program.fadedAt) / 1000 / this.#parameters.lasHalfLifeSeconds
    program.service *= 2 ** -halfLives
    program.fadedAt = nowMs
    return program.service
  }

  #sweep(nowMs: number): void {
    const { evictionTtlSeconds, evictionSweepSeconds } = this.#parameters
    for (const id of this.#programs.keys()) {
      if (this.#programs.size <= MAX_PROGRAMS) break
      this.#programs.delete(id)
    }
    if (nowMs - this.#sweptAt < evictionSweepSeconds * 1000) return
    this.#sweptAt = nowMs
    for (const [id, { servedAt }] of this.#programs) {
      if (nowMs - servedAt < evictionTtlSeconds * 1000) break
      this.#programs.delete(id)
    }
  }
}
