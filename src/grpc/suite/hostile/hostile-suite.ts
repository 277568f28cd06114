/** Peers that mean no good: the answer that the RFC asks for, bounded memory, and other connections that don't notice. */
import { Harness } from '../harness.ts'
import type { Listen } from '../harness.ts'
import { floodsSuite } from './floods.ts'
import { headerBombsSuite } from './header-bombs.ts'
import { oddConnectionsSuite } from './odd-connections.ts'
import { windowGamesSuite } from './window-games.ts'

/** `listen` trusts its peers, as a port for gateways does; `listenToAnybody` does not. */
export function hostileSuite(name: string, listen: Listen, listenToAnybody: Listen): void {
  const trusting = new Harness(listen)
  const wary = new Harness(listenToAnybody)
  floodsSuite(name, trusting, wary)
  headerBombsSuite(name, wary)
  windowGamesSuite(name, wary)
  oddConnectionsSuite(name, wary)
}
