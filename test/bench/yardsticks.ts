/** The Go yardsticks of `../shared/bench` (its README says what each is), built into the cache folder when Go is there. */
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { cacheFolders, firstWritable } from '../../src/cli/envoy/envoy-cache.ts'
import { runProgram } from '../../src/cli/envoy/run-program.ts'

const NAMES = ['extprocload', 'refserver', 'fakevllm', 'httpload'] as const

/** Paths of the binaries. */
export type Yardsticks = Readonly<Record<(typeof NAMES)[number], string>>

/** Builds (which takes a moment when nothing changed) or explains why there are none. */
export async function buildYardsticks(checkout: string): Promise<Yardsticks | string> {
  const sources = join(checkout, '..', 'shared', 'bench')
  if (!existsSync(join(sources, 'go.mod'))) return `their sources are not there (${sources})`
  const go = await runProgram('go', ['version'], { timeoutMs: 20_000 })
  if (go.code !== 0) return `Go is not there (${go.failure})`
  const { folder, failures } = await firstWritable(
    cacheFolders(process.env, checkout).map(envoys => join(dirname(envoys), 'bench')),
  )
  if (folder === undefined) return `no folder to build into: ${failures.join('; ')}`
  await mkdir(folder, { recursive: true })
  const env = { ...process.env, GOFLAGS: '-mod=mod', CGO_ENABLED: '0' }
  const build = await runProgram('go', ['build', '-C', sources, '-o', folder, './...'], {
    env,
    timeoutMs: 600_000,
  })
  if (build.code !== 0) return `they could not be built (${build.failure})`
  return Object.fromEntries(NAMES.map(name => [name, join(folder, name)])) as unknown as Yardsticks
}
