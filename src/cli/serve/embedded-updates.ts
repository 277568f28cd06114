import type { EnvoyResources } from '../../config/envoy-resources.ts'
import { type EmbeddedDataPlane, type EmbeddedOptions, startEmbedded } from '../../embedded/embedded.ts'
import type { Log } from '../../telemetry/log.ts'

/** The embedded data plane and what it is told, one update after the other. */
export class EmbeddedUpdates {
  readonly #log: Log
  readonly #onRequestEnd: EmbeddedOptions['onRequestEnd']
  #plane: EmbeddedDataPlane | undefined
  #last: Promise<void> = Promise.resolve()
  #pending = 0
  #failure: Error | undefined

  /** `onRequestEnd`: who wants to be told without an access log service. */
  constructor(log: Log, onRequestEnd?: EmbeddedOptions['onRequestEnd']) {
    this.#log = log
    this.#onRequestEnd = onRequestEnd
  }

  /** Whether it has all that it was told. */
  get settled(): boolean {
    return this.#pending === 0
  }

  /** Why it does not run; undefined: it does. */
  get failure(): Error | undefined {
    return this.#plane === undefined ? this.#failure : undefined
  }

  take(resources: EnvoyResources): void {
    this.#pending++
    this.#last = this.#last
      .then(() => this.#update(resources))
      .catch((error: unknown) => {
        this.#failure = error instanceof Error ? error : new Error(String(error))
        this.#log.error({ err: error }, 'embedded data plane')
      })
    void this.#last.then(() => this.#pending--)
  }

  /** Resolves when it has all that it was told before. */
  async done(): Promise<void> {
    await this.#last
  }

  async close(drainMs: number): Promise<void> {
    await this.#last
    await this.#plane?.close(drainMs)
  }

  async #update(resources: EnvoyResources): Promise<void> {
    if (this.#plane === undefined) {
      const node = { id: 'embedded', cluster: 'signalbox' }
      const onRequestEnd = this.#onRequestEnd
      const told = onRequestEnd === undefined ? {} : { onRequestEnd }
      this.#plane = await startEmbedded({ resources, log: this.#log, node, ...told })
    } else {
      await this.#plane.update(resources)
    }
  }
}
