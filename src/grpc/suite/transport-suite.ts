/** What every implementation of the transport seam must do; each one's test calls it. */
import { callsSuite } from './calls.ts'
import { endsSuite } from './ends.ts'
import { flowSuite } from './flow.ts'
import { Harness } from './harness.ts'
import type { Listen } from './harness.ts'
import { lifecycleSuite } from './lifecycle.ts'
import { refusalsSuite } from './refusals.ts'
import { tlsSuite } from './tls.ts'

export function transportSuite(name: string, listen: Listen): void {
  const harness = new Harness(listen)
  callsSuite(name, harness)
  refusalsSuite(name, harness)
  endsSuite(name, harness)
  flowSuite(name, harness)
}

/** Listeners and connections: in a test file of their own, because they wait a lot. */
export function listenerSuite(name: string, listen: Listen): void {
  lifecycleSuite(name, listen)
  tlsSuite(name, listen)
}
