/** What V8's profiler wrote, as the parts of the house that the time went to and the functions that used most of it themselves. */
import { readdir, readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'

export interface ProfileGroup {
  /** A part of the house, `node`, `native` or `gc`. */
  readonly name: string
  /** Of the time that the process was not idle, 0 … 1. */
  readonly share: number
  /** The dearest ones, by what they used themselves. */
  readonly functions: readonly { readonly name: string; readonly share: number }[]
}

interface CallFrame {
  readonly functionName: string
  readonly url: string
  /** From 0. */
  readonly lineNumber: number
}

interface CpuProfile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: CallFrame }[]
  readonly samples: readonly number[]
  /** µs */
  readonly timeDeltas: readonly number[]
}

/** First match wins; the path is that of the source file. */
const GROUPS: readonly (readonly [RegExp, string])[] = [
  [/\/src\/grpc\//, 'transport'],
  [/\/src\/extproc\/(decode|encode|wire|message-reader|metadata)/, 'codec'],
  [/\/src\/extproc\//, 'exchange'],
  [/\/src\/body\//, 'json'],
  [/\/src\/inference\/(scrap|metrics-parser|keep-alive|http)/, 'scrape'],
  [/\/src\/(inference|pipeline|llm)\//, 'pick'],
  [/^node:/, 'node'],
  [/./, 'other'],
]
const FUNCTIONS_PER_GROUP = 8

/** All profiles of a folder, by their names without the ending. */
export async function readProfiles(folder: string): Promise<Readonly<Record<string, readonly ProfileGroup[]>>> {
  const profiles: Record<string, readonly ProfileGroup[]> = {}
  for (const file of (await readdir(folder)).filter(name => name.endsWith('.cpuprofile')).toSorted()) {
    const profile = JSON.parse(await readFile(join(folder, file), 'utf8')) as CpuProfile
    profiles[basename(file, '.cpuprofile')] = groupProfile(profile)
  }
  return profiles
}

/** Dearest group first. */
export function groupProfile({ nodes, samples, timeDeltas }: CpuProfile): ProfileGroup[] {
  const frames = new Map(
    nodes.map(({ id, callFrame }) => [id, { group: groupOf(callFrame), name: frameName(callFrame) }]),
  )
  const groups = new Map<string, Map<string, number>>()
  let busy = 0
  samples.forEach((id, i) => {
    const frame = frames.get(id)
    if (frame === undefined || frame.name === '(idle)') return
    const micros = timeDeltas[i] ?? 0
    busy += micros
    let functions = groups.get(frame.group)
    if (functions === undefined) groups.set(frame.group, (functions = new Map()))
    functions.set(frame.name, (functions.get(frame.name) ?? 0) + micros)
  })
  return Array.from(groups, ([name, functions]) => ({
    name,
    share: sum(functions.values()) / busy,
    functions: Array.from(functions, ([name, micros]) => ({ name, share: micros / busy }))
      .sort((a, b) => b.share - a.share)
      .slice(0, FUNCTIONS_PER_GROUP),
  })).sort((a, b) => b.share - a.share)
}

function groupOf({ functionName, url }: CallFrame): string {
  if (functionName === '(garbage collector)') return 'gc'
  // Functions of C++ have no file; `(program)` is the kernel and whatever else is not JavaScript.
  if (url === '') return 'native'
  return GROUPS.find(([pattern]) => pattern.test(url))![1]
}

function frameName({ functionName, url, lineNumber }: CallFrame): string {
  if (url === '') return functionName
  return `${functionName || '(anonymous)'}  ${url.split('/').slice(-2).join('/')}:${lineNumber + 1}`
}

function sum(values: Iterable<number>): number {
  let total = 0
  for (const value of values) total += value
  return total
}
