import { finish } from '../prefix-hasher.ts'
import { BurstFamily } from './burst-family.ts'
import type { BurstPlan } from './burst-plan.ts'
import type { PromptBlocks } from './prompt-blocks.ts'

/** A request of a burst. */
export interface BurstPrompt {
  /** Not empty. */
  readonly blocks: PromptBlocks
  /** Where it is to go; −1 = it has nothing in common with others. */
  slot: number
  /** It waits no longer: nothing is looked for, and its hashes are gone. */
  left: boolean
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
  readonly blocks: Pick<PromptBlocks, 'count' | 'hash'>
  readonly name: string
  /** What it adds to a replica in the end, as things are balanced. */
  readonly cost: number
  family: BurstFamily | undefined
  /** Its number in the family. */
  member: number
}

const NOTHING: ReadonlyMap<number, number> = new Map()

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
  #units: readonly Unit[] = []
  /** Units that have been looked at. */
  #done = 0

  constructor(plan: BurstPlan) {
    this.#plan = plan
  }

  /** The burst to find places for; the one before is forgotten. From here on hashes are not looked at any more. */
  begin(prompts: readonly BurstPrompt[]): void {
    this.#units = this.#unitsOf(prompts)
    this.#done = 0
    this.#load.fill(0)
    this.#total = this.#units.reduce((sum, { cost }) => sum + cost, 0)
  }

  /**
   * Sets the slots of what `most` groups have, and of single ones. False: that was the last of the burst. `capacity`: of the endpoint table.
   * `replicasOf` is asked once a group, and its answer used at once.
   */
  placeSome(most: number, capacity: number, replicasOf: (prompt: BurstPrompt) => BurstReplicas): boolean {
    if (this.#load.length < capacity) {
      const load = new Float64Array(capacity)
      load.set(this.#load)
      this.#load = load
    }
    const end = Math.min(this.#units.length, this.#done + most)
    while (this.#done < end) this.#place(this.#units[this.#done++]!, replicasOf)
    if (end < this.#units.length) return true
    this.#units = []
    this.#done = 0
    return false
  }

  #place(unit: Unit, replicasOf: (prompt: BurstPrompt) => BurstReplicas): void {
    const prompts = unit.prompts.filter(({ left }) => !left)
    if (prompts.length === 0) return
    const replicas = replicasOf(prompts[0]!)
    if (replicas.count === 0) return
    const { family, member } = unit
    const slots = this.#placeUnit(unit, prompts, replicas, family?.held(member) ?? NOTHING)
    family?.place(member, slots)
  }

  /** In the order in which they are placed. */
  #unitsOf(prompts: readonly BurstPrompt[]): Unit[] {
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
      return [{ prompts: group, blocks, name, cost, family: undefined, member: 0 }]
    })
    this.#findFamilies(units)
    // The last rule makes the threads of a pool, which each have a part of a burst, agree.
    return units.sort(
      (a, b) =>
        Number(b.prompts.length > 1) - Number(a.prompts.length > 1) ||
        b.blocks.count - a.blocks.count ||
        (a.name < b.name ? -1 : 1),
    )
  }

  #findFamilies(units: readonly Unit[]): void {
    const { balanceBy, minColocateBlocks } = this.#plan
    const related = balanceBy === 'tokens' ? 1 : minColocateBlocks
    if (related === 0) return
    const families = new Map<string, Unit[]>()
    for (const unit of units) {
      const { blocks } = unit.prompts[0]!
      if (blocks.count < related) continue
      const name = blocks.name(related)
      const family = families.get(name)
      if (family === undefined) families.set(name, [unit])
      else family.push(unit)
    }
    for (const members of families.values()) {
      if (members.length < 2) continue
      const family = new BurstFamily(members.map(({ prompts }) => prompts[0]!.blocks))
      for (const [member, unit] of members.entries()) Object.assign(unit, { family, member })
    }
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

  /** The slots that it goes to. */
  #placeUnit(
    unit: Unit,
    prompts: readonly BurstPrompt[],
    replicas: BurstReplicas,
    matches: ReadonlyMap<number, number>,
  ): Iterable<number> {
    const { blocks } = unit
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
      if (balanceBy === 'requests') this.#load[slot]! += run
      else if (before === 0) this.#load[slot]! += Math.max(0, blocks.count - (matches.get(slot) ?? 0))
    }
    return mine.keys()
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

/** The same on every thread, another order of the slots for each group. */
function draw(hash: number, slot: number): number {
  return finish(hash ^ Math.imul(slot + 1, 0x9e3779b1 | 0)) >>> 0
}
