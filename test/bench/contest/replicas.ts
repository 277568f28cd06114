/** The model servers of a run: processes of llm-d-inference-sim, or of our own simulator. */
import { join } from 'node:path'
import type { EngineOptions } from '../../../src/sim/engine.ts'
import { freePort } from '../../support/free-ports.ts'
import { readMetrics } from '../../support/read-metrics.ts'
import { waitFor } from '../../support/wait-for.ts'
import { type Started, start } from '../child-programs.ts'
import { BASE_MODEL } from '../placement/workloads.ts'

const MAX_MODEL_LEN = 20_000
const ADAPTERS = Array.from({ length: 15 }, (_, i) => `adapter-${i}`)
const SIGNALBOX = join(import.meta.dirname, '..', '..', '..', 'bin', 'signalbox')

export interface Replicas {
  /** `host:port`. */
  readonly addresses: readonly string[]
  /** Ends one as a crash does. */
  kill(replica: number): void
  /** Share of the prompts' tokens that were found in a cache, by the metrics of those that live. */
  hits(): Promise<number>
  stop(): Promise<void>
}

/** @param binary llm-d-inference-sim; undefined: our own simulator */
export async function startReplicas(engines: readonly EngineOptions[], binary: string | undefined): Promise<Replicas> {
  const started: Started[] = []
  const addresses: string[] = []
  const stop = async () => {
    await Promise.all(started.map(each => each.stop('SIGKILL')))
  }
  try {
    for (const engine of engines) {
      const port = await freePort()
      addresses.push(`127.0.0.1:${port}`)
      const replica =
        binary === undefined
          ? start(SIGNALBOX, ownArgs(engine, port))
          : // It wants to know its own address, for the events of its cache.
            start('env', ['POD_IP=127.0.0.1', binary, ...inferenceSimArgs(engine, port)])
      replica.child.stdout?.resume()
      started.push(replica)
    }
    for (const address of addresses)
      await waitFor(`the model server ${address}`, async () => (await fetch(`http://${address}/v1/models`)).ok)
  } catch (error) {
    await stop()
    throw error
  }
  const dead = new Set<number>()
  return {
    addresses,
    kill(replica) {
      dead.add(replica)
      void started[replica]!.stop('SIGKILL')
    },
    async hits() {
      const pages = await Promise.all(
        addresses
          .filter((_, i) => !dead.has(i))
          .map(async address => (await fetch(`http://${address}/metrics`)).text()),
      )
      return hitShare(pages)
    },
    stop,
  }
}

/**
 * The engine's options as llm-d-inference-sim has them. It computes prompts side by side, all of them and answers more slowly the more
 * requests it runs, and loads adapters in no time; what it has no option for (steps, an adapter's load) is left out.
 */
export function inferenceSimArgs(engine: EngineOptions, port: number): string[] {
  const slowest = 1 + engine.decodeGrowth * (engine.maxNumSeqs - 1)
  const flags = flagsOf({
    port,
    model: BASE_MODEL,
    'force-dummy-tokenizer': 'true',
    'max-model-len': MAX_MODEL_LEN,
    'max-num-seqs': engine.maxNumSeqs,
    'max-waiting-queue-length': 10_000,
    'max-loras': engine.maxLoras,
    'enable-kvcache': 'true',
    // Nobody listens to its events.
    'zmq-endpoint': '',
    'block-size': engine.blockSize,
    'kv-cache-size': engine.numGpuBlocks,
    'latency-calculator': 'per-token',
    'prefill-overhead': duration(engine.prefillBaseMs),
    'prefill-time-per-token': duration(engine.prefillMsPerToken),
    'inter-token-latency': duration(engine.decodeMs),
    'time-factor-under-load': slowest.toFixed(3),
    seed: 1,
  })
  return [...flags, '--lora-modules', ...ADAPTERS.map(name => JSON.stringify({ name }))]
}

/** The same for `signalbox sim`. */
function ownArgs(engine: EngineOptions, port: number): string[] {
  const flags = flagsOf({
    port,
    model: BASE_MODEL,
    'max-model-len': MAX_MODEL_LEN,
    'max-num-seqs': engine.maxNumSeqs,
    'max-num-batched-tokens': engine.maxNumBatchedTokens,
    'max-loras': engine.maxLoras,
    'lora-load-ms': engine.loraLoadMs,
    'block-size': engine.blockSize,
    'num-gpu-blocks': engine.numGpuBlocks,
    'prefill-base-ms': engine.prefillBaseMs,
    'prefill-ms-per-token': engine.prefillMsPerToken,
    'decode-ms': engine.decodeMs,
    'decode-growth': engine.decodeGrowth,
  })
  return ['sim', ...flags, ...ADAPTERS.map(name => `--lora=${name}`)]
}

function flagsOf(options: Readonly<Record<string, number | string>>): string[] {
  return Object.entries(options).map(([name, value]) => `--${name}=${value}`)
}

/** As Go writes durations. */
function duration(ms: number): string {
  return `${Math.round(ms * 1000)}us`
}

/** Tokens found ÷ tokens looked up of several vLLM metrics pages. */
export function hitShare(pages: readonly string[]): number {
  const sum = (name: string) => {
    let total = 0
    for (const page of pages) {
      for (const [sample, value] of readMetrics(page)) if (sample.startsWith(name)) total += value
    }
    return total
  }
  const queries = sum('vllm:prefix_cache_queries_total')
  return queries === 0 ? 0 : sum('vllm:prefix_cache_hits_total') / queries
}
