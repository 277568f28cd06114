/** What is said at the start of options that are taken as they are, and that are often not meant so. */
import type { Log } from '../../telemetry/log.ts'
import { isFleet } from './is-fleet.ts'
import type { ServeOptions } from './options.ts'
import { isWildcard } from './own-addresses.ts'

export function warnOfStrangers(options: ServeOptions, log: Log): void {
  if (isFleet(options) || options.pool !== undefined || options.picker !== undefined) return
  log.warn(
    'no --pool: only Envoys that have the routes of `signalbox compile` are served, streams of other gateways are refused',
  )
}

export function warnOfAddresses({ xds, extProc, advertise }: ServeOptions, log: Log): void {
  if (xds === undefined || advertise !== undefined || 'path' in extProc || !isWildcard(extProc.host)) return
  log.warn('Envoys are told to reach ext_proc at 127.0.0.1: name this host with --advertise if they run elsewhere')
}
