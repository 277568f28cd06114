import type { HttpRouteFilter } from '../../config/kinds/http-route.ts'
import { FLEET_ENDPOINTS, type SignalboxParametersSpec } from '../../config/kinds/signalbox-parameters.ts'
import type {
  RedirectActionJson,
  RetryPolicyJson,
  RouteActionJson,
  RouteJson,
  WeightedCluster_ClusterWeightJson,
} from '../../gen/envoy/config/route/v3/route_components_pb.ts'
import type { RegexMatchAndSubstituteJson } from '../../gen/envoy/type/matcher/v3/regex_pb.ts'
import { PreviousHostsPredicateSchema } from '../../gen/envoy/extensions/retry/host/previous_hosts/v3/previous_hosts_pb.ts'
import { methodNotAllowed } from '../../llm/gateway-problems.ts'
import { noBackend, type OpenAiProblem, openAiErrorBody, routeNotFound } from '../../llm/openai-error.ts'
import type { Backend } from '../backends.ts'
import type { PathCondition, ResolvedRule } from '../rules.ts'
import { addHeader, literal, pack, seconds, setHeader } from './json.ts'

/** A cluster that is never there: Envoy answers 500 for it, as the Gateway API wants for a reference that leads nowhere. */
const NOWHERE = 'signalbox_nowhere'

type HeaderChanges = Pick<
  RouteJson,
  'requestHeadersToAdd' | 'requestHeadersToRemove' | 'responseHeadersToAdd' | 'responseHeadersToRemove'
>
type HeaderFilter = Extract<HttpRouteFilter, { type: 'RequestHeaderModifier' | 'ResponseHeaderModifier' }>
type PathModifier = NonNullable<Extract<HttpRouteFilter, { type: 'URLRewrite' }>['urlRewrite']['path']>

/** An OpenAI error as a direct response. */
function errorResponse(problem: OpenAiProblem): Pick<RouteJson, 'directResponse'> {
  return {
    directResponse: {
      status: problem.status,
      body: { inlineString: '' },
      bodyFormat: {
        textFormatSource: { inlineString: literal(openAiErrorBody(problem).toString()) },
        contentType: 'application/json',
      },
    },
  }
}

export const NO_ROUTE = errorResponse(routeNotFound())
/**
 * TRACE answers with the request's headers, those included that gateways add. 405 needs `allow` (RFC 9110 §15.5.6): what routes
 * can be made of.
 */
export const NO_TRACE: Pick<RouteJson, 'directResponse' | 'responseHeadersToAdd'> = {
  ...errorResponse(methodNotAllowed()),
  responseHeadersToAdd: [setHeader('allow', 'DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT')],
}
/**
 * Where a request stands while we look at its body; 503 if it ever stays here undecided. A route to a cluster (which is not there)
 * and no direct response: for those Envoy ignores the route's buffer limit, and a held body would stall at 1 MiB.
 */
export const UNDECIDED: Pick<RouteJson, 'route'> = {
  route: { cluster: 'signalbox_undecided', clusterNotFoundResponseCode: 'SERVICE_UNAVAILABLE', timeout: '0s' },
}

const NO_BACKEND = errorResponse(noBackend())

