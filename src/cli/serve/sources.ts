import { FileSource } from '../../config/file-source.ts'
import { mergeSets } from '../../config/merge-sets.ts'
import type { ObjectSet } from '../../config/object-set.ts'
import { ApiClient } from '../../kubernetes/api-client.ts'
import { findAccess } from '../../kubernetes/find-access.ts'
import { KubernetesSource, type ResourceFigures } from '../../kubernetes/kubernetes-source.ts'
import type { Log } from '../../telemetry/log.ts'
import { ConfigurationError } from './configuration.ts'
import type { ServeOptions } from './options.ts'
import { startsWith } from './start-error.ts'

/** Where the configuration comes from: files, an API server, or both as one set. */
export class Sources {
  readonly #listener: (set: ObjectSet) => void
  readonly #files: FileSource | undefined
  readonly #kubernetes: KubernetesSource | undefined
  readonly #client: ApiClient | undefined
  readonly #load: (() => Promise<unknown>) | undefined
  #ofFiles: ObjectSet | undefined
  #ofKubernetes: ObjectSet | undefined

  constructor(options: Pick<ServeOptions, 'config' | 'kubernetes'>, log: Log, listener: (set: ObjectSet) => void) {
    this.#listener = listener
    const { config, kubernetes } = options
    if (config.length > 0) {
      this.#files = new FileSource(config, set => {
        this.#ofFiles = set
        this.#report()
      })
    }
    if (kubernetes === undefined) return
    const load = findAccess(kubernetes.kubeconfig, process.env)
    this.#load = load
    this.#client = new ApiClient(load)
    this.#kubernetes = new KubernetesSource({ client: this.#client, namespace: kubernetes.namespace, log }, set => {
      this.#ofKubernetes = set
      this.#report()
    })
  }

  /**
   * Resolves when files have been read; an API server's objects come when they come.
   * @throws StartError there is no way to an API server; ConfigurationError the files beside one are bad
   */
  async start(): Promise<void> {
    if (this.#load !== undefined) await startsWith('--kubernetes', this.#load)
    await this.#files?.start()
    if (this.#kubernetes === undefined) return
    const errors = this.#ofFiles?.errors ?? []
    if (errors.length > 0) throw new ConfigurationError(errors)
    this.#kubernetes.start()
  }

  async stop(): Promise<void> {
    await Promise.all([this.#files?.stop(), this.#kubernetes?.stop()])
    await this.#client?.close()
  }

  /** Undefined: no API server is followed. */
  figures(): readonly ResourceFigures[] | undefined {
    return this.#kubernetes?.figures()
  }

  /** Half of what there is would be taken for all of it, so both have to be there. */
  #report(): void {
    const [files, kubernetes] = [this.#ofFiles, this.#ofKubernetes]
    if (this.#files !== undefined && files === undefined) return
    if (this.#kubernetes !== undefined && kubernetes === undefined) return
    if (files === undefined) this.#listener(kubernetes!)
    else this.#listener(kubernetes === undefined ? files : mergeSets(files, kubernetes))
  }
}
