import { type PickRequest, type PickResult, PickStatus, type Placement } from '../../pick.ts'
import type { ProfileHandler, ProfileRunner, PromptNeeds, StageDecider } from '../profile-handler.ts'

interface DisaggStage {
  /** Number of the profile. */
  readonly profile: number
  /** Undefined: the stage runs for every request. */
  readonly decider: StageDecider | undefined
}

export interface DisaggOptions {
  readonly type: string
  readonly decode: number
  readonly prefill: DisaggStage | undefined
  readonly encode: DisaggStage | undefined
  readonly prefillFirst: boolean
  readonly primaryPort?: number
}

/**
 * Splits a request among replicas: one decodes, and where deciders say so another computes the prompt first, and further ones encode images,
 * video and audio (epp.md §3.1, §3.14). Stages whose profile finds no replica are left out: the decoding replica does their work. So is a
 * prefill stage that would go to the decoding replica itself.
 */
export class DisaggHandler implements ProfileHandler {
  readonly type: string
  readonly primaryPort?: number
  readonly needs: PromptNeeds
  readonly #options: DisaggOptions

  constructor(options: DisaggOptions) {
    this.type = options.type
    if (options.primaryPort !== undefined) this.primaryPort = options.primaryPort
    this.#options = options
    const needs = [options.prefill?.decider?.needs, options.encode?.decider?.needs]
    this.needs = {
      prefix: needs.some(each => each?.prefix),
      bytes: Math.max(0, ...needs.map(each => each?.bytes ?? 0)),
      media: needs.some(each => each?.media),
    }
  }

  pick(runner: ProfileRunner, request: PickRequest, out: PickResult): PickStatus {
    const { prefillFirst, decode, prefill, encode } = this.#options
    if (prefillFirst) {
      if (prefill !== undefined) run(runner, prefill, -1, out.prefill)
      if (encode !== undefined && decides(encode, request, 0)) run(runner, encode, -1, out.encode)
      const peer = out.prefill.count > 0 ? out.prefill.slots[0]! : -1
      const status = runner.run(decode, peer, out)
      if (status === PickStatus.OK && out.slots[0] === peer) out.prefill.count = 0
      return status
    }
    const status = runner.run(decode, -1, out)
    if (status !== PickStatus.OK) return status
    const slot = out.slots[0]!
    const cachedBytes = runner.cachedBytes(slot)
    if (encode !== undefined && decides(encode, request, cachedBytes)) run(runner, encode, -1, out.encode)
    if (prefill !== undefined && decides(prefill, request, cachedBytes)) {
      run(runner, prefill, slot, out.prefill)
      if (out.prefill.count > 0 && out.prefill.slots[0] === slot) out.prefill.count = 0
    }
    return PickStatus.OK
  }
}

function decides({ decider }: DisaggStage, request: PickRequest, cachedBytes: number): boolean {
  return decider === undefined || decider.disaggregates(request, cachedBytes)
}

function run(runner: ProfileRunner, { profile }: DisaggStage, peer: number, out: Placement): void {
  if (runner.run(profile, peer, out) !== PickStatus.OK) out.count = 0
}
