import type { LeasePlace } from './lease.ts'

/** Of names of objects. */
const MAX_NAME = 253

/**
 * The Lease that replicas of a pool's picker stand for: llm-d's, so that of both only one leads while an image is replaced. Undefined: the
 * name would be longer than names may be.
 * @param pool `namespace/name`
 */
export function poolLease(pool: string): LeasePlace | undefined {
  const [namespace, name] = pool.split('/') as [string, string]
  return leaseNamed(namespace, `epp-${namespace}-${name}.llm-d.ai`)
}

/** That of a picker whose pools come and go, which llm-d doesn't have. @param what a name, or nothing where the namespace says it all */
export function ownLease(namespace: string, what: string): LeasePlace | undefined {
  return leaseNamed(namespace, `epp-${namespace}${what === '' ? '' : `-${what}`}.signalbox.dev`)
}

function leaseNamed(namespace: string, name: string): LeasePlace | undefined {
  return name.length > MAX_NAME ? undefined : { namespace, name }
}
