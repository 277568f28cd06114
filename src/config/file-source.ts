import { createHash } from 'node:crypto'
import { type FSWatcher, watch } from 'node:fs'
import { realpath, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { type Discovery, discoveriesIn, withEndpointsFiles } from './endpoints-file.ts'
import { type FileTexts, readEach, readFiles } from './load-files.ts'
import { type ObjectSet, readTexts } from './object-set.ts'
import type { ConfigItem } from './read-document.ts'
import { TornFiles } from './torn-files.ts'

export interface FileSourceOptions {
  /** Quiet time after a change before files are read again; an editor's or a mount's update is several changes. */
  readonly debounceMs?: number
  /** How often files are read where the system can't watch them (network file systems, no watches left). */
  readonly pollMs?: number
  /** Objects that are in no file: what they say of files of endpoints counts too. */
  readonly given?: readonly ConfigItem[]
}

/** A folder that is never quiet is read after so many times the quiet time. */
const MAX_DEBOUNCES = 5

/**
 * Follows configuration files and folders. Watches the folders, never the files, so that a file replaced by renaming (editors)
 * and a swapped `..data` link (mounted ConfigMaps) are seen. Every change of the texts is reported as a whole set, also one with
 * errors: which set stays in use is the listener's decision. Files of endpoints that EndpointPickerConfigs name belong to the set.
 */
export class FileSource {
  readonly #paths: readonly string[]
  readonly #listener: (set: ObjectSet) => void
  readonly #debounceMs: number
  readonly #pollMs: number
  readonly #given: readonly ConfigItem[]
  /** Files of endpoints that are followed. */
  #followed: readonly string[] = []
  /** Those that are read once, as they were then. */
  readonly #readOnce = new Map<string, FileTexts>()
  /** Of those that are followed. */
  readonly #torn: TornFiles
  readonly #watchers = new Map<string, { readonly watcher: FSWatcher; readonly inode: string }>()
  #timer: NodeJS.Timeout | undefined
  /** When the first change came that has not been read yet. */
  #changedAt: number | undefined
  #loading: Promise<void> | undefined
  #changedWhileLoading = false
  #fingerprint = ''
  #running = false

  constructor(paths: readonly string[], listener: (set: ObjectSet) => void, options: FileSourceOptions = {}) {
    this.#paths = paths
    this.#listener = listener
    this.#debounceMs = options.debounceMs ?? 100
    this.#pollMs = options.pollMs ?? 2000
    this.#given = options.given ?? []
    this.#torn = new TornFiles(MAX_DEBOUNCES * this.#debounceMs)
  }

  /** Reads and reports the first set, then follows. Resolves after the first report. */
  async start(): Promise<void> {
    this.#running = true
    await this.#load()
  }

  /** No report, watcher or timer is left when this resolves. */
  async stop(): Promise<void> {
    this.#running = false
    clearTimeout(this.#timer)
    for (const { watcher } of this.#watchers.values()) watcher.close()
    this.#watchers.clear()
    await this.#loading
  }

  #schedule(delayMs: number): void {
    if (!this.#running) return
    if (this.#loading !== undefined) {
      this.#changedWhileLoading = true
      return
    }
    // Something else may write into the folder all the time (a log): the quiet time is waited for, but not for ever.
    const now = performance.now()
    this.#changedAt ??= now
    const delay = Math.min(delayMs, Math.max(0, this.#changedAt + MAX_DEBOUNCES * delayMs - now))
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.#load(), delay)
  }

  async #load(): Promise<void> {
    this.#changedAt = undefined
    this.#loading = this.#loadOnce()
    await this.#loading
    this.#loading = undefined
    if (!this.#changedWhileLoading) return
    this.#changedWhileLoading = false
    this.#schedule(this.#debounceMs)
  }

  async #loadOnce(): Promise<void> {
    // Watch first: what changes while we read is an event then.
    let watched = await this.#watchFolders()
    const read = await readFiles(this.#paths)
    const set = readTexts(read.texts, read.problems)
    const discoveries = discoveriesIn([...this.#given, ...set.items])
    this.#followed = discoveries.filter(({ watches }) => watches).map(({ path }) => path)
    if (this.#followed.length > 0) watched = await this.#watchFolders()
    const endpoints = await this.#readEndpoints(discoveries)
    if (!this.#running) return
    const waitMs = Math.min(
      watched ? Number.POSITIVE_INFINITY : this.#pollMs,
      this.#torn.waitMs ?? Number.POSITIVE_INFINITY,
    )
    if (Number.isFinite(waitMs)) this.#timer = setTimeout(() => void this.#load(), waitMs)
    const fingerprint = createHash('sha256')
      .update(JSON.stringify([read, endpoints]))
      .digest('base64')
    if (fingerprint === this.#fingerprint) return
    this.#fingerprint = fingerprint
    const paths = discoveries.map(({ path }) => path)
    this.#listener(withEndpointsFiles(set, paths, endpoints.texts, endpoints.problems))
  }

  async #readEndpoints(discoveries: readonly Discovery[]): Promise<FileTexts> {
    const read: FileTexts[] = []
    const paths = new Map(discoveries.map(({ path, watches }) => [path, watches]))
    for (const [path, watches] of paths) {
      const known = watches ? undefined : this.#readOnce.get(path)
      const file = known ?? this.#torn.judge(path, await readEach([path]))
      // What could not be read may come yet.
      if (!watches && file.texts.length > 0) this.#readOnce.set(path, file)
      read.push(file)
    }
    this.#torn.keepOnly(new Set(this.#followed))
    for (const path of this.#readOnce.keys()) if (paths.get(path) !== false) this.#readOnce.delete(path)
    return { texts: read.flatMap(({ texts }) => texts), problems: read.flatMap(({ problems }) => problems) }
  }

  /** Opens and closes watchers until they fit the folders of now. False: some folder can't be watched. */
  async #watchFolders(): Promise<boolean> {
    const folders = new Map<string, string>()
    let complete = true
    for (const path of [...this.#paths, ...this.#followed]) {
      for (const folder of await foldersOf(path)) {
        const inode = await inodeOf(folder)
        if (inode === undefined) complete = false
        else folders.set(folder, inode)
      }
    }
    for (const [folder, { watcher, inode }] of this.#watchers) {
      if (folders.get(folder) === inode) continue
      watcher.close()
      this.#watchers.delete(folder)
    }
    if (!this.#running) return complete
    for (const [folder, inode] of folders) {
      if (this.#watchers.has(folder)) continue
      try {
        const watcher = watch(folder, { persistent: true }, () => this.#schedule(this.#debounceMs))
        watcher.on('error', () => this.#schedule(this.#debounceMs))
        this.#watchers.set(folder, { watcher, inode })
      } catch {
        complete = false
      }
    }
    return complete
  }
}

/** The folders in which a change may concern `path`: its own (or itself), the one above, and where links lead. */
async function foldersOf(path: string): Promise<Set<string>> {
  const absolute = resolve(path)
  const folders = new Set([dirname(absolute)])
  try {
    const real = await realpath(absolute)
    folders.add(dirname(real))
    if ((await stat(real)).isDirectory()) folders.add(absolute).add(real)
  } catch {
    // Not there (yet): the folder above says when it comes.
  }
  return folders
}

async function inodeOf(folder: string): Promise<string | undefined> {
  try {
    const { dev, ino } = await stat(folder)
    return `${dev}:${ino}`
  } catch {
    return undefined
  }
}
