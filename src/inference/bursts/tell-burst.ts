import type { EndpointTable } from '../endpoint-table.ts'
import type { PickRequest } from '../pick.ts'
import type { Candidates } from '../scheduling/candidates.ts'
import type { BurstPlan } from './burst-plan.ts'

/** Where the request's burst goes, a slot; −1 = anywhere, or the endpoint has gone meanwhile and another one may have its slot. */
export function burstSlotOf({ burstSlot = -1, burstGeneration = 0 }: PickRequest, table: EndpointTable): number {
  return burstSlot >= 0 && table.generation[burstSlot] === burstGeneration ? burstSlot : -1
}

/** Tells the candidates where the request's burst goes: who looks at it finds all of the prompt there, and nothing elsewhere. */
export function tellBurst(candidates: Candidates, request: PickRequest, plan: BurstPlan, table: EndpointTable): void {
  const { prefix, promptBytes } = request
  const burstSlot = burstSlotOf(request, table)
  if (burstSlot < 0 || prefix === undefined) return
  const match = candidates.matchOf(plan.producer)
  const blockBytes = plan.stride * prefix.blockBytes
  const bytes = Math.min(promptBytes, prefix.maxBlocks * prefix.blockBytes, plan.maxBlocks * blockBytes)
  match.bytes = Math.ceil(bytes / blockBytes) * blockBytes
  const { slots, count } = candidates
  for (let i = 0; i < count; i++) match.share[i] = slots[i] === burstSlot ? 1 : 0
}
