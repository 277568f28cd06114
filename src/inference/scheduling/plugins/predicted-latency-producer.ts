import { z } from 'zod'
import { object } from '../../../config/kinds/common.ts'
import { PREFILL_BASE_TOKENS } from '../../prefill-samples.ts'
import type { EndpointTable } from '../../endpoint-table.ts'
import type { Candidates } from '../candidates.ts'
import { PrefillBacklog } from '../prefill-backlog.ts'
import type { Producer } from '../producer.ts'
import type { ProducerType } from './plugin-type.ts'

const SIDECARS = 'it is of predictors in sidecars; predictions are made here'

/** Parameters that are accepted and change nothing, and why. */
export const PREDICTOR_WITHOUT_EFFECT: Readonly<Record<string, string>> = {
  samplingMean: SIDECARS,
  maxDecodeTokenSamplesForPrediction: SIDECARS,
  contextTTL: SIDECARS,
  endpointRoleLabel: 'each endpoint is learned by itself, whatever its role',
  useEncoderCacheFeatures: 'encoders are not part of predictions',
}

const parameters = object({
  samplingMean: z.number().positive().optional(),
  maxDecodeTokenSamplesForPrediction: z.int().min(0).optional(),
  contextTTL: z.union([z.string(), z.number()]).optional(),
  endpointRoleLabel: z.string().optional(),
  useEncoderCacheFeatures: z.boolean().optional(),
  /** The request's aim for the time per output token is taken times this. */
  sloBufferFactor: z.number().positive().default(1),
  /** Clients see tokens as they come. Else the first that they see is the last: the time to it is that of the whole response. */
  streamingMode: z.boolean().default(false),
  /** Off: nothing is predicted, and plug-ins go without. */
  predictInProduce: z.boolean().default(true),
  prefixMatchInfoProducerName: z.string().optional(),
  inFlightLoadProducerName: z.string().optional(),
})
type Parameters = z.output<typeof parameters>

/** Weight of samples from which times per token are known (../../decode-rates.ts). */
const ENOUGH = 4

/**
 * Predicted time to the first token and per output token at each candidate, ms, from what the main thread learns of replicas
 * (../../endpoint-estimates.ts):
 *
 *     TTFT = turns of the queue + prefills decided before + own uncached prefill + a step of the batch
 *     TPOT = (base + per request × batch with this request) × the replica's factor
 *
 * A batch is no larger than the largest full one that was seen. Without streaming TTFT is the time of the whole response, where a request's
 * time in the batch (learned) stands for prefill and steps, and TPOT is 0. Nothing is predicted before times per token are known.
 */
class PredictedLatency implements Producer {
  readonly type = 'predicted-latency-producer'
  readonly #given: Parameters
  readonly #backlog = new PrefillBacklog()

  constructor(given: Parameters) {
    this.#given = given
  }

  sharedWords(capacity: number): number {
    return PrefillBacklog.words(capacity)
  }

  attach(memory: Int32Array): void {
    this.#backlog.attach(memory)
  }

  produce(candidates: Candidates, table: EndpointTable): void {
    const { streamingMode, sloBufferFactor, predictInProduce } = this.#given
    const { count, ttft, tpot, slots, nowMs } = candidates
    candidates.tpotTargetFactor = sloBufferFactor
    if (!predictInProduce || (streamingMode && table.estimates.decodeLearned[0]! < ENOUGH)) {
      ttft.fill(Number.NaN, 0, count)
      tpot.fill(Number.NaN, 0, count)
      return
    }
    for (let i = 0; i < count; i++) {
      const slot = slots[i]!
      const before = queueMs(candidates, table, i) + this.#backlog.ahead(slot, nowMs, candidates.underWay(i, table))
      const prefill = this.#prefillMs(candidates, table, i)
      if (streamingMode) {
        const step = stepMs(candidates, table, i)
        ttft[i] = before + prefill + step
        tpot[i] = step
      } else {
        ttft[i] = before + Math.max(prefill, table.estimates.residence[slot]!)
        tpot[i] = 0
      }
    }
  }

  chosen(candidates: Candidates, table: EndpointTable, i: number): void {
    const prefill = this.#prefillMs(candidates, table, i)
    this.#backlog.add(candidates.slots[i]!, prefill, candidates.nowMs, candidates.underWay(i, table))
  }

  #prefillMs(candidates: Candidates, { estimates }: EndpointTable, i: number): number {
    const tokens = PREFILL_BASE_TOKENS + candidates.uncachedTokens(i, this.#given.prefixMatchInfoProducerName)
    return tokens * estimates.prefillMs[0]! * estimates.prefillFactor[candidates.slots[i]!]!
  }
}

/** Requests at the replica: in its queue, in its batch, and on their way. */
function loadOf({ waiting, running, unseen, inFlight }: Candidates, i: number): number {
  // What was sent by way of a prefill elsewhere arrives long after the decision: then our own count knows more.
  return Math.max(waiting[i]! + running[i]! + unseen[i]!, inFlight[i]!)
}

/** Size of a full batch; 0 = nobody knows yet. */
function fullBatch({ slots, running }: Candidates, { estimates }: EndpointTable, i: number): number {
  return estimates.fullBatch[slots[i]!]! > 0 ? Math.max(1, running[i]!) : estimates.largestBatch[0]!
}

function queueMs(candidates: Candidates, table: EndpointTable, i: number): number {
  const batch = fullBatch(candidates, table, i)
  const ahead = loadOf(candidates, i) + 1 - batch
  return ahead <= 0 || batch === 0 ? 0 : (ahead * table.estimates.residence[candidates.slots[i]!]!) / batch
}

function stepMs(candidates: Candidates, table: EndpointTable, i: number): number {
  const { decodeBaseMs, decodePerRequestMs, decodeFactor } = table.estimates
  const load = loadOf(candidates, i) + 1
  const full = fullBatch(candidates, table, i)
  const batch = full === 0 ? load : Math.min(load, full)
  return (decodeBaseMs[0]! + decodePerRequestMs[0]! * batch) * decodeFactor[candidates.slots[i]!]!
}

export const predictedLatencyProducer: ProducerType = {
  type: 'predicted-latency-producer',
  role: 'producer',
  parameters,
  needs: () => ['prompt', 'prefix'],
  produce: (_name, given) => new PredictedLatency(parameters.parse(given)),
}
