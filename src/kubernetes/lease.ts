/** Leases (coordination.k8s.io/v1) as candidates for a leadership read and write them: the record of client-go's leader election. */
import { collectionPath, type Resource } from './resources.ts'

export interface LeasePlace {
  readonly namespace: string
  readonly name: string
}

/** A Lease that was read. */
export interface Lease {
  /** Empty: nobody holds it. */
  readonly holder: string
  /** For how long after a renewal it is the holder's; undefined: it doesn't say. */
  readonly durationMs: number | undefined
  /** Another one after each renewal, and the same whatever else of the object changes. */
  readonly fingerprint: string
  /** As the server told it, so that what we don't know of it survives an update. */
  readonly object: Fields
  readonly spec: Fields
}

/** Who takes or renews a Lease, and for how long. */
export interface LeaseClaim {
  readonly holder: string
  /** Whole seconds, at least one. */
  readonly durationMs: number
}

type Fields = Readonly<Record<string, unknown>>

const LEASES: Resource = { group: 'coordination.k8s.io', version: 'v1', kind: 'Lease', plural: 'leases' }
const MAX_INT32 = 2 ** 31 - 1

/** The path of the Leases of a namespace. */
export function leasesPath(namespace: string): string {
  return collectionPath(LEASES, namespace)
}

/**
 * What the server says of a Lease. Times in it are not read: they are of other machines' clocks.
 * @throws {Error} it is none, or can't be updated safely
 */
export function readLease(answer: unknown): Lease {
  const object = fieldsOf(answer)
  const version = fieldsOf(object?.['metadata'])?.['resourceVersion']
  // Without it an update would overwrite whatever there is by then.
  if (object === undefined || typeof version !== 'string' || version === '')
    throw new Error('the answer is no Lease with a resourceVersion')
  const spec = fieldsOf(object['spec']) ?? {}
  const holder = spec['holderIdentity'] ?? ''
  if (typeof holder !== 'string') throw new Error('the holderIdentity of the Lease is no text')
  const seconds = spec['leaseDurationSeconds']
  return {
    holder,
    durationMs: isCount(seconds) && seconds > 0 ? seconds * 1000 : undefined,
    fingerprint: JSON.stringify(spec),
    object,
    spec,
  }
}

/** A Lease that nobody has made yet, as the first holder makes it. */
export function newLease({ namespace, name }: LeasePlace, claim: LeaseClaim): Fields {
  const now = microTime()
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name, namespace },
    spec: { ...specOf(claim), acquireTime: now, renewTime: now, leaseTransitions: 0 },
  }
}

/** The same Lease as the claimant takes it, or renews it if it has it already. */
export function claimedLease({ object, spec, holder }: Lease, claim: LeaseClaim): Fields {
  const now = microTime()
  const before = spec['leaseTransitions']
  const transitions = isCount(before) ? before : 0
  const acquired = spec['acquireTime']
  const keeps = holder === claim.holder
  return {
    ...object,
    spec: {
      ...spec,
      ...specOf(claim),
      acquireTime: keeps && typeof acquired === 'string' ? acquired : now,
      renewTime: now,
      leaseTransitions: keeps ? transitions : Math.min(transitions + 1, MAX_INT32),
    },
  }
}

/** The same Lease as its holder gives it away, so that nobody has to wait until it runs out. */
export function releasedLease({ object, spec }: Lease): Fields {
  const now = microTime()
  const nobody = { holderIdentity: '', leaseDurationSeconds: 1, acquireTime: now, renewTime: now }
  return { ...object, spec: { ...spec, ...nobody } }
}

function specOf({ holder, durationMs }: LeaseClaim): Fields {
  return { holderIdentity: holder, leaseDurationSeconds: durationMs / 1000 }
}

/** Kubernetes' MicroTime. */
function microTime(): string {
  return new Date().toISOString().replace('Z', '000Z')
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function fieldsOf(value: unknown): Fields | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined
}