/** What Envoy does with a request that this rule won, to all its backends (by weight) or to the one given. */
export function actionJson(
  rule: ResolvedRule,
  path: PathCondition,
  listenerPort: number,
  parameters: SignalboxParametersSpec,
  only?: number,
): RouteJson {
  const changes = headerChanges(rule.spec.filters.filter(isHeaderFilter))
  const redirect = rule.spec.filters.find(filter => filter.type === 'RequestRedirect')
  if (redirect !== undefined)
    return { ...changes, redirect: redirectJson(redirect.requestRedirect, path, listenerPort) }
  const refs = rule.spec.backendRefs
    .map((ref, index) => ({ ref, backend: rule.backends[index]!, index }))
    .filter(({ ref, index }) => (only === undefined ? ref.weight > 0 : index === only))
  if (refs.every(({ backend }) => backend.type === 'invalid')) return { ...changes, ...NO_BACKEND }
  const clusters = refs.map(({ ref, backend }): WeightedCluster_ClusterWeightJson => {
    const name = backend.type === 'invalid' ? NOWHERE : backend.cluster
    return { name, weight: ref.weight, ...headerChanges(ref.filters.filter(isHeaderFilter)) }
  })
  const destination: RouteActionJson =
    clusters.length === 1 && Object.keys(clusters[0]!).length === 2
      ? { cluster: clusters[0]!.name! }
      : {
          weightedClusters: {
            clusters: only === undefined ? clusters : clusters.map(item => ({ ...item, weight: 1 })),
          },
        }
  return {
    ...changes,
    route: {
      ...destination,
      clusterNotFoundResponseCode: 'INTERNAL_SERVER_ERROR',
      ...rewriteJson(rule, path),
      timeout: seconds(rule.spec.timeouts?.request ?? parameters.timeouts.request),
      idleTimeout: seconds(parameters.timeouts.idle),
      ...retryJson(
        rule,
        refs.map(({ backend }) => backend),
        parameters,
      ),
      ...(rule.mirrors.length === 0
        ? {}
        : {
            requestMirrorPolicies: rule.mirrors.map(({ cluster, percent }) => ({
              cluster,
              runtimeFraction: { defaultValue: { numerator: percent, denominator: 'HUNDRED' as const } },
            })),
          }),
    },
  }
}

/** Model servers answer the same request again without harm; another backend may not. */
const POOL_RETRIES = ['connect-failure', 'refused-stream', 'reset-before-request', 'reset', 'retriable-status-codes']
const PLAIN_RETRIES = ['connect-failure', 'refused-stream', 'reset-before-request']

/** Further attempts for a request of this rule; 0 = none. */
function attemptsOf(rule: ResolvedRule, pool: boolean, parameters: SignalboxParametersSpec): number {
  if (parameters.retries.maxBodyBytes === 0) return 0
  return (
    rule.spec.retry?.attempts ??
    parameters.retries.attempts ??
    (pool ? (parameters.scheduling.maxEndpoints ?? FLEET_ENDPOINTS) - 1 : 1)
  )
}

/** Whether Envoy keeps the bodies of this rule's requests: for retries, or for its mirrors. */
export function keepsBody(rule: ResolvedRule, parameters: SignalboxParametersSpec): boolean {
  return rule.mirrors.length > 0 || attemptsOf(rule, hasPool(rule.backends), parameters) > 0
}

function hasPool(backends: readonly Backend[]): boolean {
  return backends.some(backend => backend.type === 'pool')
}

/**
 * The picked list is walked by the cluster itself, so a pool needs no host predicate; other clusters avoid the host that failed.
 * Envoy keeps the body for a retry up to the route's `request_body_buffer_limit`.
 */
function retryJson(
  rule: ResolvedRule,
  backends: readonly Backend[],
  parameters: SignalboxParametersSpec,
): { retryPolicy?: RetryPolicyJson } {
  const { retry, timeouts } = rule.spec
  const pool = hasPool(backends)
  const attempts = attemptsOf(rule, pool, parameters)
  const perTry = timeouts?.backendRequest
  if (attempts === 0)
    return perTry === undefined ? {} : { retryPolicy: { numRetries: 0, perTryTimeout: seconds(perTry) } }
  const codes = new Set(retry?.codes ?? [])
  const retryOn = new Set<string>(parameters.retries.on ?? (pool ? POOL_RETRIES : PLAIN_RETRIES))
  if (codes.size > 0) retryOn.add('retriable-status-codes')
  else if (retryOn.has('retriable-status-codes')) codes.add(503)
  const backoff = retry?.backoff ?? 10
  return {
    retryPolicy: {
      retryOn: [...retryOn].join(','),
      numRetries: attempts,
      ...(codes.size === 0 ? {} : { retriableStatusCodes: [...codes] }),
      ...(perTry === undefined ? {} : { perTryTimeout: seconds(perTry) }),
      retryBackOff: { baseInterval: seconds(Math.max(1, backoff)), maxInterval: seconds(Math.max(1, backoff) * 10) },
      ...(pool
        ? {}
        : {
            retryHostPredicate: [
              {
                name: 'envoy.retry_host_predicates.previous_hosts',
                typedConfig: pack(PreviousHostsPredicateSchema, {}),
              },
            ],
            hostSelectionRetryMaxAttempts: '3',
          }),
    },
  }
}

