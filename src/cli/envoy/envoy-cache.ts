import { constants } from 'node:fs'
import { access, mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'

/** Name prefix of the folders in which downloads are prepared, beside the finished binaries so that a rename is atomic. */
const WORK_PREFIX = '.download-'
/** Age, ms, from which another process's work folder counts as forgotten (it was killed). */
const FORGOTTEN_MS = 3_600_000

/**
 * Where downloaded Envoys may lie, best first: `$SIGNALBOX_CACHE` and nothing else when it is set; otherwise
 * `$XDG_CACHE_HOME/signalbox` or `~/.cache/signalbox`, then `.cache/` of the checkout for machines without a writable home.
 */
export function cacheFolders(env: NodeJS.ProcessEnv, checkout: string): readonly string[] {
  const own = env['SIGNALBOX_CACHE']
  if (own !== undefined && own !== '') return [join(resolve(own), 'envoy')]
  const xdg = env['XDG_CACHE_HOME']
  // The XDG specification: relative paths are to be ignored.
  const base = xdg?.startsWith('/') === true ? xdg : join(env['HOME'] ?? homedir(), '.cache')
  return [join(base, 'signalbox', 'envoy'), join(checkout, '.cache', 'envoy')]
}

/** The first of the folders that can be written to (made if need be), and why the ones before could not. */
export async function firstWritable(
  folders: readonly string[],
): Promise<{ readonly folder: string | undefined; readonly failures: readonly string[] }> {
  const failures: string[] = []
  for (const folder of folders) {
    try {
      await mkdir(folder, { recursive: true })
      await access(folder, constants.W_OK | constants.X_OK)
      return { folder, failures }
    } catch (error) {
      failures.push(`${folder} is not writable (${(error as NodeJS.ErrnoException).code ?? String(error)})`)
    }
  }
  return { folder: undefined, failures }
}

/**
 * Puts a file into the cache: `make` gets an empty work folder in the same file system and returns the finished file, which is
 * then renamed to `name`. Two processes may do so at once; the last rename wins and a reader never sees half a file.
 */
export async function putIntoCache(
  folder: string,
  name: string,
  make: (work: string) => Promise<string>,
): Promise<string> {
  await removeForgotten(folder)
  const work = await mkdtemp(join(folder, WORK_PREFIX))
  try {
    const made = await make(work)
    const path = join(folder, name)
    await rename(made, path)
    return path
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

async function removeForgotten(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!name.startsWith(WORK_PREFIX)) continue
    const path = join(folder, name)
    // The other process may be removing it right now.
    const age = await stat(path).then(
      info => Date.now() - info.mtimeMs,
      () => 0,
    )
    if (age > FORGOTTEN_MS) await rm(path, { recursive: true, force: true })
  }
}
