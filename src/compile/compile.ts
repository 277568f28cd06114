import { keyOf, problemAt } from '../config/object.ts'
import type { EnvoyResources } from '../config/envoy-resources.ts'
import { type Problem, sortProblems } from '../config/problem.ts'
import type { ObjectSet } from '../config/object-set.ts'
import type { ConfigItem } from '../config/read-document.ts'
import { FLEET_ENDPOINTS, type SignalboxParametersSpec } from '../config/kinds/signalbox-parameters.ts'
import type { ClusterJson } from '../gen/envoy/config/cluster/v3/cluster_pb.ts'
import type { Plan } from '../pipeline/plan.ts'
import { checkAnnotations, reportsLoad } from './annotations.ts'
import { Backends } from './backends.ts'
import { readBaseModels } from './base-models.ts'
import { errorsBeside } from './errors-beside.ts'
import { defaultEntry } from './default-entry.ts'
import { extProcAssignmentJson, extProcClusterJson, grpcCluster, type Upstream } from './envoy/clusters.ts'
import { readListeners } from './gateways.ts'
import { compileGatewayPools, type GatewayPools } from './gateway-pools.ts'
import { ALS_CLUSTER, contentHash } from './names.ts'
import { ObjectIndex } from './object-index.ts'
import { checkObjectives } from './objectives.ts'
import { checkPickerConfigs } from './picker-configs.ts'
import { checkWaits } from './queue-waits.ts'
import { checkScorers } from './scorers.ts'
import { compilePlugs, type ModelPool } from './plug-entries.ts'
import type { PoolDefaults } from './pools.ts'
import { addRaw } from './raw-resources.ts'
import { attachRoutes } from './routes.ts'
import { compileServers } from './servers.ts'
import { secretsJson } from './secrets.ts'
import type { ObjectStatus } from './statuses.ts'
import { gatewayStatuses, poolStatuses } from './object-statuses.ts'
import { warnUnread } from './unread-responses.ts'

/** Gateways that we don't configure may have an ORIGINAL_DST cluster, which takes one endpoint and no list. llm-d's pickers name one, too. */
const GATEWAY_ENDPOINTS = 1

export interface CompileOptions {
  /** Where Envoy reaches our ext_proc service: one address (or socket) per thread. */
  readonly extProc: Upstream
  /** Where Envoy reaches our access log service; absent: no gRPC access log. */
  readonly accessLogService?: Upstream
  /** Access logs have the records of decisions that were asked for. */
  readonly logDecisions?: boolean
  /** `namespace/name` of the pool for streams that name no entry (gateways that we don't configure). */
  readonly defaultPool?: string
  /**
   * Pools for such streams where there may be several, or none yet; instead of `defaultPool`. We are an endpoint picker then and no more: the
   * endpoints tell which models there are, and what they don't list is theirs to refuse.
   */
  readonly gatewayPools?: GatewayPools
  /** With `gatewayPools`: which pools serve which models, for filters of ours that pick. */
  readonly modelPools?: readonly ModelPool[]
  /** Subset hints of gateways are passed over. */
  readonly ignoreSubset?: boolean
  /** Plug-ins that llm-d calls experimental are refused. */
  readonly stableOnly?: boolean
  /** Goes before the settings of the configuration. */
  readonly scrape?: Partial<SignalboxParametersSpec['scrape']>
}

export interface Compiled {
  readonly envoy: EnvoyResources
  readonly plan: Plan
  readonly statuses: readonly ObjectStatus[]
  /** With any error nothing of the result may be used. */
  readonly errors: readonly Problem[]
  readonly warnings: readonly Problem[]
}

/**
 * `compile` of a set that may have errors itself: what could be read of it is compiled all the same, so that one look tells all
 * errors. Warnings of the compiler are left out then: an object that could not be read is missed elsewhere.
 */
export function compileSet(set: ObjectSet, options: CompileOptions): Compiled {
  const compiled = compile(set.items, options)
  const { broken = [] } = set
  const mended = broken.flatMap(({ item }) => (item === undefined ? [] : [item]))
  const errors =
    broken.length === 0
      ? compiled.errors
      : errorsBeside(broken, compiled.errors, compile([...set.items, ...mended], options).errors)
  return {
    ...compiled,
    errors: sortProblems([...set.errors, ...errors]),
    warnings: sortProblems([...set.warnings, ...(set.errors.length > 0 ? [] : compiled.warnings)]),
  }
}

