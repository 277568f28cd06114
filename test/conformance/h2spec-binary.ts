/** h2spec (github.com/summerwind/h2spec), the conformance tester: where it is found, and how it is built with Go. */
import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { delimiter, dirname, join } from 'node:path'
import { cacheFolders, firstWritable } from '../../src/cli/envoy/envoy-cache.ts'
import { runProgram } from '../../src/cli/envoy/run-program.ts'

/** The newest version that the Go module proxy has; 145 cases and one for strict mode. */
const VERSION = 'v2.2.1+incompatible'
const NAME = 'h2spec'
const BUILD_MS = 300_000

/** `$H2SPEC`, else `h2spec` of the PATH, else one that was built before. Undefined: there is none. */
export async function findH2spec(env: NodeJS.ProcessEnv, checkout: string): Promise<string | undefined> {
  const own = env['H2SPEC']
  if (own !== undefined && own !== '') return own
  const folders = [
    ...(env['PATH'] ?? '').split(delimiter).filter(folder => folder !== ''),
    ...buildFolders(env, checkout),
  ]
  for (const folder of folders) {
    const path = join(folder, NAME)
    const there = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (there) return path
  }
  return undefined
}

/** Builds it into the cache folder; needs Go, and its module cache or the network. Rejects with the reason. */
export async function buildH2spec(env: NodeJS.ProcessEnv, checkout: string): Promise<string> {
  const { folder, failures } = await firstWritable(buildFolders(env, checkout))
  if (folder === undefined) throw new Error(`no folder to build h2spec into: ${failures.join('; ')}`)
  const built = await runProgram('go', ['install', `github.com/summerwind/h2spec/cmd/h2spec@${VERSION}`], {
    env: { ...env, GOBIN: folder, CGO_ENABLED: '0', GOFLAGS: '' },
    timeoutMs: BUILD_MS,
  })
  if (built.code !== 0) throw new Error(`h2spec could not be built with Go (${built.failure})`)
  return join(folder, NAME)
}

/** Beside the Envoys. */
function buildFolders(env: NodeJS.ProcessEnv, checkout: string): readonly string[] {
  return cacheFolders(env, checkout).map(envoys => join(dirname(envoys), NAME))
}
