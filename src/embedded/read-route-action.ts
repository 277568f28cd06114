/** What routes do with a request: forwarding with its rewrites, retries and mirrors, and redirects. */
import {
  type RedirectAction,
  RedirectAction_RedirectResponseCode as RedirectCode,
  RedirectActionSchema,
  type RetryPolicy,
  RetryPolicySchema,
  type RouteAction,
  RouteAction_ClusterNotFoundResponseCode as NotFound,
  RouteAction_RequestMirrorPolicySchema as MirrorSchema,
  RouteActionSchema,
  type RouteMatch,
  type WeightedCluster_ClusterWeight,
  WeightedCluster_ClusterWeightSchema,
} from '../gen/envoy/config/route/v3/route_components_pb.ts'
import type { RegexMatchAndSubstitute } from '../gen/envoy/type/matcher/v3/regex_pb.ts'
import { FractionalPercent_DenominatorType as Denominator } from '../gen/envoy/type/v3/percent_pb.ts'
import { NO_EDITS, readHeaderEdits } from './header-edits.ts'
import { readPerRoute } from './read-per-route.ts'
import { milliseconds, type Problems } from './resource-reader.ts'
import { isRetryCondition, type RetryCondition, type RetryRules } from './retry.ts'
import {
  type ForwardAction,
  type MirrorTarget,
  type RedirectRule,
  type WeightedTarget,
  portSuffix,
  withoutPort,
} from './route-table.ts'
import { regexOf } from './string-match.ts'

type PathRewrite = (path: string) => string

/** Throws `SyntaxError` for a bad regular expression. */
export function readForward(
  path: string,
  action: RouteAction,
  match: RouteMatch | undefined,
  hostRetry: RetryPolicy | undefined,
  problems: Problems,
): ForwardAction {
  problems.unsupported(path, RouteActionSchema, action, [
    'clusterSpecifier',
    'clusterNotFoundResponseCode',
    'prefixRewrite',
    'regexRewrite',
    'hostRewriteSpecifier',
    'timeout',
    'idleTimeout',
    'retryPolicy',
    'requestMirrorPolicies',
    'priority',
  ])
  const specifier = action.clusterSpecifier
  const targets =
    specifier.case === 'cluster'
      ? [plainTarget(specifier.value)]
      : specifier.case === 'clusterHeader'
        ? [plainTarget('')]
        : specifier.case === 'weightedClusters'
          ? specifier.value.clusters.map(cluster => weightedTarget(path, cluster, problems))
          : []
  if (targets.length === 0) problems.add(path, `cluster specifier ${specifier.case ?? 'nothing'} is not served`)
  const retry = action.retryPolicy ?? hostRetry
  return {
    type: 'forward',
    clusters: targets,
    clusterHeader: specifier.case === 'clusterHeader' ? specifier.value.toLowerCase() : undefined,
    notFoundStatus: notFoundStatus(action.clusterNotFoundResponseCode),
    rewritePath: pathRewrite(match, action.prefixRewrite, action.regexRewrite),
    rewriteHost: readHostRewrite(path, action, problems),
    timeoutMs: milliseconds(action.timeout, 15_000),
    idleTimeoutMs: action.idleTimeout === undefined ? undefined : milliseconds(action.idleTimeout, 0),
    retry: retry === undefined ? undefined : readRetry(path, retry, problems),
    mirrors: action.requestMirrorPolicies.map((policy): MirrorTarget => {
      problems.unsupported(path, MirrorSchema, policy, ['cluster', 'runtimeFraction', 'traceSampled'])
      const { numerator = 100, denominator = Denominator.HUNDRED } = policy.runtimeFraction?.defaultValue ?? {}
      const of = denominator === Denominator.MILLION ? 1e6 : denominator === Denominator.TEN_THOUSAND ? 1e4 : 100
      return { cluster: policy.cluster, fraction: numerator / of }
    }),
  }
}

function notFoundStatus(code: number): number {
  return code === NotFound.NOT_FOUND ? 404 : code === NotFound.INTERNAL_SERVER_ERROR ? 500 : 503
}

function plainTarget(cluster: string): WeightedTarget {
  return { cluster, weight: 1, requestEdits: NO_EDITS, responseEdits: NO_EDITS, extProc: [], hostRewrite: undefined }
}

function weightedTarget(path: string, cluster: WeightedCluster_ClusterWeight, problems: Problems): WeightedTarget {
  problems.unsupported(path, WeightedCluster_ClusterWeightSchema, cluster, [
    'name',
    'weight',
    'requestHeadersToAdd',
    'requestHeadersToRemove',
    'responseHeadersToAdd',
    'responseHeadersToRemove',
    'typedPerFilterConfig',
    'hostRewriteSpecifier',
  ])
  return {
    cluster: cluster.name,
    weight: cluster.weight ?? 0,
    requestEdits: readHeaderEdits(cluster.requestHeadersToRemove, cluster.requestHeadersToAdd),
    responseEdits: readHeaderEdits(cluster.responseHeadersToRemove, cluster.responseHeadersToAdd),
    extProc: readPerRoute(path, cluster.typedPerFilterConfig, problems),
    hostRewrite:
      cluster.hostRewriteSpecifier.case === 'hostRewriteLiteral' ? cluster.hostRewriteSpecifier.value : undefined,
  }
}

