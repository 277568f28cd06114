import { join } from 'node:path'
import { clusterNames } from '../../../src/cli/manifests/pool.ts'
import type { Results } from './results.ts'
import type { RunningBed } from './running-bed.ts'

const NAMESPACE = 'inference-conformance-app-backend'
const GATEWAYS = 'inference-conformance-infra'

/** What every test comes to. A change, for better or worse, is a failure of this list. */
const EXPECTED: Readonly<Record<string, 'PASS' | 'FAIL'>> = {
  EppUnAvailableFailOpen: 'PASS',
  GatewayDestinationEndpointServed: 'PASS',
  GatewayFollowingEPPRouting: 'PASS',
  GatewayFollowingEPPRoutingWithDataParallelism: 'PASS',
  GatewayWeightedAcrossTwoInferencePools: 'PASS',
  HTTPRouteInvalidInferencePoolRef: 'PASS',
  HTTPRouteMultipleGatewaysDifferentPools: 'PASS',
  HTTPRouteMultipleRulesDifferentPools: 'PASS',
  InferencePoolAccepted: 'PASS',
  InferencePoolAppProtocol: 'PASS',
  InferencePoolHTTPRoutePortValidation: 'PASS',
  InferencePoolInvalidEPPService: 'PASS',
  InferencePoolMissingEPPRef: 'PASS',
  InferencePoolResolvedRefsCondition: 'PASS',
}

/** What `signalbox epp` is started with in the place of lwepp, before the flags that the suite gives. */
export const CONFORMANCE_FLAGS: readonly string[] = [
  '--config-text',
  JSON.stringify({
    apiVersion: 'llm-d.ai/v1alpha1',
    kind: 'EndpointPickerConfig',
    plugins: [
      { type: 'header-based-testing-filter', parameters: { onMissing: 'Keep' } },
      { type: 'destination-endpoint-served-verifier' },
      { type: 'max-score-picker' },
    ],
    schedulingProfiles: [
      { name: 'default', plugins: [{ pluginRef: 'header-based-testing-filter' }, { pluginRef: 'max-score-picker' }] },
    ],
  }),
  '--threads',
  '1',
  '--metrics-endpoint-auth=false',
  // Each picker serves both pools, because the gateway asks one of them for both (docs/endpoint-picker.md).
  '--pool-name',
  'primary-inference-pool',
  '--pool-name',
  'secondary-inference-pool',
]

const SUITE_FLAGS = [
  '-test.v -test.timeout 40m -test.run ^TestConformance$ -gateway-class istio -cleanup-base-resources=false',
  '-organization signalbox -project signalbox -url http://localhost -version dev -contact none',
  '-timeout-config-overrides MaxTimeToConsistency:600',
].flatMap(line => line.split(' '))

/** GIE's conformance suite, as it is, against the bed's gateways. */
export async function conformance(bed: RunningBed, results: Results): Promise<void> {
  await bed.kubectl(['create', 'namespace', NAMESPACE])
  await bed.kubectl(['create', 'namespace', GATEWAYS])
  await bed.kubectl(['apply', '-f', join(bed.bed.scripts, 'manifests', 'gie-istio-destinationrules.yaml')])
  await bed.apply([
    h2cRule(),
    ...['conformance-primary', 'conformance-secondary'].map(gateway => clusterNames(GATEWAYS, gateway)),
  ])
  const found = new Map<string, string>()
  const { output } = await bed.run(
    'gie-conformance.test',
    [...SUITE_FLAGS, '-report-output', join(bed.folder, 'gie-report.yaml')],
    undefined,
    line => {
      const [, outcome, test] = /^ {4}--- (PASS|FAIL|SKIP): TestConformance\/([^/ ]+) \(/.exec(line) ?? []
      if (outcome !== undefined) found.set(test!, outcome)
    },
  )
  for (const test of new Set([...Object.keys(EXPECTED), ...found.keys()]))
    results.outcome(`GIE conformance: ${test}`, found.get(test) ?? 'not run', EXPECTED[test] ?? 'unknown')
  if (results.surprises === 0) return
  await results.keep('conformance.log', output)
  await results.keep('pods.log', await bed.podLogs())
}

/** What `signalbox manifests epp --app-protocol kubernetes.io/h2c` writes for this pool. */
function h2cRule() {
  return {
    apiVersion: 'networking.istio.io/v1',
    kind: 'DestinationRule',
    metadata: { name: 'appprotocol-h2c', namespace: NAMESPACE },
    spec: {
      host: `appprotocol-h2c-inference-pool-ip-68668286.${NAMESPACE}.svc.cluster.local`,
      trafficPolicy: { connectionPool: { http: { h2UpgradePolicy: 'UPGRADE' } } },
    },
  }
}
