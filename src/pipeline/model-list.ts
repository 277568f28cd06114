import { Buffer } from 'node:buffer'
import type { LinkedPool } from './linked-pool.ts'

/**
 * The body of `GET /v1/models`: the union of what the pools' endpoints list (base models and adapters with their parent) and of
 * the names that the pools' rewrites accept, sorted, each once. `reaches`: whether a request for such a name can get to the pool.
 */
export function modelListBody(
  pools: readonly LinkedPool[],
  reaches: (model: string, pool: LinkedPool) => boolean,
): Buffer {
  const models = new Map<string, string | undefined>()
  for (const linked of pools) {
    for (const { model } of linked.plan.rewrites)
      if (model !== undefined && reaches(model, linked)) models.set(model, undefined)
    for (const { id, parent } of linked.pool.models()) if (!models.has(id)) models.set(id, parent)
  }
  const data = [...models]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([id, parent]) => ({
      id,
      object: 'model',
      created: 0,
      owned_by: 'signalbox',
      ...(parent === undefined ? {} : { parent }),
    }))
  return Buffer.from(JSON.stringify({ object: 'list', data }))
}
