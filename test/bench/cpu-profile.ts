/** What Node's `--cpu-prof` wrote, as the functions that used most time themselves. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  }[]
  readonly samples: readonly number[]
  /** µs */
  readonly timeDeltas: readonly number[]
}

/** Lines for people, for each profile in the folder. Shares are of the time that the process was not idle. */
export async function topFunctions(folder: string, count: number): Promise<string> {
  const texts: string[] = []
  for (const file of (await readdir(folder)).filter(name => name.endsWith('.cpuprofile'))) {
    const profile = JSON.parse(await readFile(join(folder, file), 'utf8')) as CpuProfile
    texts.push(`${file}\n${describe(profile, count)}`)
  }
  return texts.join('\n\n')
}

function describe({ nodes, samples, timeDeltas }: CpuProfile, count: number): string {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, frameName(callFrame)]))
  const self = new Map<string, number>()
  let busy = 0
  samples.forEach((id, i) => {
    const name = names.get(id) ?? '?'
    if (name === '(idle)') return
    const micros = timeDeltas[i] ?? 0
    busy += micros
    self.set(name, (self.get(name) ?? 0) + micros)
  })
  return [...self]
    .sort(([, a], [, b]) => b - a)
    .slice(0, count)
    .map(
      ([name, us]) =>
        `${(us / 1000).toFixed(0).padStart(7)} ms ${((100 * us) / busy).toFixed(1).padStart(5)} %  ${name}`,
    )
    .join('\n')
}

function frameName({ functionName, url, lineNumber }: CpuProfile['nodes'][number]['callFrame']): string {
  if (url === '') return functionName
  return `${functionName || '(anonymous)'}  ${url.split('/').slice(-3).join('/')}:${lineNumber + 1}`
}
