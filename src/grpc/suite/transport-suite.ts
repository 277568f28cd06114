/** What every implementation of the transport seam must do; each one's test calls it. */
import { callsSuite } from './calls.ts'
import { endsSuite } from './ends.ts'
import { flowSuite } from './flow.ts'
import { Harness } from './harness.ts'
import type { Listen } from './harness.ts'
import { refusalsSuite } from './refusals.ts'

export function transportSuite(name: string, listen: Listen): void {
  const harness = new Harness(listen)
  callsSuite(name, harness)
  refusalsSuite(name, harness)
  endsSuite(name, harness)
  flowSuite(name, harness)
}
