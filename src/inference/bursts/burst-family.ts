import type { PromptBlocks } from './prompt-blocks.ts'

/**
 * Prompts that begin alike, and the slots that have some of them. What two have in common is the least of what neighbours between them have
 * in the order of their hashes, so that n prompts are compared n·log n times, all when the family is made: later their hashes may be gone.
 */
export class BurstFamily {
  /** Place of each member in that order. */
  readonly #ranks: Int32Array
  /** `[k][i]`: blocks that the members at the places i … i + 2ᵏ have in common. */
  readonly #common: Int32Array[] = []
  /** Places of the members that each slot has, ascending. */
  readonly #slots = new Map<number, number[]>()

  /** @param members all different and of one scope; known by their place in the list from here on */
  constructor(members: readonly PromptBlocks[]) {
    const order = members.map((_, member) => member).sort((a, b) => members[a]!.compare(members[b]!))
    this.#ranks = new Int32Array(members.length)
    for (const [rank, member] of order.entries()) this.#ranks[member] = rank
    let row = Int32Array.from({ length: Math.max(0, order.length - 1) }, (_, rank) =>
      members[order[rank]!]!.common(members[order[rank + 1]!]!),
    )
    for (let reach = 1; row.length > 0; reach *= 2) {
      this.#common.push(row)
      const shorter = row
      row = Int32Array.from({ length: Math.max(0, row.length - reach) }, (_, rank) =>
        Math.min(shorter[rank]!, shorter[rank + reach]!),
      )
    }
  }

  /** Slots that have some of the beginning of a member from others, and how many blocks. */
  held(member: number): ReadonlyMap<number, number> {
    const rank = this.#ranks[member]!
    const matches = new Map<number, number>()
    for (const [slot, there] of this.#slots) {
      // Of those that are there the next ones have the most in common.
      const after = firstAbove(there, rank)
      let most = 0
      if (after > 0) most = this.#between(there[after - 1]!, rank)
      if (after < there.length) most = Math.max(most, this.#between(rank, there[after]!))
      if (most > 0) matches.set(slot, most)
    }
    return matches
  }

  /** The member goes to these slots. */
  place(member: number, slots: Iterable<number>): void {
    const rank = this.#ranks[member]!
    for (const slot of slots) {
      const there = this.#slots.get(slot)
      if (there === undefined) this.#slots.set(slot, [rank])
      else there.splice(firstAbove(there, rank), 0, rank)
    }
  }

  /** Blocks that the members at two places have in common. */
  #between(from: number, to: number): number {
    const level = 31 - Math.clz32(to - from)
    const row = this.#common[level]!
    return Math.min(row[from]!, row[to - (1 << level)]!)
  }
}

function firstAbove(sorted: readonly number[], value: number): number {
  let from = 0
  let to = sorted.length
  while (from < to) {
    const middle = (from + to) >> 1
    if (sorted[middle]! > value) to = middle
    else from = middle + 1
  }
  return from
}