/**
 * Resources → Envoy's configuration, the data path's plan and the statuses of the resources. Pure: the same items and options
 * give the same result, in the same order, whatever the order of the items was.
 */
export function compile(items: readonly ConfigItem[], options: CompileOptions): Compiled {
  const problems: Problem[] = []
  const objects = new ObjectIndex(items, options.scrape)
  const { parameters } = objects
  checkAnnotations(objects, problems)
  checkScorers(objects, problems)
  checkObjectives(objects, problems)
  checkPickerConfigs(objects, problems, options.stableOnly)
  const backends = new Backends(objects, problems, key => poolDefaults(key, options))
  const listeners = readListeners(objects, problems)
  const routes = attachRoutes(objects, backends, listeners, problems)
  const servers = compileServers(listeners, routes.unitsFor, parameters, {
    als: options.accessLogService !== undefined,
    decisions: options.logDecisions === true,
    loadReports: objects.all('InferencePool').some(reportsLoad),
  })
  const entries = [...servers.entries]
  checkWaits(objects, backends.pools, entries, parameters, problems)
  const fallback = defaultEntry(options.defaultPool, backends, parameters)
  if (fallback === 'unknown-pool') {
    problems.push({
      severity: 'error',
      code: 'unresolved-reference',
      message: `--pool ${options.defaultPool}: no such InferencePool; ${poolsThere(objects)}`,
    })
  } else if (fallback !== undefined) entries.push(fallback)
  const gateway =
    options.gatewayPools === undefined
      ? undefined
      : compileGatewayPools(options.gatewayPools, objects, backends, parameters, options.ignoreSubset ?? false)
  if (gateway !== undefined) entries.push(...gateway.entries)
  const plugs =
    options.gatewayPools === undefined
      ? undefined
      : compilePlugs(options.modelPools ?? [], objects.all('InferencePool'), backends, parameters)
  if (plugs !== undefined) entries.push(...plugs.entries)

  const clusters: ClusterJson[] = [extProcClusterJson(options.extProc), ...backends.clusters.values()]
  if (options.accessLogService !== undefined) clusters.push(grpcCluster(ALS_CLUSTER, options.accessLogService))
  const threads = extProcAssignmentJson(options.extProc)
  const generated = {
    clusters,
    endpoints: [...(threads === undefined ? [] : [threads]), ...backends.endpoints.values()],
    listeners: servers.listeners,
    routes: servers.routes,
    secrets: secretsJson(objects, listeners),
  }
  const envoy = addRaw(generated, objects.raw, problems)
  const content: Omit<Plan, 'version'> = {
    routing: { ...parameters.routing, baseModels: readBaseModels(objects, problems) },
    entries,
    pools: [...backends.pools.values()],
    ...(typeof fallback === 'object' ? { defaultEntry: fallback.id } : {}),
    ...(gateway === undefined ? {} : { gatewayPools: gateway.gatewayPools }),
    ...(plugs === undefined ? {} : { plugs: plugs.plugs }),
  }
  for (const pool of objects.all('InferencePool')) {
    if (backends.pools.has(keyOf(pool))) continue
    problems.push(problemAt(pool, 'warning', 'unused', [], 'no route leads to this pool'))
  }
  warnUnread(objects.all('InferencePool'), content, problems)
  const sorted = sortProblems(problems)
  return {
    envoy,
    plan: { version: contentHash(content), ...content },
    statuses: [
      ...gatewayStatuses(objects, listeners),
      ...routes.statuses,
      ...poolStatuses(objects, routes.poolParents),
    ],
    errors: sorted.filter(problem => problem.severity === 'error'),
    warnings: sorted.filter(problem => problem.severity === 'warning'),
  }
}

function poolDefaults(key: string, { gatewayPools, defaultPool }: CompileOptions): PoolDefaults {
  return {
    unknownModels: gatewayPools === undefined ? 'Reject' : 'Forward',
    endpoints: gatewayPools === undefined && key !== defaultPool ? FLEET_ENDPOINTS : GATEWAY_ENDPOINTS,
  }
}

const MOST_NAMES = 10

function poolsThere(objects: ObjectIndex): string {
  const names = objects.all('InferencePool').map(keyOf)
  if (names.length === 0) return 'there is none'
  const more = names.length > MOST_NAMES ? ` and ${names.length - MOST_NAMES} more` : ''
  return `there ${names.length === 1 ? 'is' : 'are'} ${names.slice(0, MOST_NAMES).join(', ')}${more}`
}