function isHeaderFilter(filter: { readonly type: string }): filter is HeaderFilter {
  return filter.type === 'RequestHeaderModifier' || filter.type === 'ResponseHeaderModifier'
}

function headerChanges(filters: readonly HeaderFilter[]): HeaderChanges {
  let changes: HeaderChanges = {}
  for (const filter of filters) {
    const request = filter.type === 'RequestHeaderModifier'
    const { set, add, remove } = request ? filter.requestHeaderModifier : filter.responseHeaderModifier
    const options = [
      ...set.map(({ name, value }) => setHeader(name, literal(value))),
      ...add.map(({ name, value }) => addHeader(name, literal(value))),
    ]
    changes = {
      ...changes,
      ...(options.length === 0 ? {} : { [request ? 'requestHeadersToAdd' : 'responseHeadersToAdd']: options }),
      ...(remove.length === 0 ? {} : { [request ? 'requestHeadersToRemove' : 'responseHeadersToRemove']: remove }),
    }
  }
  return changes
}

function rewriteJson(rule: ResolvedRule, path: PathCondition): RouteActionJson {
  const rewrite = rule.spec.filters.find(filter => filter.type === 'URLRewrite')?.urlRewrite
  if (rewrite === undefined) return {}
  return {
    ...(rewrite.hostname === undefined ? {} : { hostRewriteLiteral: rewrite.hostname }),
    ...(rewrite.path === undefined ? {} : { regexRewrite: pathRewrite(rewrite.path, path) }),
  }
}

/**
 * Always by regular expression: Envoy's own prefix rewrite replaces what the *route* matched, and the route of a target may match
 * a narrower path than the rule.
 */
function pathRewrite(modifier: PathModifier, path: PathCondition): RegexMatchAndSubstituteJson {
  if (modifier.type === 'ReplaceFullPath')
    return { pattern: { regex: '^/.*$' }, substitution: substitution(modifier.replaceFullPath) }
  const replacement = modifier.replacePrefixMatch.replace(/\/+$/, '')
  const prefix = path.value === '/' ? '' : path.value.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`)
  // Without a replacement the slash behind the prefix has to stay (or to come).
  if (replacement === '') return { pattern: { regex: `^${prefix}/*` }, substitution: '/' }
  return { pattern: { regex: `^${prefix}` }, substitution: substitution(replacement) }
}

function substitution(text: string): string {
  return text.replaceAll('\\', '\\\\')
}

const REDIRECT_CODES = {
  301: 'MOVED_PERMANENTLY',
  302: 'FOUND',
  303: 'SEE_OTHER',
  307: 'TEMPORARY_REDIRECT',
  308: 'PERMANENT_REDIRECT',
} as const
const WELL_KNOWN_PORTS = { http: 80, https: 443 } as const

function redirectJson(
  redirect: Extract<HttpRouteFilter, { type: 'RequestRedirect' }>['requestRedirect'],
  path: PathCondition,
  listenerPort: number,
): RedirectActionJson {
  const { scheme, hostname, port, statusCode } = redirect
  const target = port ?? (scheme === undefined ? listenerPort : WELL_KNOWN_PORTS[scheme])
  const wellKnown = scheme === undefined ? target === 80 || target === 443 : target === WELL_KNOWN_PORTS[scheme]
  // Envoy keeps the port of the Host header, unless it is the scheme's own: another one has to be replaced.
  const implied = wellKnown && (listenerPort === 80 || listenerPort === 443)
  return {
    responseCode: REDIRECT_CODES[statusCode],
    ...(scheme === undefined ? {} : { schemeRedirect: scheme }),
    ...(hostname === undefined ? {} : { hostRedirect: hostname }),
    ...(implied ? {} : { portRedirect: target }),
    ...(redirect.path === undefined ? {} : { regexRewrite: pathRewrite(redirect.path, path) }),
  }
}
