import type { Exchange } from '../extproc/exchange.ts'
import type { Pool } from '../inference/pool.ts'
import type { Call } from './call.ts'

/** Tells the client labels of the endpoint that its request was sent to, where the pool's plan says so. */
export function tellLabels(x: Exchange, { picked }: Call, { plan, table }: Pool): void {
  const { labelHeaders = [] } = plan.scheduling
  const slot = picked.slots[0]!
  if (picked.count === 0 || table.generation[slot] !== picked.generations[0]) return
  const labels = table.labels(slot)
  for (let i = 0; i < labelHeaders.length; i++) {
    const { header, label } = labelHeaders[i]!
    const value = labels?.[label] ?? ''
    if (value !== '') x.responseSet.push(header, value)
  }
}
