import { lookup } from 'node:dns/promises'

/** Where other replicas are: a fixed list, or the name of a headless Service, whose addresses are those of its pods. */
export type PeerPlaces =
  | { readonly kind: 'list'; readonly addresses: readonly string[] }
  | { readonly kind: 'dns'; readonly name: string; readonly port: number }

const LOOKUP_MS = 5000

/** Follows where other replicas are. */
export class PeerAddresses {
  readonly #places: PeerPlaces
  readonly #onChange: (addresses: readonly string[]) => void
  readonly #onError: (error: unknown) => void
  #timer: NodeJS.Timeout | undefined
  #failed = false
  #stopped = false

  /** @param onError told once when a name can't be looked up, until it can again */
  constructor(places: PeerPlaces, onChange: (addresses: readonly string[]) => void, onError: (error: unknown) => void) {
    this.#places = places
    this.#onChange = onChange
    this.#onError = onError
  }

  start(): void {
    if (this.#places.kind === 'list') this.#onChange(this.#places.addresses)
    else void this.#look(this.#places.name, this.#places.port)
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  async #look(name: string, port: number): Promise<void> {
    try {
      const found = await lookup(name, { all: true })
      if (this.#stopped) return
      this.#failed = false
      this.#onChange(found.map(({ address, family }) => (family === 6 ? `[${address}]:${port}` : `${address}:${port}`)))
    } catch (error) {
      // Those that are known stay: a name server that is away is no reason to part.
      if (!this.#failed && !this.#stopped) this.#onError(error)
      this.#failed = true
    }
    if (!this.#stopped) this.#timer = setTimeout(() => void this.#look(name, port), LOOKUP_MS).unref()
  }
}
