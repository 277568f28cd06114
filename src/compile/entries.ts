import type { SignalboxParametersSpec } from '../config/kinds/signalbox-parameters.ts'
import { keyOf } from '../config/object.ts'
import type { RouteJson, RouteMatchJson } from '../gen/envoy/config/route/v3/route_components_pb.ts'
import type { PoolPlan } from '../inference/pool-plan.ts'
import { promptNeeds } from '../inference/scheduling/profiles.ts'
import { type EntryPlan, type RulePlan, TARGET_HEADER, type TargetPlan } from '../pipeline/plan.ts'
import { BODY_MODE, MODEL_FACT } from './annotations.ts'
import { perRouteJson } from './envoy/ext-proc.ts'
import { actionJson, keepsBody, NO_ROUTE, UNDECIDED } from './envoy/route-action.ts'
import { pathMatchJson } from './envoy/route-match.ts'
import { contentHash, headerSafe } from './names.ts'
import { fleetWait } from './queue-waits.ts'
import { type Candidate, isUnconditional, type PathCondition, type ResolvedRule } from './rules.ts'

const LORA_SCORER = 'lora-affinity-scorer'

export interface EntrySpec {
  /** `gateway/listener/host` */
  readonly scope: string
  readonly path: PathCondition
  readonly listenerPort: number
  readonly candidates: readonly Candidate[]
  /** The entry for `GET /v1/models` that nobody wrote. */
  readonly listModels: boolean
}

export interface CompiledEntry {
  readonly plan: EntryPlan
  /** Target routes, then the entry route. */
  readonly routes: readonly RouteJson[]
}

/** Does one of the candidates have to be decided by us? */
export function needsDecision(candidates: readonly Candidate[]): boolean {
  return candidates.some(
    ({ unit }) =>
      unit.model !== undefined ||
      unit.baseModel !== undefined ||
      unit.rule.backends.some(backend => backend.type === 'pool'),
  )
}

/** The plan of an entry, and the routes of Envoy that go with it. */
export function compileEntry(spec: EntrySpec, parameters: SignalboxParametersSpec): CompiledEntry {
  const { candidates, path, listModels } = spec
  const facts = listModels ? NO_FACTS : factsOf(candidates, parameters)
  const keeps = facts.body !== 'none' && candidates.some(({ unit }) => keepsBody(unit.rule, parameters))
  const retryBufferBytes = keeps ? parameters.retries.maxBodyBytes : 0
  const targets = new Map<
    string,
    { readonly target: TargetPlan; readonly rule: ResolvedRule; readonly index: number; readonly path: PathCondition }
  >()
  const rules = candidates.map(({ unit, checkPath }): RulePlan => {
    const ownTargets: TargetPlan[] = []
    for (const [index, plain] of targetsOf(unit.rule, unit.path)) {
      const looked = facts.body !== 'none' && index >= 0 && keepsBody(unit.rule, parameters)
      const target = looked ? { ...plain, unretriedId: `${plain.id}.unretried` } : plain
      ownTargets.push(target)
      targets.set(target.id, { target, rule: unit.rule, index, path: unit.path })
    }
    return {
      name: ruleName(unit.rule),
      ...(checkPath ? { path: { type: 'prefix' as const, value: unit.path.value } } : {}),
      ...(unit.method === undefined ? {} : { method: unit.method }),
      headers: unit.headers,
      query: unit.query,
      ...(unit.model === undefined ? {} : { model: unit.model }),
      ...(unit.baseModel === undefined ? {} : { baseModel: unit.baseModel }),
      targets: ownTargets,
    }
  })
  const backends = candidates.flatMap(({ unit }) => unit.rule.backends)
  const maxWaitMs = Math.max(
    0,
    ...backends.map(backend => (backend.type === 'pool' ? fleetWait(backend.plan, parameters) : 0)),
  )
  const content: Omit<EntryPlan, 'id'> = {
    name: `${spec.scope}${pathText(path)}${listModels ? ' (models)' : ''}`,
    attach: 'fleet',
    followResponse: false,
    ...facts,
    maxBodyBytes: parameters.limits.maxRequestBodyBytes,
    messageTimeoutMs: parameters.timeouts.message,
    uploadTimeoutMs: parameters.timeouts.upload,
    uploadIdleMs: parameters.timeouts.uploadIdle,
    ...(maxWaitMs === 0 ? {} : { maxWaitMs }),
    retryBufferBytes,
    rules,
    listModels,
  }
  const plan: EntryPlan = { id: entryId(content), ...content }
  const fallback = fallbackTarget(candidates, parameters)
  const shared: RouteJson = { typedPerFilterConfig: perRouteJson(plan.id, plan.body, fallback !== undefined) }
  // On the entry route the body is held while we look. Beyond the cap we answer 413; at its limit Envoy only stalls, and it does
  // that from 1 MiB up only. On target routes the limit says up to which size a body is kept for retries.
  const held = { requestBodyBufferLimit: String(Math.max(plan.maxBodyBytes, 1024 * 1024)) }
  const retried = retryBufferBytes === 0 ? held : { requestBodyBufferLimit: String(retryBufferBytes) }
  const match: RouteMatchJson = pathMatchJson(path)
  const routes = listModels
    ? []
    : [...targets.values()].flatMap(({ target, rule, index, path: rulePath }): RouteJson[] => {
        const action = actionJson(rule, rulePath, spec.listenerPort, parameters, index < 0 ? undefined : index)
        const routeTo = (id: string, to: RouteJson, limit: RouteJson): RouteJson => ({
          name: id,
          match: { ...match, headers: [{ name: TARGET_HEADER, stringMatch: { exact: id } }] },
          ...to,
          requestHeadersToRemove: [...(to.requestHeadersToRemove ?? []), TARGET_HEADER],
          ...shared,
          ...limit,
        })
        const { id, unretriedId } = target
        return unretriedId === undefined
          ? [routeTo(id, action, retried)]
          : [routeTo(id, action, retried), routeTo(unretriedId, withoutCopies(action), held)]
      })
  const entryAction =
    fallback === undefined
      ? plan.body === 'none'
        ? NO_ROUTE
        : UNDECIDED
      : withoutCopies(actionJson(fallback.unit.rule, fallback.unit.path, spec.listenerPort, parameters))
  routes.push({
    name: plan.id,
    match: listModels ? { ...match, headers: [{ name: ':method', stringMatch: { exact: 'GET' } }] } : match,
    ...entryAction,
    ...shared,
    ...held,
  })
  return { plan, routes }
}

