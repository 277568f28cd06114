import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface TempFolder {
  readonly path: string
  /** Removes it with everything in it. */
  remove(): Promise<void>
}

/** A new, empty folder under the system's temporary folder. The caller removes it. */
export async function makeTempFolder(): Promise<TempFolder> {
  const path = await mkdtemp(join(tmpdir(), 'signalbox-test-'))
  return { path, remove: () => rm(path, { recursive: true, force: true }) }
}
