import { discoveriesIn } from '../../config/endpoints-file.ts'
import { FileSource } from '../../config/file-source.ts'
import { mergeSets } from '../../config/merge-sets.ts'
import { type ObjectSet, readTexts } from '../../config/object-set.ts'
import type { Problem } from '../../config/problem.ts'
import { isServed } from '../../compile/gateway-pools.ts'
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
  /** What is no file. */
  readonly #texts: ObjectSet | undefined
  readonly #kubernetes: KubernetesSource | undefined
  readonly #client: ApiClient | undefined
  /** What is wrong with all that is no API server's. */
  readonly #check: (set: ObjectSet) => readonly Problem[]
  /** What was asked for that needs access. */
  readonly #option: string
  readonly #load: (() => Promise<unknown>) | undefined
  #ofFiles: ObjectSet | undefined
  #ofKubernetes: ObjectSet | undefined

  constructor(
    options: Pick<ServeOptions, 'config' | 'kubernetes' | 'picker'>,
    log: Log,
    listener: (set: ObjectSet) => void,
    check: (set: ObjectSet) => readonly Problem[] = ({ errors }) => errors,
  ) {
    this.#listener = listener
    this.#check = check
    const { config, kubernetes, picker } = options
    this.#option = picker === undefined ? '--kubernetes' : '--kubeconfig'
    if (picker !== undefined && picker.texts.length > 0) this.#texts = readTexts(picker.texts)
    const given = this.#texts?.items ?? []
    if (config.length > 0 || discoveriesIn(given).length > 0) {
      const take = (set: ObjectSet) => {
        this.#ofFiles = set
        this.#report()
      }
      this.#files = new FileSource(config, take, { given })
    }
    if (kubernetes === undefined) return
    const load = findAccess(kubernetes.kubeconfig, process.env)
    this.#load = load
    this.#client = new ApiClient(load)
    this.#kubernetes = new KubernetesSource(
      {
        client: this.#client,
        namespace: kubernetes.namespace,
        log,
        ...(picker === undefined
          ? {}
          : {
              poolGroup: picker.poolGroup,
              given: given.filter(item => item.kind === 'InferencePool'),
              wants: pool => isServed(pool, picker.pools),
            }),
      },
      set => {
        this.#ofKubernetes = set
        this.#report()
      },
    )
  }

  /**
   * Resolves when files have been read; an API server's objects come when they come.
   * @throws StartError there is no way to an API server; ConfigurationError the files beside one are bad
   */
  async start(): Promise<void> {
    await this.#files?.start()
    if (this.#texts !== undefined && this.#files === undefined) this.#report()
    if (this.#kubernetes === undefined) return
    const own = [this.#texts, this.#ofFiles].filter(set => set !== undefined)
    const errors = own.length === 0 ? [] : this.#check(own.reduce(mergeSets))
    if (errors.length > 0) throw new ConfigurationError(errors)
    if (this.#load !== undefined) await startsWith(this.#option, this.#load)
    this.#kubernetes.start()
  }

  async stop(): Promise<void> {
    await Promise.all([this.#files?.stop(), this.#kubernetes?.stop()])
    await this.#client?.close()
  }

  /** To ask the API server something; undefined: none is followed. */
  get client(): ApiClient | undefined {
    return this.#client
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
    const sets = [this.#texts, files, kubernetes].filter(set => set !== undefined)
    this.#listener(sets.reduce(mergeSets))
  }
}
