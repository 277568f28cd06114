import type { InferencePool } from '../config/kinds/inference-pool.ts'
import type { Pod } from '../config/kinds/pod.ts'
import type { ConfigObject } from '../config/kinds/registry.ts'
import { keyOf } from '../config/object.ts'
import type { ObjectSet } from '../config/object-set.ts'
import { type Problem, sortProblems } from '../config/problem.ts'
import type { Log } from '../telemetry/log.ts'
import type { ApiClient } from './api-client.ts'
import { reasonOf } from './api-error.ts'
import { podWatches, type PodWatch } from './pod-watches.ts'
import { type ApiObject, readApiObject } from './read-api-object.ts'
import { readPod } from './read-pod.ts'
import { Reflector } from './reflector.ts'
import type { Kept, ReflectorCounts, ReflectorState, ReflectorTiming } from './reflector-options.ts'
import { collectionPath, PODS, type Resource, resourceName, RESOURCES } from './resources.ts'

export interface KubernetesSourceOptions {
  readonly client: ApiClient
  /** Only objects of this namespace. Undefined: of all. */
  readonly namespace: string | undefined
  readonly log: Log
  /** Pools that are left out, with their pods. Default: none. */
  readonly wants?: (pool: InferencePool) => boolean
  /** The only API group whose pools are followed. Default: both. */
  readonly poolGroup?: string
  /** Pools that the server does not have, whose pods are followed. */
  readonly given?: readonly InferencePool[]
  /** How long changes are collected, from the first on. */
  readonly coalesceMs?: number
  readonly timing?: ReflectorTiming
}

/** What is known about one resource, all its watches together. */
export interface ResourceFigures extends ReflectorCounts {
  readonly resource: string
  readonly objects: number
  /** Watches there are, and those of them that work now. */
  readonly watches: number
  readonly watching: number
  /** Seconds since the server said anything, of the watch that has waited longest; undefined: one never heard of it. */
  readonly ageSeconds: number | undefined
}

/** Handing a set on takes at most this part of the time: the next one waits longer where it takes long. */
const MAX_SHARE = 0.2
const COALESCE_MS = 50

/**
 * Follows the objects of an API server and hands them on as whole sets, like the file source does: InferencePools, what refers to
 * them, and the ready pods that they select. The first set comes when all of it has been listed. While the server is out of reach
 * nothing is handed on, so that what is in force stays.
 */
export class KubernetesSource {
  readonly #options: KubernetesSourceOptions
  readonly #listener: (set: ObjectSet) => void
  readonly #objects: readonly { readonly resource: Resource; readonly reflector: Reflector<ApiObject> }[]
  readonly #pods = new Map<string, Reflector<Pod>>()
  readonly #counts = new Map<string, ReflectorCounts>()
  /** Watches that fail now, by name: one line tells of an outage, and one of its end. */
  readonly #failing = new Set<string>()
  readonly #stopping = new Set<Promise<void>>()
  #timer: NodeJS.Timeout | undefined
  #lastMs = 0
  #running = false

