/**
 * What a second thread costs: `signalbox serve --threads N` as the endpoint picker of somebody else's gateway, the same load on one
 * thread and on two. Eight connections, as the kernel spreads connections over threads, not requests.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '../support/free-ports.ts'
import { documents, poolYaml } from '../support/pool-config.ts'
import { ServeProcess } from '../support/serve-process.ts'
import { makeTempFolder } from '../support/temp-folder.ts'
import { output } from './child-programs.ts'
import { median, medianRatio } from './statistics.ts'
import type { Yardsticks } from './yardsticks.ts'

export interface ThreadsOptions {
  readonly rounds: number
  readonly seconds: number
  readonly endpoints: readonly string[]
  readonly yardsticks: Yardsticks
  readonly progress: (text: string) => void
}

export interface ThreadsResult {
  readonly title: string
  /** µs of CPU per request of the whole process, scraping included. */
  readonly one: number
  readonly two: number
  /** Median of the rounds' ratios, two threads over one. */
  readonly cost: number
  /** The same for requests per second; the load generator runs on the same cores. */
  readonly rate: number
}

const LOADS = [
  { title: '300 B, full duplex both ways', load: ['-body', '300', '-c', '64'], warmUp: 30_000 },
  { title: '220 KB, full duplex both ways', load: ['-body', '220000', '-c', '16'], warmUp: 2000 },
] as const

interface Load {
  readonly rps: number
  readonly errs: number
  readonly server_us_per_req: number
}

export async function measureThreads(options: ThreadsOptions): Promise<{ results: ThreadsResult[]; errors: string[] }> {
  const { rounds, seconds, endpoints, yardsticks, progress } = options
  const folder = await makeTempFolder()
  const servers: ServeProcess[] = []
  const errors: string[] = []
  try {
    const config = join(folder.path, 'config.yaml')
    await writeFile(config, documents(poolYaml({ addresses: endpoints })))
    const ports: number[] = []
    for (const threads of [1, 2]) {
      const port = await freePort()
      const args = ['--config', config, '--pool', 'default/pool', '--xds', 'off', '--drain', '1']
      args.push('--ext-proc', `127.0.0.1:${port}`, '--threads', String(threads))
      servers.push(await ServeProcess.start(args, folder.path))
      ports.push(port)
    }
    const play = async (at: number, title: string, load: readonly string[]): Promise<Load> => {
      const args = ['-addr', `127.0.0.1:${ports[at]}`, '-pids', `server=${servers[at]!.pid}`, '-json', '-conns', '8']
      const lines = (await output(yardsticks.extprocload, [...args, '-expect-pick', ...load])).trim().split('\n')
      const report = JSON.parse(lines.at(-1)!) as Load
      if (report.errs > 0) errors.push(`${at + 1} threads, ${title}: ${report.errs} exchanges failed`)
      return report
    }
    const results: ThreadsResult[] = []
    for (const { title, load, warmUp } of LOADS) {
      const found: [Load[], Load[]] = [[], []]
      for (const at of [0, 1]) await play(at, title, [...load, '-n', String(warmUp)])
      for (let round = 1; round <= rounds; round++) {
        for (const at of [0, 1] as const) {
          progress(`threads, round ${round} of ${rounds}: ${title}, ${at + 1}`)
          found[at].push(await play(at, title, [...load, '-d', `${seconds}s`]))
        }
      }
      const [one, two] = found.map(reports => reports.map(report => report.server_us_per_req)) as [number[], number[]]
      const [slow, fast] = found.map(reports => reports.map(report => report.rps)) as [number[], number[]]
      results.push({
        title,
        one: median(one),
        two: median(two),
        cost: medianRatio(two, one),
        rate: medianRatio(fast, slow),
      })
    }
    return { results, errors }
  } finally {
    for (const server of servers) await server.end('SIGTERM')
    await folder.remove()
  }
}
