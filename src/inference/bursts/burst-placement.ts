import { finish } from '../prefix-hasher.ts'
import type { BurstPlan } from './burst-plan.ts'
import type { PromptBlocks } from './prompt-blocks.ts'

/** A request of a burst. */
export interface BurstPrompt {
  /** Not empty. */
  readonly blocks: PromptBlocks
  /** Where it is to go; −1 = it has nothing in common with others. */
  slot: number
}

/** The replicas that a request may go to, `slots[0, count)`, and how many requests each has in its batch. */
export interface BurstReplicas {
  readonly count: number
  readonly slots: Int32Array
  readonly running: Float64Array
}

/** Requests with the same prompt, or one that shares its beginning with others. */
interface Unit {
  readonly prompts: BurstPrompt[]
  readonly blocks: PromptBlocks
  readonly name: string
  /** What it adds to a replica in the end, as things are balanced. */
  readonly cost: number
  /** Replicas that have some of it. */
  readonly slots: Set<number>
}

/**
 * Finds places for the requests of a burst, so that what they have in common is computed on few replicas: those with the same prompt first,
 * each group at the replica that has least of the burst so far, up to `maxPerReplica`; then single ones. With `minColocateBlocks` a group
 * goes to where the most of its beginning is already, as long as that replica has no more than its share of the burst.
 */
export class BurstPlacement {
  readonly #plan: BurstPlan
  /** Of the burst at each slot, in requests or blocks. */
  #load = new Float64Array(0)
  #total = 0

  constructor(plan: BurstPlan) {
    this.#plan = plan
  }

  /** Sets the slots of `prompts`; `capacity`: of the endpoint table. `replicasOf` is asked once a group, and its answer used at once. */
  place(
    prompts: readonly BurstPrompt[],
    capacity: number,
    replicasOf: (prompt: BurstPrompt, index: number) => BurstReplicas,
  ): void {
    const places = new Map(prompts.map((prompt, index) => [prompt, index]))
    const units = this.#units(prompts)
    this.#load = new Float64Array(capacity)
    this.#total = units.reduce((sum, { cost }) => sum + cost, 0)
    const { balanceBy, minColocateBlocks } = this.#plan
    const related = balanceBy === 'tokens' ? 1 : minColocateBlocks
    const families = new Map<string, Unit[]>()
    for (const unit of units) {
      const first = unit.prompts[0]!
      const replicas = replicasOf(first, places.get(first)!)
      if (replicas.count === 0) continue
      const name = related > 0 && unit.blocks.count >= related ? unit.blocks.name(related) : undefined
      const family = name === undefined ? [] : (families.get(name) ?? [])
      this.#placeUnit(unit, replicas, held(unit, family))
      if (name === undefined) continue
      family.push(unit)
      families.set(name, family)
    }
  }

