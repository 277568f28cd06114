import { PickStatus } from '../inference/pick.ts'
import { PickTimes } from '../inference/pick-times.ts'
import type { SeriesWriter } from '../telemetry/shared-series.ts'
import type { Call } from './call.ts'
import type { ClientNames } from './client-names.ts'
import type { LinkedPool } from './linked-pool.ts'
import { PodNames } from './pod-names.ts'
import { Family } from './request-families.ts'
import type { RequestLabels } from './request-labels.ts'

/** llm-d's, for pools whose configuration names none. */
const PREFIX_PLUGIN = ['approx-prefix-cache-producer', 'approx-prefix-cache-producer'] as const
const LOAD_PRODUCER = 'inflight-load-producer'

/** What picks cost and what comes of them: a part of `RequestMetrics`. */
export class PickMetrics {
  readonly #writer: SeriesWriter
  readonly #names: ClientNames
  readonly #labels: RequestLabels
  readonly #share: number
  readonly #random: () => number
  readonly #now: () => number
  readonly #pods = new PodNames()
  /** A cell without labels. */
  readonly #scheduler: number

  /** `share` of the picks whose plug-ins are timed, 0 … 1. */
  constructor(
    writer: SeriesWriter,
    names: ClientNames,
    labels: RequestLabels,
    share: number,
    random: () => number,
    now: () => number,
  ) {
    this.#writer = writer
    this.#names = names
    this.#labels = labels
    this.#share = share
    this.#random = random
    this.#now = now
    this.#scheduler = writer.series(Family.SCHEDULER, [])
  }

  /** The request's times, for a pick that is about to be made; undefined: it is not in the sample. */
  sampleTimes(): PickTimes | undefined {
    return this.#share > 0 && this.#random() < this.#share ? new PickTimes(this.#now) : undefined
  }

  /** A pick is over that began at `startedAt`; `times`: it was in the sample. */
  picked(call: Call, linked: LinkedPool, status: PickStatus, startedAt: number, times?: PickTimes): void {
    const writer = this.#writer
    const { pool, plan } = linked
    const { pick, picked } = call
    writer.observe(Family.SCHEDULER, this.#scheduler, (this.#now() - startedAt) / 1000)
    const target = this.#names.models.admit(pick.model)
    const ok = status === PickStatus.OK
    const address = ok ? pool.addressOf(picked.slots[0]!) : ''
    const [host, port] = ok ? splitPort(address) : ['', '']
    const namespace = ok ? plan.name.slice(0, plan.name.indexOf('/')) : ''
    const endpoint = ok ? this.#pods.of(pool.plan, address, host) : ''
    this.#writer.count(Family.ATTEMPTS, [ok ? 'success' : 'failure', target, endpoint, namespace, port])
    if (times !== undefined) this.#countPlugins(times)
    if (!ok) return
    this.#countPrefix(call, pool)
    const { handler } = plan.scheduling
    if (handler !== undefined) this.#countStages(call, handler.type, target)
    this.#raiseInFlight(call, linked, endpoint, namespace)
  }

  #countPlugins(times: PickTimes): void {
    for (const { plugins } of times.profiles) {
      for (const { step, type, startedAt, endedAt } of plugins)
        this.#writer.note(Family.PLUGIN, [step, type, type], (endedAt - startedAt) / 1000)
    }
  }

  #countPrefix(call: Call, pool: LinkedPool['pool']): void {
    const { prefix, promptBytes } = call.pick
    if (prefix === undefined || prefix.count === 0) return
    const bytes = pool.cachedBytes(call.picked.slots[0]!)
    this.#writer.note(Family.HIT_BYTES, PREFIX_PLUGIN, bytes)
    this.#writer.note(Family.HIT_RATIO, PREFIX_PLUGIN, promptBytes > 0 ? Math.min(1, bytes / promptBytes) : 0)
  }

  #countStages({ picked }: Call, handler: string, model: string): void {
    const prefill = picked.prefill.count > 0
    const encode = picked.encode.count > 0
    const decision = encode
      ? prefill
        ? 'encode-prefill-decode'
        : 'encode-decode'
      : prefill
        ? 'prefill-decode'
        : 'decode-only'
    this.#writer.count(Family.DISAGGREGATION, [handler, handler, model === '' ? 'unknown' : model, decision])
  }

  #raiseInFlight(call: Call, linked: LinkedPool, endpoint: string, namespace: string): void {
    const measured = this.#labels.label(call, linked)
    const { plan } = linked
    const [, , fairnessId, priority] = measured.labels
    const producer = plan.scheduling.producers?.find(({ type }) => type === LOAD_PRODUCER)?.name ?? LOAD_PRODUCER
    const labels = [endpoint, namespace, producer, fairnessId, priority]
    measured.inFlight = this.#writer.series(Family.IN_FLIGHT, labels)
    measured.inFlightTokens = this.#writer.series(Family.IN_FLIGHT_TOKENS, labels)
    measured.tokens = call.picked.tokens
    this.#writer.add(measured.inFlight)
    this.#writer.add(measured.inFlightTokens, measured.tokens)
  }
}

function splitPort(address: string): readonly [string, string] {
  const at = address.lastIndexOf(':')
  return [address.slice(0, at), address.slice(at + 1)]
}
