/**
 * Which endpoint serves which model, from their `/v1/models`. Kept per slot; the views that requests need (`slotsOf`, `all`, `knows`)
 * are built anew after a list has changed, which is rare: with `replace` at once, else when somebody looks.
 */
import type { ServedModel } from './model-list.ts'
import type { PoolModels } from './pool-share.ts'

export class ServedModels {
  readonly #lists = new Map<number, readonly ServedModel[]>()
  readonly #slotsOf = new Map<string, Uint8Array>()
  #all: readonly ServedModel[] = []
  #adapters = new Set<string>()
  /** Slots of the table where the views are to be built; −1: they are. */
  #stale = -1

  /** Every model that some endpoint lists, each once, sorted by id. */
  get all(): readonly ServedModel[] {
    this.#look()
    return this.#all
  }

  get lists(): PoolModels['lists'] {
    return [...this.#lists]
  }

  listed(slot: number): boolean {
    return this.#lists.has(slot)
  }

  of(slot: number): readonly ServedModel[] {
    return this.#lists.get(slot) ?? []
  }

  knows(model: string): boolean {
    this.#look()
    return this.#slotsOf.has(model)
  }

  /** Whether the model is listed, and as a base model. */
  isBase(model: string): boolean {
    this.#look()
    return this.#slotsOf.has(model) && !this.#adapters.has(model)
  }

  /** 1 for the slots that list the model; undefined when none does. */
  slotsOf(model: string): Uint8Array | undefined {
    this.#look()
    return this.#slotsOf.get(model)
  }

  /** Replaces the list of one endpoint; tells whether anything changed. `capacity`: slots of the table. */
  set(slot: number, models: readonly ServedModel[], capacity: number): boolean {
    const before = this.#lists.get(slot)
    this.#lists.set(slot, models)
    if (before !== undefined && sameModels(before, models)) return false
    this.#stale = capacity
    return true
  }

  /** Replaces everything. */
  replace(lists: PoolModels['lists'], capacity: number): void {
    this.#lists.clear()
    for (const [slot, models] of lists) this.#lists.set(slot, models)
    this.#build(capacity)
  }

  remove(slots: readonly number[], capacity: number): void {
    for (const slot of slots) this.#lists.delete(slot)
    this.#stale = capacity
  }

  #look(): void {
    if (this.#stale >= 0) this.#build(this.#stale)
  }

  #build(capacity: number): void {
    this.#stale = -1
    this.#slotsOf.clear()
    this.#adapters = new Set()
    const all = new Map<string, ServedModel>()
    for (const [slot, models] of this.#lists) {
      for (const model of models) {
        let slots = this.#slotsOf.get(model.id)
        if (slots === undefined) this.#slotsOf.set(model.id, (slots = new Uint8Array(capacity)))
        slots[slot] = 1
        if (model.parent !== undefined) this.#adapters.add(model.id)
        if (!all.has(model.id)) all.set(model.id, model)
      }
    }
    this.#all = [...all.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
  }
}

function sameModels(a: readonly ServedModel[], b: readonly ServedModel[]): boolean {
  return a.length === b.length && a.every(({ id, parent }, i) => b[i]!.id === id && b[i]!.parent === parent)
}
