/** The programs of others that a contest runs: where they are found. */
import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { delimiter, dirname, join } from 'node:path'
import { cacheFolders } from '../../../src/cli/envoy/envoy-cache.ts'

export interface PeerBinary {
  /** Of the file, on the PATH or in the cache. */
  readonly name: string
  /** The environment variable that names another. */
  readonly variable: string
}

/** The model servers (github.com/llm-d/llm-d-inference-sim). */
export const INFERENCE_SIM: PeerBinary = { name: 'llm-d-inference-sim', variable: 'LLM_D_INFERENCE_SIM' }
/** llm-d's endpoint picker (github.com/llm-d/llm-d-router, `cmd/epp`). */
export const LLM_D_EPP: PeerBinary = { name: 'llm-d-epp', variable: 'LLM_D_EPP' }

/** What the variable names, else what is on the PATH, else what was put into the folder `contest` beside the cached Envoys. */
export async function findPeer(
  { name, variable }: PeerBinary,
  env: NodeJS.ProcessEnv,
  checkout: string,
): Promise<string | undefined> {
  const own = env[variable]
  if (own !== undefined && own !== '') return own
  const folders = [
    ...(env['PATH'] ?? '').split(delimiter).filter(folder => folder !== ''),
    ...peerFolders(env, checkout),
  ]
  for (const folder of folders) {
    const path = join(folder, name)
    const there = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (there) return path
  }
  return undefined
}

/** Where people put them. */
export function peerFolders(env: NodeJS.ProcessEnv, checkout: string): readonly string[] {
  return cacheFolders(env, checkout).map(envoys => join(dirname(envoys), 'contest'))
}