  /** In the order in which they are placed. */
  #units(prompts: readonly BurstPrompt[]): Unit[] {
    const groups = new Map<string, BurstPrompt[]>()
    for (const prompt of prompts) {
      const name = prompt.blocks.name(prompt.blocks.count)
      const group = groups.get(name)
      if (group === undefined) groups.set(name, [prompt])
      else group.push(prompt)
    }
    const related = this.#related(groups)
    const units = [...groups].flatMap(([name, group]): Unit[] => {
      const { blocks } = group[0]!
      if (group.length < 2 && !related.has(name)) return []
      const cost = this.#plan.balanceBy === 'tokens' ? blocks.count : group.length
      return [{ prompts: group, blocks, name, cost, slots: new Set() }]
    })
    // The last rule makes the threads of a pool, which each have a part of a burst, agree.
    return units.sort(
      (a, b) =>
        Number(b.prompts.length > 1) - Number(a.prompts.length > 1) ||
        b.blocks.count - a.blocks.count ||
        (a.name < b.name ? -1 : 1),
    )
  }

  /** Names of the groups that share their beginning with another request. */
  #related(groups: ReadonlyMap<string, readonly BurstPrompt[]>): ReadonlySet<string> {
    const { minColocateBlocks } = this.#plan
    if (minColocateBlocks === 0) return new Set()
    const beginnings = new Map<string, { requests: number; readonly groups: string[] }>()
    for (const [name, group] of groups) {
      const { blocks } = group[0]!
      if (blocks.count < minColocateBlocks) continue
      const beginning = blocks.name(minColocateBlocks)
      const known = beginnings.get(beginning)
      if (known === undefined) beginnings.set(beginning, { requests: group.length, groups: [name] })
      else {
        known.requests += group.length
        known.groups.push(name)
      }
    }
    return new Set([...beginnings.values()].filter(({ requests }) => requests > 1).flatMap(each => each.groups))
  }

  #placeUnit(unit: Unit, replicas: BurstReplicas, matches: ReadonlyMap<number, number>): void {
    const { prompts, blocks, slots } = unit
    const { maxPerReplica, balanceBy } = this.#plan
    const mine = new Map<number, number>()
    for (let placed = 0; placed < prompts.length; ) {
      const slot =
        (placed === 0 ? this.#nearest(unit, replicas, matches) : undefined) ?? this.#leastLoaded(unit, replicas, mine)
      const before = mine.get(slot) ?? 0
      const left = prompts.length - placed
      // Where all have as many as they may, the others are dealt out one by one.
      const run = maxPerReplica === 0 ? left : Math.min(left, Math.max(1, maxPerReplica - before))
      for (let i = 0; i < run; i++) prompts[placed + i]!.slot = slot
      placed += run
      mine.set(slot, before + run)
      slots.add(slot)
      if (balanceBy === 'requests') this.#load[slot]! += run
      else if (before === 0) this.#load[slot]! += Math.max(0, blocks.count - (matches.get(slot) ?? 0))
    }
  }

  /** The replica that has the most of the beginning, enough of it, and not its share of the burst. */
  #nearest(unit: Unit, replicas: BurstReplicas, matches: ReadonlyMap<number, number>): number | undefined {
    const { minColocateBlocks } = this.#plan
    if (minColocateBlocks === 0) return undefined
    const share = Math.ceil(this.#total / replicas.count)
    let best = -1
    let most = 0
    for (let i = 0; i < replicas.count; i++) {
      const slot = replicas.slots[i]!
      const match = matches.get(slot) ?? 0
      if (match < minColocateBlocks || match < most || this.#load[slot]! >= share) continue
      if (best >= 0 && match === most && !this.#isBetter(unit, replicas, i, best)) continue
      best = i
      most = match
    }
    return best < 0 ? undefined : replicas.slots[best]!
  }

  /** Of the replicas that may take more of the group; of all when none may. */
  #leastLoaded(unit: Unit, replicas: BurstReplicas, mine: ReadonlyMap<number, number>): number {
    const most = this.#plan.maxPerReplica === 0 ? Number.POSITIVE_INFINITY : this.#plan.maxPerReplica
    let best = -1
    let bestIsFull = true
    for (let i = 0; i < replicas.count; i++) {
      const isFull = (mine.get(replicas.slots[i]!) ?? 0) >= most
      if (best >= 0 && (isFull === bestIsFull ? !this.#isBetter(unit, replicas, i, best) : isFull)) continue
      best = i
      bestIsFull = isFull
    }
    return replicas.slots[best]!
  }

  /** Of two replicas the one with less of the burst, then with fewer requests in its batch; then a group's own order decides. */
  #isBetter({ blocks }: Unit, { slots, running }: BurstReplicas, a: number, b: number): boolean {
    const loads = this.#load[slots[a]!]! - this.#load[slots[b]!]!
    if (loads !== 0) return loads < 0
    const batches = running[a]! - running[b]!
    return batches === 0 ? draw(blocks.hash, slots[a]!) < draw(blocks.hash, slots[b]!) : batches < 0
  }
}

/** Slots that have some of the beginning of a group from those of its family before it, and how many blocks. */
function held({ blocks }: Unit, family: readonly Unit[]): ReadonlyMap<number, number> {
  const matches = new Map<number, number>()
  for (const { blocks: theirs, slots } of family) {
    // A family may be large, and most of it has nothing to add.
    for (const slot of slots)
      if (blocks.hasMore(theirs, matches.get(slot) ?? 0)) matches.set(slot, blocks.common(theirs))
  }
  return matches
}

/** The same on every thread, another order of the slots for each group. */
function draw(hash: number, slot: number): number {
  return finish(hash ^ Math.imul(slot + 1, 0x9e3779b1 | 0)) >>> 0
}
