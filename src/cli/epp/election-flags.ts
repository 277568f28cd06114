import type { GatewayPools } from '../../compile/gateway-pools.ts'
import { ACQUIRE_JITTER, DEFAULT_TIMING, type ElectionTiming } from '../../kubernetes/leader-election.ts'
import type { LeasePlace } from '../../kubernetes/lease.ts'
import { ownLease, poolLease } from '../../kubernetes/leader-lease.ts'
import { UsageError } from '../command.ts'
import type { ElectionSettings } from '../serve/picker-serving.ts'

export const ELECTION_FLAG = 'ha-enable-leader-election'
const LEASE = 'leader-elect-lease-duration'
const RENEW = 'leader-elect-renew-deadline'
const RETRY = 'leader-elect-retry-period'
/** Those that mean something with an election only. */
export const ELECTION_TIMES = [LEASE, RENEW, RETRY] as const

interface ElectionFlags {
  readonly pools: GatewayPools
  /** Of the pools, and of this pod; empty: all namespaces. */
  readonly namespace: string
  readonly env: NodeJS.ProcessEnv
  /** Milliseconds; undefined: the flag is not given. */
  readonly duration: (flag: (typeof ELECTION_TIMES)[number]) => number | undefined
}

/** For what and how often an election is held. @throws UsageError */
export function electionOf({ pools, namespace, env, duration }: ElectionFlags): ElectionSettings {
  const timing = {
    leaseMs: duration(LEASE) ?? DEFAULT_TIMING.leaseMs,
    renewMs: duration(RENEW) ?? DEFAULT_TIMING.renewMs,
    retryMs: duration(RETRY) ?? DEFAULT_TIMING.retryMs,
  }
  refuseTimes(timing)
  const lease = leaseOf(pools, namespace || env['NAMESPACE'] || 'default')
  if (lease === undefined) throw new UsageError(`--${ELECTION_FLAG}: the pool's name is too long for that of a Lease`)
  return { lease, podName: env['POD_NAME'], timing }
}

/** One Lease for the process, as it is ready or not for all of its pools. */
function leaseOf(pools: GatewayPools, namespace: string): LeasePlace | undefined {
  if ('names' in pools) return poolLease(pools.names[0]!)
  if ('service' in pools) return ownLease(namespace, pools.service.slice(pools.service.indexOf('/') + 1))
  return ownLease(namespace, '')
}

/** client-go's rules: whoever leads must have given up before another may begin. */
function refuseTimes({ leaseMs, renewMs, retryMs }: ElectionTiming): void {
  if (leaseMs < 1000 || leaseMs % 1000 !== 0)
    throw new UsageError(`--${LEASE}: a Lease is for whole seconds, at least one`)
  if (renewMs >= leaseMs) throw new UsageError(`--${RENEW}: must be less than --${LEASE} (${leaseMs / 1000}s)`)
  if (retryMs <= 0) throw new UsageError(`--${RETRY}: must be more than 0`)
  if (renewMs <= ACQUIRE_JITTER * retryMs)
    throw new UsageError(`--${RENEW}: must be more than ${ACQUIRE_JITTER} times --${RETRY} (${retryMs / 1000}s)`)
}
