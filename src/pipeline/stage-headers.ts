import type { Decision } from '../extproc/decision.ts'
import { DATA_PARALLEL_HEADER, ENCODE_HEADER, KV_SOURCE_HEADER, PREFILL_HEADER } from '../inference/control-headers.ts'
import type { Pool } from '../inference/pool.ts'
import type { Call } from './call.ts'

/**
 * What the sidecar of a picked replica must know (epp.md §3.14): which replica computes the prompt, which ones encode images, video and
 * audio, who else holds the prompt, and which of its data-parallel ranks was picked. Notes it in `call`, with the pool in which others are counted.
 */
export function tellReplicas(call: Call, pool: Pool): void {
  const { picked, told } = call
  if (picked.isStaged) {
    call.staged = pool
    if (picked.prefill.count > 0) told.push(PREFILL_HEADER, pool.addressOf(picked.prefill.slots[0]!))
    if (picked.encode.count > 0) told.push(ENCODE_HEADER, pool.listOf(picked.encode))
  }
  const source = pool.kvSource(picked)
  if (source !== '') told.push(KV_SOURCE_HEADER, source)
  if (pool.primaryPort === undefined) return
  call.rank = pool.addressOf(picked.slots[0]!)
  told.push(DATA_PARALLEL_HEADER, call.rank)
}

/** Sets those headers, and removes what the client says in their place. */
export function stageHeaders(decision: Decision, { forged, told }: Call): void {
  for (const name of forged) if (!told.includes(name)) decision.removeNames.push(name)
  for (let i = 0; i < told.length; i += 2) decision.set(told[i]!, told[i + 1]!)
}