/**
 * Without retries and mirrors: a body of which Envoy keeps a copy is sent twice when our stream ends in the middle of it
 * (`Decider.retryBufferBytes`), and failing open is just that.
 */
function withoutCopies(action: RouteJson): RouteJson {
  if (action.route === undefined) return action
  const { retryPolicy, requestMirrorPolicies: _mirrors, ...route } = action.route
  // The time of one attempt holds all the same.
  const perTryTimeout = retryPolicy?.perTryTimeout
  return {
    ...action,
    route: { ...route, ...(perTryTimeout === undefined ? {} : { retryPolicy: { numRetries: 0, perTryTimeout } }) },
  }
}

/** `name@hash`, fit for gRPC metadata. */
export function entryId(content: Omit<EntryPlan, 'id'>): string {
  return `${headerSafe(content.name, 120)}@${contentHash(content)}`
}

/** The targets of a rule by the place of their backendRef; a redirect is one target at -1. */
function targetsOf(rule: ResolvedRule, path: PathCondition): (readonly [number, TargetPlan])[] {
  if (rule.spec.filters.some(filter => filter.type === 'RequestRedirect')) {
    return [[-1, { id: targetId(rule, path, 'redirect', -1), weight: 1, cluster: '' }]]
  }
  const valid = rule.backends.some(
    (backend, index) => backend.type !== 'invalid' && rule.spec.backendRefs[index]!.weight > 0,
  )
  if (!valid) return []
  return rule.spec.backendRefs.flatMap((ref, index) => {
    if (ref.weight === 0) return []
    const backend = rule.backends[index]!
    return [
      [
        index,
        {
          id: targetId(rule, path, ref.name, index),
          weight: ref.weight,
          cluster: backend.type === 'invalid' ? '' : backend.cluster,
          ...(backend.type === 'pool' ? { pool: backend.plan.name } : {}),
        },
      ] as const,
    ]
  })
}

/** Readable, and unique by the hash: the matched path counts, because a prefix rewrite depends on it. */
function targetId(rule: ResolvedRule, path: PathCondition, name: string, index: number): string {
  const route = keyOf(rule.route)
  return `${headerSafe(`${route}/${rule.index}/${name}`, 80)}~${contentHash([route, rule.index, name, index, path], 8)}`
}

