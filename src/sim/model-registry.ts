import { ApiError, notFound } from './api-error.ts'

interface Adapter {
  readonly path: string
  readonly parent: string
}

/** The names that this server answers to: base models and the LoRA adapters that were registered, in this order. */
export class ModelRegistry {
  readonly #bases: readonly string[]
  readonly #maxModelLen: number
  readonly #created: number
  readonly #adapters = new Map<string, Adapter>()

  /** @param created Unix time in seconds, shown in the list. */
  constructor(bases: readonly string[], adapters: readonly string[], maxModelLen: number, created: number) {
    this.#bases = bases
    this.#maxModelLen = maxModelLen
    this.#created = created
    for (const name of adapters) this.#adapters.set(name, { path: `/adapters/${name}`, parent: bases[0]! })
  }

  /** Name of the first base model: what metrics are labelled with, and the default of requests that name none. */
  get defaultModel(): string {
    return this.#bases[0]!
  }

  /** The model a request means. Throws 404 for a name that is not served. */
  resolve(name: string | undefined): { readonly name: string; readonly lora?: string } {
    if (name === undefined) return { name: this.defaultModel }
    if (this.#bases.includes(name)) return { name }
    if (this.#adapters.has(name)) return { name, lora: name }
    throw notFound(`The model \`${name}\` does not exist.`, 'model')
  }

  /** Registers an adapter; the GPU gets it when a request needs it. */
  load(name: string, path: string): void {
    if (this.#adapters.has(name) || this.#bases.includes(name)) {
      throw new ApiError(400, 'InvalidUserInput', `The lora adapter '${name}' has already been loaded.`, 'lora_name')
    }
    this.#adapters.set(name, { path, parent: this.defaultModel })
  }

  unload(name: string): void {
    if (!this.#adapters.delete(name)) throw notFound(`The lora adapter '${name}' cannot be found.`, 'lora_name')
  }

  /** The answer to `GET /v1/models`. */
  list(): object {
    const bases = this.#bases.map(name => this.#card(name, name, null, this.#maxModelLen))
    const adapters = [...this.#adapters].map(([name, { path, parent }]) => this.#card(name, path, parent, null))
    return { object: 'list', data: [...bases, ...adapters] }
  }

  #card(id: string, root: string, parent: string | null, maxModelLen: number | null): object {
    const permission = {
      id: `modelperm-${id}`,
      object: 'model_permission',
      created: this.#created,
      allow_create_engine: false,
      allow_sampling: true,
      allow_logprobs: true,
      allow_search_indices: false,
      allow_view: true,
      allow_fine_tuning: false,
      organization: '*',
      group: null,
      is_blocking: false,
    }
    return {
      id,
      object: 'model',
      created: this.#created,
      owned_by: 'vllm',
      root,
      parent,
      max_model_len: maxModelLen,
      permission: [permission],
    }
  }
}
