import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { z } from 'zod'
import { compileSet } from '../compile/compile.ts'
import { discoveriesIn, withEndpointsFiles } from '../config/endpoints-file.ts'
import { readFiles } from '../config/load-files.ts'
import { readTexts } from '../config/object-set.ts'
import { formatProblem } from '../config/problem.ts'
import type { PickRecord } from '../inference/pick-record.ts'
import type { SchedulingPlan } from '../inference/pool-plan.ts'
import { Replay } from '../inference/replay.ts'
import { type Command, UsageError } from './command.ts'
import { loadPlugins } from './load-plugins.ts'
import { parseOptions, parsePlugins } from './options.ts'
import { explainSystemError } from './system-error.ts'

const numbers = z.array(z.number())
const load = z.number().min(0)
const lineSchema = z.object({
  v: z.literal(1),
  at: z.number(),
  pool: z.string().regex(/^[^/]+\/[^/]+$/),
  profiles: z.array(
    z.object({
      adapter: z.number(),
      promptBytes: load,
      prefixBytes: load,
      scorers: z.array(z.object({ type: z.string(), weight: z.number() })),
      picked: z.array(z.string()),
      reason: z.string(),
      candidates: z.array(
        z.object({
          address: z.string(),
          labels: z.record(z.string(), z.string()),
          waiting: load,
          running: load,
          unseen: load,
          inFlight: load,
          kvUsage: load,
          prefix: load,
          unknown: z.boolean(),
          runningAdapters: numbers,
          waitingAdapters: numbers,
          maxLora: load,
          blockSize: load,
          blockCount: load,
          total: z.number().optional(),
          scores: numbers.optional(),
        }),
      ),
    }),
  ),
})

interface Decision {
  readonly line: number
  readonly at: number
  readonly pool: string
  readonly profiles: PickRecord['profiles']
}

export const replayCommand: Command = {
  summary: 'runs traced decisions against another configuration, and tells what it would change',
  help: `Usage: signalbox replay FILE ... --config FILE|FOLDER [options]

Reads traces that 'signalbox serve --trace-file' has written, oldest first, and picks again with the loads of then under the scheduling of
another configuration (an EndpointPickerConfig is enough; it counts for every pool that names no other). Prints each pick that
changes, and what becomes of every scorer's scores. Exit status: 0 done, 1 the configuration has errors or there is no
decision in the files, 2 wrong usage.

  --config PATH               file or folder of YAML or JSON; may be given several times
  --changes N                 changed picks to print [20]
  --plugins FILE[,FILE ...]   modules with plug-ins of your own, as for 'serve'
`,
  async run(argv, { stdout, stderr }) {
    const { values, positionals } = parseOptions(
      argv,
      {
        config: { type: 'string', multiple: true },
        changes: { type: 'string', default: '20' },
        plugins: { type: 'string', multiple: true },
      },
      true,
    )
    if (positionals.length === 0) throw new UsageError('replay: name a trace')
    if (values.config === undefined) throw new UsageError('replay: --config is missing')
    const most = Number(values.changes)
    if (!Number.isSafeInteger(most) || most < 0)
      throw new UsageError(`--changes: '${values.changes}' is no whole number`)
    await loadPlugins(parsePlugins(values.plugins))
    const { decisions, unread } = await readTraces(positionals)
    if (decisions.length === 0 && unread > 0) {
      stderr.write(`signalbox: replay: no line of ${positionals.join(', ')} is a traced decision\n`)
      return 1
    }
    const report = new Report(most, text => stdout.write(`${text}\n`))
    for (const pool of new Set(decisions.map(decision => decision.pool))) {
      const scheduling = await schedulingOf(pool, values.config, text => stderr.write(`${text}\n`))
      if (scheduling === undefined) return 1
      const own = decisions.filter(decision => decision.pool === pool)
      const replay = new Replay(scheduling, endpointsOf(own))
      for (const decision of own) report.add(decision, replay)
    }
    report.end(unread)
    return 0
  },
}

async function readTraces(files: readonly string[]): Promise<{ decisions: Decision[]; unread: number }> {
  const decisions: Decision[] = []
  let unread = 0
  for (const file of files) {
    let number = 0
    try {
      for await (const text of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
        number++
        const read = readLine(text)
        if (read === undefined) unread++
        else decisions.push({ line: number, ...read })
      }
    } catch (error) {
      throw new UsageError(`replay: ${file}: ${explainSystemError((error as Error).message)}`)
    }
  }
  return { decisions, unread }
}

/** A line may be cut where a process was killed. */
function readLine(text: string): Omit<Decision, 'line'> | undefined {
  try {
    const { data } = lineSchema.safeParse(JSON.parse(text))
    return data as Omit<Decision, 'line'> | undefined
  } catch {
    return undefined
  }
}