function ruleName(rule: ResolvedRule): string {
  return `${keyOf(rule.route)}[${rule.index}]`
}

function pathText({ type, value }: PathCondition): string {
  return type === 'exact' ? `=${value}` : type === 'regex' ? `~${value}` : value
}

const NO_FACTS = { body: 'none', model: 'none', prefixBytes: 0 } as const

/** The union of what the candidates need of the body. */
function factsOf(
  candidates: readonly Candidate[],
  parameters: SignalboxParametersSpec,
): Pick<EntryPlan, 'body' | 'model' | 'prefixBytes' | 'media' | 'mediaHashes' | 'mediaTokens' | 'outputCap'> {
  let model = false
  let prefixBytes = 0
  let media = false
  let mediaHashes = false
  // Where a request will go is not known yet when it is read: the first pool that says anything says it for all.
  let mediaTokens: EntryPlan['mediaTokens']
  let outputCap = false
  let rewrites = false
  for (const { unit } of candidates) {
    // These have no body to look at.
    if (unit.method === 'GET' || unit.method === 'HEAD') continue
    if (unit.model !== undefined || unit.baseModel !== undefined) model = true
    for (const backend of unit.rule.backends) {
      if (backend.type !== 'pool') continue
      model ||= poolNeedsModel(backend.plan)
      rewrites ||= backend.plan.rewrites.length > 0
      prefixBytes = Math.max(prefixBytes, prefixBytesOf(backend.plan, parameters))
      const needs = promptNeeds(backend.plan.scheduling)
      media ||= needs.media
      mediaHashes ||= needs.mediaHashes === true
      mediaTokens ??= needs.mediaTokens
      outputCap ||= needs.outputCap === true
    }
  }
  if (!model && prefixBytes === 0 && !media && !mediaHashes) return NO_FACTS
  const annotated = (name: string, value: string): boolean =>
    candidates.some(({ unit }) => unit.rule.route.metadata.annotations[name] === value)
  return {
    body: annotated(BODY_MODE, 'full-duplex') ? 'full-duplex' : 'look',
    // A rewrite of the first `model` would be undone by a second.
    model: model ? (rewrites || annotated(MODEL_FACT, 'whole') ? 'whole' : 'first') : 'none',
    prefixBytes,
    ...(media ? { media } : {}),
    ...(mediaHashes ? { mediaHashes } : {}),
    ...(mediaTokens === undefined ? {} : { mediaTokens }),
    ...(outputCap ? { outputCap } : {}),
  }
}

/** Bytes of a prompt that the pool's plug-ins look at. */
export function prefixBytesOf({ scheduling }: PoolPlan, { limits }: SignalboxParametersSpec): number {
  const { prefix, bytes } = promptNeeds(scheduling)
  if (!prefix) return 0
  const { bursts, prefixBlockBytes } = scheduling
  const burstBytes = bursts === undefined ? 0 : bursts.maxBlocks * bursts.stride * prefixBlockBytes
  return (scheduling.prefixBytes ?? Math.max(limits.prefixBytes, burstBytes)) + bytes
}

function poolNeedsModel(pool: PoolPlan): boolean {
  return (
    pool.rejectUnknownModels ||
    pool.rewrites.length > 0 ||
    pool.scheduling.parsers !== undefined ||
    pool.scheduling.scorers.some(scorer => scorer.type === LORA_SCORER)
  )
}

/**
 * Where requests go when Signalbox can't be asked, or undefined: fail closed. Without a look at the body the first candidate
 * that puts no condition on anything is the only honest choice. Its pools and those of all candidates before it must fail open; for
 * other backends the parameters say it.
 */
function fallbackTarget(candidates: readonly Candidate[], parameters: SignalboxParametersSpec): Candidate | undefined {
  const at = candidates.findIndex(({ unit, checkPath }) => !checkPath && isUnconditional(unit))
  if (at < 0 || candidates[at]!.unit.rule.backends.length === 0) return undefined
  // A request that one of the rules before would have taken goes there too, so all of them must be open.
  const open = candidates
    .slice(0, at + 1)
    .every(({ unit }) =>
      unit.rule.backends.every(backend =>
        backend.type === 'pool' ? backend.plan.failOpen : parameters.failureMode === 'FailOpen',
      ),
    )
  return open ? candidates[at] : undefined
}
