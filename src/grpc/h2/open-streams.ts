import type { H2Stream } from './h2-stream.ts'

/** Places at first and at most; both powers of two. */
const FIRST_PLACES = 64
const MAX_PLACES = 4096

/**
 * The open streams of a connection by their ids. Ids grow by two and most streams are short, so that nearly every one has a place of its own
 * in a small array: a third of what a Map costs. Those that find their place taken wait in a Map.
 */
export class OpenStreams {
  size = 0
  #places: (H2Stream | undefined)[] = Array.from({ length: FIRST_PLACES })
  #others: Map<number, H2Stream> | undefined

  get(id: number): H2Stream | undefined {
    const stream = this.#places[(id >>> 1) & (this.#places.length - 1)]
    if (stream !== undefined && stream.id === id) return stream
    return this.#others === undefined ? undefined : this.#others.get(id)
  }

  /** `stream`: with an id that is not there. */
  add(stream: H2Stream): void {
    this.size++
    if (this.size * 2 > this.#places.length && this.#places.length < MAX_PLACES) this.#grow()
    this.#put(stream)
  }

  delete(id: number): void {
    const place = (id >>> 1) & (this.#places.length - 1)
    if (this.#places[place]?.id === id) {
      this.#places[place] = undefined
      this.size--
    } else if (this.#others?.delete(id) === true) {
      this.size--
      if (this.#others.size === 0) this.#others = undefined
    }
  }

  /** All of them as they are now: the caller may delete while it goes over them. */
  all(): H2Stream[] {
    const all: H2Stream[] = []
    for (const stream of this.#places) if (stream !== undefined) all.push(stream)
    // One by one: that many arguments would be too many for a call.
    if (this.#others !== undefined) for (const stream of this.#others.values()) all.push(stream)
    return all
  }

  #put(stream: H2Stream): void {
    const place = (stream.id >>> 1) & (this.#places.length - 1)
    if (this.#places[place] === undefined) this.#places[place] = stream
    else {
      this.#others ??= new Map()
      this.#others.set(stream.id, stream)
    }
  }

  #grow(): void {
    const all = this.all()
    this.#places = Array.from({ length: this.#places.length * 2 })
    this.#others = undefined
    for (const stream of all) this.#put(stream)
  }
}
