import { stringify } from 'yaml'
import { type Command, UsageError } from '../command.ts'
import { deployment } from './deployment.ts'
import { leaderArgs } from './leader.ts'
import type { Manifest } from './manifest.ts'
import { plugFilter, podService } from './plug.ts'
import { clusterNames, inferencePool, pickerRules, poolPolicies, poolRef } from './pool.ts'
import { modelRoutes, poolRoute } from './routes.ts'
import { type ManifestValues, parseManifestValues } from './values.ts'

const HELP = `Usage: signalbox manifests epp|plug|one-hop [options] > manifests.yaml

Writes the Kubernetes objects that attach Signalbox to a gateway, to be looked at, changed and applied. Always: Deployment, Services, rights,
NetworkPolicy, InferencePools, and a PodDisruptionBudget where all replicas serve.

  epp       Signalbox as the endpoint picker of the pools, and an HTTPRoute to the first one
  plug      and, before that, as the first filter of an Istio gateway: it reads the model, and an HTTPRoute matches its header
  one-hop   that filter chooses the endpoint too, and no picker is asked after it (Istio)

  --name NAME             of the Deployment and what belongs to it [signalbox]
  --namespace NAME        of everything but what belongs to the gateway [default]
  --image IMAGE           [signalbox:latest]
  --replicas N            [2]; two and more tell each other what they do (docs/replicas.md)
  --peer-tls SECRET       with certificates that they show each other: tls.crt, tls.key, ca.crt [plaintext; a NetworkPolicy keeps others out]
  --leader-election       only one replica at a time is ready, and serves [all serve]
  --pool NAME:LABELS      an InferencePool and the labels of its pods, NAME:a=b,c=d; may be given several times [llm:app=llm]
  --model MODEL=POOL      which pool serves a model (plug, one-hop: required); what no pool is named for goes to the first; several times
  --target-port N         of the pods [8000]
  --app-protocol P        http, or kubernetes.io/h2c [http]
  --failure-mode MODE     without a picker: FailOpen (the gateway balances) or FailClose [FailOpen]
  --gateway NAME          [inference-gateway]
  --gateway-namespace NAME  where the Gateway is, if it isn't there too: it must allow routes from --namespace (allowedRoutes)
  --picker-config FILE    an EndpointPickerConfig, as llm-d's: becomes a ConfigMap [Signalbox' own default]
  --flavour KIND          of the gateway: istio, gke or agentgateway [istio]
`

/** What Istio's and GKE's data planes take: an ordered list, whose further endpoints are for retries. agentgateway takes one address. */
const LIST = [
  '--config-text',
  stringify({
    apiVersion: 'signalbox.dev/v1alpha1',
    kind: 'SignalboxParameters',
    metadata: { name: 'default' },
    spec: { scheduling: { maxEndpoints: 3 } },
  }),
]

/** What `--pool-name` and so on come to. */
function eppArgs(values: ManifestValues, kind: string): string[] {
  const { pools, models, flavour, pickerConfig } = values
  // A configuration of one's own says itself how many, and there is no second one beside it.
  const list = flavour === 'agentgateway' || pickerConfig !== undefined ? [] : LIST
  const names = [...pools.flatMap(({ name }) => ['--pool-name', name]), ...leaderArgs(values), ...list]
  if (kind !== 'one-hop') return names
  const mapped = models.flatMap(({ model, pool }) => ['--model-pool', `${model}=${pool.name}`])
  return [...names, ...mapped, '--model-pool', `*=${pools[0]!.name}`]
}

/** Where one picker may be asked about pools of others. */
function severalPools({ pools, flavour, gatewayNamespace, gateway }: ManifestValues): Manifest[] {
  return flavour === 'istio' && pools.length > 1 ? [clusterNames(gatewayNamespace, gateway)] : []
}

/** All objects of one way to attach. @throws UsageError */
export function manifestsOf(kind: string, values: ManifestValues): Manifest[] {
  const { pools, flavour, models } = values
  const common = [...deployment(values, eppArgs(values, kind)), ...pools.map(pool => inferencePool(values, pool))]
  if (kind === 'epp') {
    if (models.length > 0)
      throw new UsageError('--model: is for plug and one-hop; an endpoint picker is asked after the route')
    return [...common, ...poolPolicies(values), ...severalPools(values), poolRoute(values)]
  }
  if (kind !== 'plug' && kind !== 'one-hop')
    throw new UsageError(`manifests: '${kind}' is none of epp, plug and one-hop; see 'signalbox manifests --help'`)
  if (flavour !== 'istio') throw new UsageError(`manifests ${kind}: is for --flavour istio`)
  if (models.length === 0) throw new UsageError(`manifests ${kind}: --model MODEL=POOL is missing`)
  if (kind === 'plug')
    return [
      ...common,
      ...poolPolicies(values),
      ...severalPools(values),
      plugFilter(values, 'route'),
      modelRoutes(values, poolRef),
    ]
  const service = (pool: { readonly name: string }) => ({ name: pool.name, port: values.targetPort })
  return [
    ...common,
    ...pools.map(pool => podService(values, pool)),
    ...pickerRules(values),
    plugFilter(values, 'pick'),
    modelRoutes(values, service),
  ]
}

export const manifestsCommand: Command = {
  summary: 'writes the Kubernetes objects that attach Signalbox to a gateway',
  help: HELP,
  async run([kind = '', ...argv], { stdout }) {
    const manifests = manifestsOf(kind, parseManifestValues(argv))
    stdout.write(
      manifests.map(manifest => stringify(manifest, { lineWidth: 0, aliasDuplicateObjects: false })).join('---\n'),
    )
    return await Promise.resolve(0)
  },
}
