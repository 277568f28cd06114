import { adapterId } from './adapter-id.ts'
import { finish } from './prefix-hasher.ts'
import { prefixSeed } from './prefix-index.ts'
import type { ServedModels } from './served-models.ts'

/**
 * What a pool knows of the model that a request asks for. Kept from request to request, because the same few models come up all the time, and
 * looking one up costs as much as scoring ten endpoints.
 */
export class AskedModel {
  readonly #served: ServedModels
  /** Undefined: forgotten. */
  #name: string | undefined
  #seed = 0
  /** Id of the LoRA adapter (./adapter-id.ts); 0: it is known to be a base model. */
  adapter = 0
  /** The model, where an endpoint lists it as an adapter; else empty: what nobody has listed is no adapter that we know of. */
  adapterName = ''
  /** 1 for the slots that list it; undefined: none does. */
  slots: Uint8Array | undefined

  constructor(served: ServedModels) {
    this.#served = served
  }

  /** What endpoints list has changed. */
  forget(): void {
    this.#name = undefined
  }

  ask(name: string): void {
    if (name === this.#name) return
    const served = this.#served
    const id = adapterId(name)
    const slots = served.slotsOf(name)
    const isBase = served.isBase(name)
    this.#name = name
    this.#seed = finish(id)
    this.slots = slots
    this.adapter = name === '' || isBase ? 0 : id
    this.adapterName = slots === undefined || isBase ? '' : name
  }

  /** For `PrefixIndex.match`. */
  seed(salt: string): number {
    return salt === '' ? this.#seed : prefixSeed(this.#name ?? '', salt)
  }
}
