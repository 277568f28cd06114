/**
 * What plug-ins of all threads remember together: each has a piece of shared memory of its own, that stays for as long as a plug-in of its
 * type and parameters is at its place, whatever becomes of weights and of other plug-ins.
 */
import type { EndpointTable } from '../endpoint-table.ts'

/** A filter, scorer or producer as far as it remembers. */
export interface Rememberer {
  readonly type: string
  /** 32-bit words of memory, zero at first, that the same plug-in of all threads shares; `attach` gives it. Absent or 0: none. */
  sharedWords?(capacity: number): number
  attach?(memory: Int32Array): void
  /**
   * Main thread: takes over what was remembered of a smaller table. Default: the words that there were, at their places. What other threads note
   * meanwhile, until they have the new memory, is lost.
   */
  grow?(from: Int32Array, oldCapacity: number, to: Int32Array, capacity: number): void
}

/** A plug-in, and what tells it from all others of its pool. */
export interface KeyedPlugin {
  readonly key: string
  readonly plugin: Rememberer
}

/** Keys of plug-ins that stand in one place (a profile, or the producers), in the order of their plans. */
export function keyed(
  place: string,
  plans: readonly { readonly type: string; readonly parameters?: Readonly<Record<string, unknown>> }[],
  plugins: readonly Rememberer[],
): KeyedPlugin[] {
  const seen = new Map<string, number>()
  return plugins.map((plugin, i) => {
    const { type, parameters } = plans[i]!
    const kind = JSON.stringify([place, type, parameters])
    const before = seen.get(kind) ?? 0
    seen.set(kind, before + 1)
    return { key: `${kind} ${before}`, plugin }
  })
}

/** Gives plug-ins their memory: one piece for each that has any, in this order. @throws RangeError when there are too few */
export function attachAll(
  plugins: readonly KeyedPlugin[],
  { capacity }: EndpointTable,
  memory: readonly SharedArrayBuffer[],
): void {
  let piece = 0
  for (const { plugin } of plugins) {
    if (wordsOf(plugin, capacity) === 0) continue
    const given = memory[piece++]
    if (given === undefined) throw new RangeError(`${plugin.type} has no memory`)
    plugin.attach?.(new Int32Array(given))
  }
}

interface Piece {
  readonly memory: SharedArrayBuffer
  readonly capacity: number
}

/** The main thread's: makes memory, and keeps that of plug-ins that stay. */
export class PluginMemory {
  #pieces = new Map<string, Piece>()

  /** As `attachAll` wants it; empty: no plug-in remembers anything. */
  update(plugins: readonly KeyedPlugin[], capacity: number): readonly SharedArrayBuffer[] {
    const before = this.#pieces
    this.#pieces = new Map()
    for (const { key, plugin } of plugins) {
      const words = wordsOf(plugin, capacity)
      if (words > 0) this.#pieces.set(key, pieceFor(plugin, words, capacity, before.get(key)))
    }
    return Array.from(this.#pieces.values(), ({ memory }) => memory)
  }
}

function pieceFor(plugin: Rememberer, words: number, capacity: number, before: Piece | undefined): Piece {
  const bytes = Int32Array.BYTES_PER_ELEMENT * words
  if (before?.memory.byteLength === bytes) return before
  const memory = new SharedArrayBuffer(bytes)
  // Tables only grow.
  if (before !== undefined && before.capacity < capacity) {
    const [from, to] = [new Int32Array(before.memory), new Int32Array(memory)]
    if (plugin.grow === undefined) to.set(from)
    else plugin.grow(from, before.capacity, to, capacity)
  }
  return { memory, capacity }
}

function wordsOf(plugin: Rememberer, capacity: number): number {
  return plugin.sharedWords?.(capacity) ?? 0
}