function endpointsOf(decisions: readonly Decision[]): Map<string, Readonly<Record<string, string>>> {
  const endpoints = new Map<string, Readonly<Record<string, string>>>()
  for (const { profiles } of decisions)
    for (const { candidates } of profiles) for (const { address, labels } of candidates) endpoints.set(address, labels)
  return endpoints
}

/** The scheduling of a pool under the configuration, which need not have the pool itself. Undefined: it has errors, which were told. */
async function schedulingOf(
  pool: string,
  config: readonly string[],
  tell: (text: string) => void,
): Promise<SchedulingPlan | undefined> {
  const { texts: files, problems } = await readFiles(config)
  const known = readTexts(files, problems)
  const [namespace, name] = pool.split('/')
  const has = known.items.some(
    item => item.kind === 'InferencePool' && item.metadata.namespace === namespace && item.metadata.name === name,
  )
  const text = JSON.stringify({
    apiVersion: 'inference.networking.k8s.io/v1',
    kind: 'InferencePool',
    metadata: { name, namespace },
    spec: { selector: { matchLabels: { 'signalbox.dev/replay': 'none' } }, targetPorts: [{ number: 1 }] },
  })
  const set = has ? known : readTexts([...files, { file: 'the trace', text }], problems)
  // The trace has the endpoints: files that list them need not be here.
  const paths = discoveriesIn(set.items).map(({ path }) => path)
  const { plan, errors } = compileSet(withEndpointsFiles(set, paths, [], []), {
    extProc: { addresses: ['127.0.0.1:1'] },
    defaultPool: pool,
  })
  for (const problem of errors) tell(formatProblem(problem))
  return errors.length > 0 ? undefined : plan.pools.find(each => each.name === pool)?.scheduling
}

/** A mean over the picks that had a value. */
class Mean {
  #sum = 0
  #count = 0

  add(value: number | undefined): void {
    if (value === undefined) return
    this.#sum += value
    this.#count++
  }

  text(): string {
    return this.#count === 0 ? '–' : (this.#sum / this.#count).toFixed(3)
  }
}

interface ScorerMeans {
  readonly before: Mean
  readonly after: Mean
  /** Of the picks for which both sides have the scorer. */
  readonly change: Mean
}

class Report {
  readonly #most: number
  readonly #print: (text: string) => void
  readonly #scorers = new Map<string, ScorerMeans>()
  #picks = 0
  #changed = 0

  constructor(most: number, print: (text: string) => void) {
    this.#most = most
    this.#print = print
  }

  add({ line, at, pool, profiles }: Decision, replay: Replay): void {
    const then = profiles.find(profile => profile.picked.length > 0) ?? profiles[0]
    if (then === undefined) return
    const now = replay.pick(then, at)
    this.#picks++
    this.#addScores(then, now.scores)
    if (now.same) return
    this.#changed++
    if (this.#changed > this.#most) return
    const before = `${then.picked[0] ?? 'nobody'} (${then.reason})`
    this.#print(
      `line ${line} ${new Date(at).toISOString()} ${pool}: ${before} → ${now.picked ?? 'nobody'} (${now.reason})`,
    )
  }

  end(unread: number): void {
    if (this.#changed > this.#most) this.#print(`… and ${this.#changed - this.#most} more`)
    const share = this.#picks === 0 ? 0 : (100 * this.#changed) / this.#picks
    this.#print(
      `${this.#picks} picks, ${this.#changed} change (${share.toFixed(1)} %)${unread > 0 ? `; ${unread} lines are none` : ''}`,
    )
    if (this.#scorers.size === 0) return
    this.#print('scores of the endpoints that were picked (mean; –: no such scorer, or the endpoint was filtered):')
    for (const [type, { before, after, change }] of this.#scorers)
      this.#print(`  ${type}: ${before.text()} → ${after.text()}, changed by ${change.text()}`)
  }

  #addScores(then: PickRecord['profiles'][number], now: ReadonlyMap<string, number>): void {
    const scores = then.candidates.find(({ address }) => address === then.picked[0])?.scores
    const before = new Map(then.scorers.map(({ type }, s) => [type, scores?.[s]]))
    for (const type of new Set([...before.keys(), ...now.keys()])) {
      let means = this.#scorers.get(type)
      if (means === undefined)
        this.#scorers.set(type, (means = { before: new Mean(), after: new Mean(), change: new Mean() }))
      const [old, current] = [before.get(type), now.get(type)]
      means.before.add(old)
      means.after.add(current)
      if (old !== undefined && current !== undefined) means.change.add(Math.abs(current - old))
    }
  }
}
