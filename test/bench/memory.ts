/** Resident memory of fresh servers, idle and after loads: full duplex, so that bodies are held and sent back. */
import { readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { output } from './child-programs.ts'
import { atMost, type GoalReport } from './goals.ts'
import { type ContenderName, startContender } from './contenders.ts'
import type { Yardsticks } from './yardsticks.ts'

export interface MemoryOptions {
  readonly contenders: readonly ContenderName[]
  readonly endpoints: readonly string[]
  readonly yardsticks: Yardsticks
  readonly progress: (text: string) => void
}

export interface MemoryResult {
  readonly contender: ContenderName
  /** Resident MB at each of `MEMORY_STAGES`. */
  readonly megabytes: readonly number[]
}

const LOADS: readonly { readonly title: string; readonly load: readonly string[] }[] = [
  { title: '10,000 × 300 B', load: ['-n', '10000', '-body', '300', '-c', '32', '-distinct', '64'] },
  { title: '1,000 × 220 KB (200 prompts)', load: ['-n', '1000', '-body', '220000', '-c', '16', '-distinct', '200'] },
  { title: '100 × 4 MB (20 prompts)', load: ['-n', '100', '-body', '4000000', '-c', '4', '-distinct', '20'] },
  // 4 MB are a million tokens.
  { title: '100 of 1M tokens, 10/s', load: ['-n', '100', '-rate', '10', '-body', '4000000', '-distinct', '100'] },
]
const REST_MS = 5000
export const MEMORY_STAGES: readonly string[] = ['idle', ...LOADS.map(({ title }) => title), '5 s later']

export async function measureMemory(options: MemoryOptions): Promise<MemoryResult[]> {
  const { contenders, yardsticks, progress } = options
  const results: MemoryResult[] = []
  for (const name of contenders) {
    const contender = await startContender(name, options)
    if (contender === undefined) continue
    try {
      const megabytes = [await residentMegabytes(contender.pid)]
      for (const { title, load } of LOADS) {
        progress(`memory: ${name}, ${title}`)
        await output(yardsticks.extprocload, ['-addr', contender.address('fds'), '-warm', '0', ...load])
        megabytes.push(await residentMegabytes(contender.pid))
      }
      await delay(REST_MS)
      megabytes.push(await residentMegabytes(contender.pid))
      results.push({ contender: name, megabytes })
    } finally {
      await contender.stop()
    }
  }
  return results
}

/** Issue 5: what our server holds after prompts, by the stages above. */
export function memoryGoals(results: readonly MemoryResult[]): GoalReport[] {
  const own = results.find(({ contender }) => contender === 'own')
  if (own === undefined) return []
  const [, , large, huge, steady] = own.megabytes
  return [
    atMost(5, 'MB resident after 200 distinct prompts of 220 KB', large!, 150),
    atMost(5, 'MB resident after 20 distinct prompts of 4 MB', huge!, 150),
    atMost(5, 'MB resident after prompts of 1M tokens, 10 a second', steady!, 256),
  ]
}

async function residentMegabytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Math.round(Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024)
}
