/** The scheduling profiles of a pool, and who decides which of them a request runs through. */
import type { EndpointTable } from '../endpoint-table.ts'
import type { Admitter } from './admitter.ts'
import type { PluginPlan, SchedulingPlan } from '../pool-plan.ts'
import {
  createAdmitter,
  createDecider,
  createProfileHandler,
  createScreener,
  UnknownPluginError,
} from './plugins/registry.ts'
import { attachAll, keyed, type KeyedPlugin } from './plugin-memory.ts'
import { Producers } from './producers.ts'
import { looksAtMedia, looksAtOutputCap, looksAtPrompts, Profile, profileLooksAtPrefixes } from './profile.ts'
import type { Screener } from './screener.ts'
import { NO_NEEDS, type ProfileHandler, type PromptNeeds } from './profile-handler.ts'

/** Name of a primary profile that nobody named. */
const DEFAULT_NAME = 'default'

export class Profiles {
  /** By number; the primary one is 0. */
  readonly all: readonly Profile[]
  readonly primary: Profile
  /** Undefined: only the primary one runs. */
  readonly handler: ProfileHandler | undefined
  readonly producers: Producers
  /** Asked about requests of negative priority; some about all. */
  readonly admitters: readonly Admitter[]
  readonly screeners: readonly Screener[]
  readonly #keyedScreeners: readonly KeyedPlugin[]

  /** @throws UnknownScorerError, UnknownPluginError, ZodError for bad parameters, RangeError for a weight that is no finite number */
  constructor(plan: SchedulingPlan) {
    this.primary = new Profile(plan, plan.profileName ?? DEFAULT_NAME)
    this.all = [this.primary, ...(plan.profiles ?? []).map(profile => new Profile(profile, profile.name))]
    this.handler = handlerOf(plan)
    this.producers = new Producers(plan.producers ?? [])
    this.admitters = (plan.admitters ?? []).map(createAdmitter)
    const { screeners = [] } = plan
    this.screeners = screeners.map(createScreener)
    this.#keyedScreeners = keyed('screeners', screeners, this.screeners)
  }

  reserve(capacity: number): void {
    for (const profile of this.all) profile.reserve(capacity)
  }

  /** All that may remember anything. */
  get plugins(): readonly KeyedPlugin[] {
    return [...this.all.flatMap(profile => profile.keyed), ...this.producers.keyed, ...this.#keyedScreeners]
  }

  /** Goes over to the endpoints that the table has now. `memory`: as `PluginMemory` makes it for these plug-ins. @throws RangeError */
  adopt(table: EndpointTable, memory: readonly SharedArrayBuffer[]): void {
    for (const profile of this.all) profile.adopt(table)
    this.producers.adopt(table)
    for (const screener of this.screeners) screener.adopt(table)
    attachAll(this.plugins, table, memory)
  }
}

/** What a pool's plug-ins need to know of prompts. */
export function promptNeeds(plan: SchedulingPlan): PromptNeeds {
  const { prefix, bytes, media } = handlerOf(plan)?.needs ?? NO_NEEDS
  const scores =
    plan.bursts !== undefined ||
    profileLooksAtPrefixes(plan) ||
    (plan.profiles ?? []).some(profileLooksAtPrefixes) ||
    (plan.producers ?? []).some(looksAtPrompts)
  const { producers = [] } = plan
  return {
    prefix: prefix || scores,
    bytes,
    media,
    mediaHashes: producers.some(looksAtMedia),
    mediaTokens: prefix || scores ? plan.mediaTokens : undefined,
    outputCap: producers.some(looksAtOutputCap),
  }
}

function handlerOf({ handler, profileName = DEFAULT_NAME, profiles = [] }: SchedulingPlan): ProfileHandler | undefined {
  if (handler === undefined) return undefined
  const names = [profileName, ...profiles.map(({ name }) => name)]
  return createProfileHandler(handler, {
    profile: name => names.indexOf(name),
    profiles: names.length,
    decider: name => {
      const plan: PluginPlan | undefined = handler.deciders[name]
      if (plan === undefined) throw new UnknownPluginError(name, 'decider')
      return createDecider(plan)
    },
  })
}
