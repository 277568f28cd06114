/** Users' own hooks: what they are told of requests. Where a pool has none, nothing of this runs. */
import type { Exchange } from '../extproc/exchange.ts'
import { headerName, type HeaderView } from '../extproc/header-view.ts'
import type { PoolPlan } from '../inference/pool-plan.ts'
import { createRequestHook } from '../inference/scheduling/plugins/registry.ts'
import type { HookedRequest, RequestHook } from '../inference/scheduling/request-hook.ts'
import type { Call } from './call.ts'
import type { LinkedPool } from './linked-pool.ts'

type Hooks = readonly Required<RequestHook>[]

const NAME = /^[a-z0-9!#$%&'*+.^_`|~-]+$/
const NOT_THEIRS =
  /^(host|content-length|transfer-encoding|connection|upgrade|te|trailer|keep-alive|proxy-connection|x-envoy-.*|x-gateway-.*|x-signalbox-.*)$/
const VALUE = /^[\t\x20-\x7e\x80-\uffff]*$/

/** Hooks by pool. They stay while the plan's part of them does: they may remember. */
export class LinkedHooks {
  readonly #known = new Map<string, { readonly text: string; readonly hooks: Hooks }>()

  /** @throws UnknownPluginError, ZodError, and what the user's code throws */
  of({ name, scheduling: { hooks: plans = [] } }: PoolPlan): Hooks {
    const text = JSON.stringify(plans)
    const known = this.#known.get(name)
    if (known?.text === text) return known.hooks
    const hooks = plans.map(createRequestHook)
    this.#known.set(name, { text, hooks })
    return hooks
  }

  /** Forgets those of pools that have gone. */
  keep(pools: ReadonlyMap<string, unknown>): void {
    for (const name of this.#known.keys()) if (!pools.has(name)) this.#known.delete(name)
  }
}

/** The request was picked for; what hooks set goes to the replica with it. */
export function tellPicked(call: Call, linked: LinkedPool): void {
  const hooked = new Hooked(call, linked)
  call.hooked = hooked
  hooked.picked(call.headers, call.told)
}

export class Hooked implements HookedRequest {
  readonly pool: string
  readonly path: string
  readonly model: string | undefined
  readonly endpoint: string
  readonly labels: Readonly<Record<string, string>>
  readonly #hooks: Hooks
  /** Of the event under way. */
  #headers: HeaderView | undefined
  #set: string[] | undefined
  #over = false

  constructor({ path, model, picked }: Call, { pool, plan, hooks }: LinkedPool) {
    this.pool = plan.name
    this.path = path
    this.model = model
    const slot = picked.slots[0]!
    this.endpoint = pool.addressOf(slot)
    this.labels = pool.table.labels(slot) ?? {}
    this.#hooks = hooks
  }

  header(name: string): string | undefined {
    return this.#headers?.joined(headerName(name))
  }

  setHeader(given: string, value: string): void {
    const name = given.toLowerCase()
    if (!NAME.test(name) || NOT_THEIRS.test(name)) throw new RangeError(`"${given}" is no header that a hook may set`)
    if (typeof value !== 'string' || !VALUE.test(value)) throw new RangeError(`"${given}": no value of a header`)
    this.#set?.push(name, value)
  }

  /** `told`: name, value, name, value. */
  picked(headers: HeaderView, told: string[]): void {
    this.#during(headers, told)
    for (const hook of this.#hooks) hook.picked(this)
    this.#during(undefined, undefined)
  }

  responded({ responseSet }: Exchange, headers: HeaderView): void {
    this.#during(headers, responseSet)
    for (const hook of this.#hooks) hook.responded(this)
    this.#during(undefined, undefined)
  }

  /** What comes after the first call tells nothing new. */
  ended(answered: boolean): void {
    if (this.#over) return
    this.#over = true
    for (const hook of this.#hooks) hook.ended(this, answered)
  }

  #during(headers: HeaderView | undefined, set: string[] | undefined): void {
    this.#headers = headers
    this.#set = set
  }
}