  constructor(options: KubernetesSourceOptions, listener: (set: ObjectSet) => void) {
    this.#options = options
    this.#listener = listener
    const { poolGroup } = options
    const followed = RESOURCES.filter(
      ({ kind, group }) => kind !== 'InferencePool' || poolGroup === undefined || group === poolGroup,
    )
    this.#objects = followed.map(resource => ({
      resource,
      reflector: this.#reflector(resource, options.namespace, undefined, object => readApiObject(object, resource)),
    }))
  }

  start(): void {
    this.#running = true
    for (const { reflector } of this.#objects) reflector.start()
  }

  /** No request, timer or report is left when this resolves. The client stays open. */
  async stop(): Promise<void> {
    this.#running = false
    clearTimeout(this.#timer)
    const reflectors = [...this.#objects.map(({ reflector }) => reflector), ...this.#pods.values()]
    await Promise.all([...reflectors.map(reflector => reflector.stop()), ...this.#stopping])
  }

  figures(): readonly ResourceFigures[] {
    const figures = this.#objects.map(({ resource, reflector }) => this.#figuresOf(resource, [reflector]))
    return [this.#figuresOf(PODS, [...this.#pods.values()]), ...figures]
  }

  #figuresOf(resource: Resource, reflectors: readonly Reflector<unknown>[]): ResourceFigures {
    const ages = reflectors.map(({ ageMs }) => ageMs)
    const known = ages.filter(age => age !== undefined)
    return {
      resource: resourceName(resource),
      objects: reflectors.reduce((sum, { size }) => sum + size, 0),
      watches: reflectors.length,
      watching: reflectors.filter(({ state }) => state === 'watching').length,
      ageSeconds: known.length < ages.length || known.length === 0 ? undefined : Math.max(...known) / 1000,
      ...this.#countsOf(resource),
    }
  }

  #countsOf(resource: Resource): ReflectorCounts {
    const name = resourceName(resource)
    let counts = this.#counts.get(name)
    if (counts === undefined) this.#counts.set(name, (counts = { lists: 0, relists: 0, events: 0, errors: 0 }))
    return counts
  }

  #reflector<T>(
    resource: Resource,
    namespace: string | undefined,
    labelSelector: string | undefined,
    convert: (object: unknown) => Kept<T> | undefined,
  ): Reflector<T> {
    const { client, timing } = this.#options
    const name = `${resourceName(resource)}${labelSelector === undefined ? '' : ` (${namespace}: ${labelSelector})`}`
    let before: ReflectorState = 'starting'
    return new Reflector<T>({
      client,
      path: collectionPath(resource, namespace),
      ...(labelSelector === undefined ? {} : { labelSelector }),
      convert,
      onChange: () => this.#schedule(),
      onState: (state, error) => {
        this.#report(name, before, state, error)
        before = state
      },
      counts: this.#countsOf(resource),
      ...(timing === undefined ? {} : { timing }),
    })
  }

  #report(name: string, before: ReflectorState, state: ReflectorState, error: Error | undefined): void {
    const { log } = this.#options
    const reason = error === undefined ? '' : reasonOf(error)
    if (state === 'failing') {
      if (this.#failing.size === 0)
        log.warn({ resource: name, reason }, 'the API server can not be followed; what was known last stays')
      this.#failing.add(name)
      return
    }
    const recovered = this.#failing.delete(name) && this.#failing.size === 0 && state === 'watching'
    if (recovered) log.info('the API server is followed again')
    if (state === before) return
    if (state === 'absent') log.info({ resource: name }, 'the API server does not have this resource; it is looked for')
    if (state === 'forbidden') log.warn({ resource: name, reason }, 'no permission to follow this resource')
  }

  #schedule(): void {
    if (!this.#running || this.#timer !== undefined) return
    const delay = Math.max(this.#options.coalesceMs ?? COALESCE_MS, this.#lastMs / MAX_SHARE)
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#handOn()
    }, delay)
  }

  #handOn(): void {
    if (this.#objects.some(({ reflector }) => !reflector.settled)) return
    const began = performance.now()
    const { items, warnings } = this.#readObjects()
    this.#followPods([...items.filter(item => item.kind === 'InferencePool'), ...(this.#options.given ?? [])])
    // A new watch reports when it has its pods.
    if ([...this.#pods.values()].some(reflector => !reflector.settled)) return
    const pods = new Map<string, Pod>()
    for (const reflector of this.#pods.values()) for (const pod of reflector.values()) pods.set(keyOf(pod), pod)
    const all = [...items, ...pods.values()]
    this.#listener({ items: all, objects: all.length, errors: [], warnings: sortProblems(warnings) })
    this.#lastMs = performance.now() - began
  }

  #readObjects(): { readonly items: readonly ConfigObject[]; readonly warnings: readonly Problem[] } {
    const items = new Map<string, ConfigObject>()
    const warnings: Problem[] = []
    for (const { resource, reflector } of this.#objects) {
      for (const object of reflector.values()) {
        warnings.push(...object.warnings)
        const { item } = object
        if (item === undefined || (item.kind === 'InferencePool' && this.#options.wants?.(item) === false)) continue
        const key = `${item.kind} ${keyOf(item)}`
        if (!items.has(key)) {
          items.set(key, item)
          continue
        }
        warnings.push({
          severity: 'warning',
          code: 'duplicate-object',
          message: `there is one of a newer API group too; the one of ${resource.group} is left out`,
          position: item.origin.locate([]),
          object: key,
        })
      }
    }
    return { items: [...items.values()], warnings }
  }

  /** Starts and stops watches of pods until they fit the pools. */
  #followPods(pools: readonly InferencePool[]): void {
    const wanted = podWatches(pools)
    for (const [key, reflector] of this.#pods) {
      if (wanted.has(key)) continue
      this.#pods.delete(key)
      const stopped = reflector.stop().finally(() => this.#stopping.delete(stopped))
      this.#stopping.add(stopped)
    }
    for (const [key, watch] of wanted) {
      if (this.#pods.has(key)) continue
      const reflector = this.#podReflector(watch)
      this.#pods.set(key, reflector)
      reflector.start()
    }
  }

  #podReflector({ namespace, labelSelector }: PodWatch): Reflector<Pod> {
    return this.#reflector(PODS, namespace, labelSelector, readPod)
  }
}
