/** What is another matter where one of the replicas leads: the others are not ready, and never will be while it does. */
import { poolLease } from '../../kubernetes/leader-lease.ts'
import { UsageError } from '../command.ts'
import type { Manifest } from './manifest.ts'
import type { ManifestValues } from './values.ts'

/** Of the container. */
export function leaderArgs({ leaderElection }: ManifestValues): string[] {
  return leaderElection ? ['--ha-enable-leader-election'] : []
}

/** The rights to its Lease, and to none but that: whoever may write any Lease can depose the controllers of the namespace. @throws UsageError */
export function leaseRules({ leaderElection, namespace, pools }: ManifestValues): object[] {
  if (!leaderElection) return []
  const lease = poolLease(`${namespace}/${pools[0]!.name}`)
  if (lease === undefined) throw new UsageError("--leader-election: the pool's name is too long for that of a Lease")
  const leases = { apiGroups: ['coordination.k8s.io'], resources: ['leases'] }
  return [
    { ...leases, resourceNames: [lease.name], verbs: ['get', 'update'] },
    // What is made has no name yet when this is asked.
    { ...leases, verbs: ['create'] },
  ]
}

export function strategy({ leaderElection }: ManifestValues) {
  // Were the leader kept until another replica is ready, none would ever be.
  if (leaderElection) return { rollingUpdate: { maxSurge: '100%', maxUnavailable: '100%' } }
  // All replicas serve: one more comes before one goes.
  return { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } }
}

export function disruptionBudgets(
  { name, namespace, leaderElection }: ManifestValues,
  labels: Readonly<Record<string, string>>,
): Manifest[] {
  // With one that is ready out of several, it would keep the leader's node from ever being drained.
  if (leaderElection) return []
  return [
    {
      apiVersion: 'policy/v1',
      kind: 'PodDisruptionBudget',
      metadata: { name, namespace, labels },
      spec: { maxUnavailable: 1, selector: { matchLabels: labels } },
    },
  ]
}