function readHostRewrite(path: string, action: RouteAction, problems: Problems): ForwardAction['rewriteHost'] {
  const { case: kind, value } = action.hostRewriteSpecifier
  if (kind === undefined) return undefined
  if (kind === 'hostRewriteLiteral') return () => value
  if (kind === 'hostRewriteHeader') return headers => headers.get(value.toLowerCase())
  problems.add(path, `${kind} is not served`)
  return undefined
}

/** Rewrites the path and leaves the query. */
function pathRewrite(
  match: RouteMatch | undefined,
  prefix: string,
  regex: RegexMatchAndSubstitute | undefined,
): PathRewrite | undefined {
  if (regex !== undefined) {
    const pattern = regexOf(regex.pattern, false, 'g')
    return onPath(text => text.replaceAll(pattern, (...found: unknown[]) => substitute(regex.substitution, found)))
  }
  const matched = match?.pathSpecifier
  if (prefix === '' || matched === undefined) return undefined
  if (matched.case === 'path') return onPath(() => prefix)
  if (matched.case !== 'prefix' && matched.case !== 'pathSeparatedPrefix') return undefined
  return onPath(text => prefix + text.slice(matched.value.length))
}

function onPath(rewrite: PathRewrite): PathRewrite {
  return target => {
    const cut = target.search(/[?#]/)
    return cut < 0 ? rewrite(target) : rewrite(target.slice(0, cut)) + target.slice(cut)
  }
}

/** RE2's `\0`–`\9` and `\\`. */
function substitute(text: string, found: readonly unknown[]): string {
  return text.replaceAll(/\\(\d|\\)/g, (_all, what: string) => {
    if (what === '\\') return what
    const group = found[Number(what)]
    return typeof group === 'string' ? group : ''
  })
}

function readRetry(path: string, policy: RetryPolicy, problems: Problems): RetryRules {
  problems.unsupported(path, RetryPolicySchema, policy, [
    'retryOn',
    'numRetries',
    'perTryTimeout',
    'retryHostPredicate',
    'hostSelectionRetryMaxAttempts',
    'retriableStatusCodes',
    'retryBackOff',
  ])
  const conditions = new Set<RetryCondition>()
  for (const text of policy.retryOn.split(',')) {
    const condition = text.trim()
    if (isRetryCondition(condition)) conditions.add(condition)
    else if (condition !== '') problems.add(path, `retry_on ${condition} is not served`)
  }
  const backOffMs = milliseconds(policy.retryBackOff?.baseInterval, 25)
  return {
    conditions,
    retries: policy.numRetries ?? 1,
    statusCodes: new Set(policy.retriableStatusCodes),
    perTryTimeoutMs: milliseconds(policy.perTryTimeout, 0),
    backOffMs,
    maxBackOffMs: milliseconds(policy.retryBackOff?.maxInterval, backOffMs * 10),
    avoidsTried: policy.retryHostPredicate.some(predicate => predicate.name.endsWith('previous_hosts'))
      ? Math.max(1, Number(policy.hostSelectionRetryMaxAttempts))
      : 0,
  }
}

const STATUS: Readonly<Record<number, number>> = {
  [RedirectCode.MOVED_PERMANENTLY]: 301,
  [RedirectCode.FOUND]: 302,
  [RedirectCode.SEE_OTHER]: 303,
  [RedirectCode.TEMPORARY_REDIRECT]: 307,
  [RedirectCode.PERMANENT_REDIRECT]: 308,
}

/** Throws `SyntaxError` for a bad regular expression. */
export function readRedirect(
  path: string,
  redirect: RedirectAction,
  match: RouteMatch | undefined,
  problems: Problems,
): RedirectRule {
  problems.unsupported(path, RedirectActionSchema, redirect, [
    'schemeRewriteSpecifier',
    'hostRedirect',
    'portRedirect',
    'pathRewriteSpecifier',
    'responseCode',
    'stripQuery',
  ])
  const { pathRewriteSpecifier: rewrite, schemeRewriteSpecifier: scheme } = redirect
  if (rewrite.case === 'pathRewrite') problems.add(path, 'path_rewrite is not served')
  const rewritten =
    rewrite.case === 'prefixRewrite'
      ? pathRewrite(match, rewrite.value, undefined)
      : rewrite.case === 'regexRewrite'
        ? pathRewrite(match, '', rewrite.value)
        : undefined
  const location: RedirectRule['location'] = ({ headers }) => {
    const before = headers.get(':scheme') ?? 'http'
    const after =
      scheme.case === 'schemeRedirect'
        ? scheme.value
        : scheme.case === 'httpsRedirect' && scheme.value
          ? 'https'
          : before
    const authority = headers.get(':authority') ?? ''
    const host = redirect.hostRedirect || withoutPort(authority)
    const given = portSuffix(authority)
    // A port that belonged to the old scheme goes with it.
    const kept =
      redirect.hostRedirect !== '' || (after !== before && (given === ':80' || given === ':443')) ? '' : given
    const port = redirect.portRedirect === 0 ? kept : `:${redirect.portRedirect}`
    const target = headers.get(':path') ?? '/'
    const cut = target.indexOf('?')
    const query = cut < 0 || redirect.stripQuery ? '' : target.slice(cut)
    const plain = cut < 0 ? target : target.slice(0, cut)
    if (rewrite.case === 'pathRedirect')
      return `${after}://${host}${port}${rewrite.value}${rewrite.value.includes('?') ? '' : query}`
    return `${after}://${host}${port}${rewritten === undefined ? plain : rewritten(plain)}${query}`
  }
  return { type: 'redirect', status: STATUS[redirect.responseCode] ?? 301, location }
}
