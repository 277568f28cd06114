import { LLAMA, LORA, QWEN, type Take, UNKNOWN } from './scenes.ts'

/** A line of the access log, as far as the demo looks at it. */
export interface LogLine {
  readonly request_id?: string
  readonly pool?: string
  readonly endpoint?: string
  readonly upstream?: string
  readonly reason?: string
}

/** Everything that is not as it should be, in words; empty = all is well. */
export function findFaults(
  takes: readonly Take[],
  log: ReadonlyMap<string, LogLine>,
  models: readonly string[],
): string[] {
  const faults: string[] = []
  const endpoints = new Map<string, Set<string>>()
  for (const take of takes) {
    const wanted = take.model === UNKNOWN ? 404 : 200
    if (take.status !== wanted) faults.push(`${take.title}: status ${take.status} (${take.result}), not ${wanted}`)
    const line = log.get(take.requestId)
    if (line === undefined) faults.push(`${take.title}: no line in the access log`)
    else if (wanted === 200) {
      if (line.endpoint === undefined || line.endpoint !== line.upstream)
        faults.push(`${take.title}: ${line.endpoint} was picked, ${line.upstream} served`)
      const pool = take.model === QWEN ? 'default/qwen' : 'default/llama'
      if (line.pool !== pool) faults.push(`${take.title}: went to pool ${line.pool}, not ${pool}`)
    } else if (line.upstream !== undefined) faults.push(`${take.title}: reached ${line.upstream}`)
    const group = take.title.split(',')[0]!
    const seen = endpoints.get(group) ?? new Set()
    endpoints.set(group, seen.add(line?.endpoint ?? ''))
  }
  if (endpoints.get('same long prompt')?.size !== 1) faults.push('the same long prompt went to different replicas')
  if ((endpoints.get('burst')?.size ?? 0) < 2) faults.push('a burst went to one replica only')
  for (const model of [LLAMA, QWEN, LORA])
    if (!models.includes(model)) faults.push(`GET /v1/models does not list ${model}`)
  return faults
}
