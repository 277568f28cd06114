/**
 * Signalbox as an endpoint picker, from its configuration files to the bytes on an ext_proc stream, with endpoints whose metrics are scripted
 * and without a network. The other side is strict (./picker-session.ts).
 */
import { expect } from '@jest/globals'
import { compileSet } from '../../src/compile/compile.ts'
import { readTexts } from '../../src/config/object-set.ts'
import { formatProblem } from '../../src/config/problem.ts'
import { BodyMode } from '../../src/extproc/modes.ts'
import { ExtProcService } from '../../src/extproc/service.ts'
import { adapterId } from '../../src/inference/adapter-id.ts'
import { scrape } from '../../src/inference/testing.ts'
import { DecisionRecords, type RecordOptions } from '../../src/pipeline/decision-records.ts'
import type { Observers } from '../../src/pipeline/observers.ts'
import type { Plan } from '../../src/pipeline/plan.ts'
import { Outcomes, OutcomeTotals } from '../../src/pipeline/outcomes.ts'
import { LocalPlan } from '../support/local-plan.ts'
import type { Answer } from './picker-answer.ts'
import { type Call, Session } from './picker-session.ts'

/** Endpoint i is 192.168.1.(i + 1):8000. */
export const address = (i: number): string => `192.168.1.${i + 1}:8000`

export interface PodState {
  readonly queue: number
  readonly kv: number
  readonly adapters?: readonly string[]
}

/** P(i, q, kv, models…) of epp.md §8.1. */
export function pod(queue: number, kv: number, ...adapters: readonly string[]): PodState {
  return { queue, kv, adapters }
}

/** Profile of epp.md §8.1. */
export const HERMETIC = `
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: queue-scorer
- type: kv-cache-utilization-scorer
- type: prefix-cache-scorer
- type: lora-affinity-scorer
- type: max-score-picker
`

const NOW = 1_000_000

export class PickerRig {
  readonly outcomes: OutcomeTotals
  /** What `plan` was made with; tests change it. */
  readonly compiled: Plan
  readonly plan: LocalPlan
  readonly service: ExtProcService
  now = NOW

  /** Lines of the trace. */
  readonly trace: string[] = []

  constructor(
    pods: readonly PodState[],
    config = HERMETIC,
    more = '',
    records?: RecordOptions,
    annotations: Readonly<Record<string, string>> = {},
    observers?: Observers,
  ) {
    const noted = JSON.stringify({ 'signalbox.dev/unknown-models': 'Forward', ...annotations })
    const text = `
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: { name: pool, annotations: ${noted} }
spec: { selector: { matchLabels: { app: x } }, targetPorts: [{ number: 8000 }] }
---
apiVersion: signalbox.dev/v1alpha1
kind: SignalboxBackend
metadata: { name: backend, labels: { app: x } }
spec: { endpoints: [${pods.map((_, i) => `{ address: 192.168.1.${i + 1}, port: 8000 }`).join(', ')}] }
---
${config}
---
${more}`
    const set = readTexts([
      {
        file: 'picker.yaml',
        text: pods.length > 0 ? text : text.replace(/---\napiVersion: signalbox[^]*?---\n/, '---\n'),
      },
    ])
    const compiled = compileSet(set, { extProc: { addresses: ['127.0.0.1:1'] }, defaultPool: 'default/pool' })
    expect(compiled.errors.map(formatProblem)).toEqual([])
    const outcomes = new Outcomes()
    this.outcomes = new OutcomeTotals([outcomes.memory])
    const made = records && {
      records: new DecisionRecords(
        records,
        () => 0.5,
        line => this.trace.push(line),
      ),
    }
    this.plan = new LocalPlan({
      ...made,
      observers,
      outcomes,
      nowMs: () => this.now,
      random: () => 0,
      pool: { releaseBy: 'response' },
    })
    this.compiled = compiled.plan
    this.plan.update(compiled.plan)
    this.service = new ExtProcService({ decider: () => this.plan.entry(undefined), retainsParts: false })
    this.scrape(pods)
  }

  /** What the endpoints say of themselves from now on. */
  scrape(pods: readonly PodState[]): void {
    const pool = this.plan.pools.get('default/pool')!
    for (const [i, { queue, kv, adapters = [] }] of pods.entries()) {
      const ids = new Int32Array(64)
      ids.set(adapters.map(adapterId))
      const page = {
        waiting: queue,
        running: 0,
        kvUsage: kv,
        maxLora: 2,
        runningAdapters: adapters.length,
        adapters: ids,
      }
      scrape(pool, pool.table.slotOf(address(i))!, page, this.now)
    }
  }

  open(call: Call, responseMode: BodyMode = BodyMode.FULL_DUPLEX_STREAMED): Session {
    const session = new Session(this.service, call, responseMode)
    // It must be there at once.
    expect(session.answer).toBeDefined()
    return session
  }

  /** A request that may have to wait: its answer is only looked at when somebody asks for it. */
  begin(call: Call): Session {
    return new Session(this.service, call, BodyMode.FULL_DUPLEX_STREAMED)
  }

  send(call: Call): Answer {
    return this.open(call).answer
  }

  get inFlight(): number {
    return this.plan.pools
      .get('default/pool')!
      .snapshot()
      .reduce((sum, { inFlight }) => sum + inFlight, 0)
  }
}
