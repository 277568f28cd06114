import type { Engine, EngineObserver } from './engine.ts'
import { Histogram, type Labels, MetricsPage } from './prometheus.ts'
import type { FinishReason, Sequence } from './sequence.ts'

const TTFT_BOUNDS = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
]
const TOKEN_BOUNDS = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80]
const LATENCY_BOUNDS = [0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680]
const ITERATION_BOUNDS = [1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384]
const REASONS = ['stop', 'length', 'abort', 'error']
/** Old combinations of adapters stay on vLLM's page for ever; here the last few do. */
const LORA_SERIES = 8

export interface VllmMetricsOptions {
  readonly modelName: string
  readonly maxModelLen: number
  readonly blockSize: number
  readonly numGpuBlocks: number
  /** 0: no LoRA family at all, as a vLLM without `--enable-lora`. */
  readonly maxLoras: number
  /** Unix time in seconds. */
  readonly unixTime: () => number
}

/** vLLM's own metrics, under its names and labels, in simulated seconds. */
export class VllmMetrics implements EngineObserver {
  readonly #options: VllmMetricsOptions
  readonly #labels: Labels
  readonly #histograms: Readonly<Record<HistogramName, Histogram>>
  readonly #success = new Map<string, number>(REASONS.map(reason => [reason, 0]))
  readonly #counters = { queries: 0, hits: 0, prompt: 0, generation: 0, preemptions: 0 }
  /** Running and waiting adapters → when this was so last, Unix seconds. The newest is the last entry. */
  readonly #loraSeries = new Map<string, number>()
  #loraKey = ''

  constructor(options: VllmMetricsOptions) {
    this.#options = options
    this.#labels = { engine: '0', model_name: options.modelName }
    const lengths = oneTwoFive(options.maxModelLen)
    const bounds = (name: HistogramName): readonly number[] => {
      if (name === 'time_to_first_token_seconds') return TTFT_BOUNDS
      if (name.endsWith('output_token_seconds') || name === 'inter_token_latency_seconds') return TOKEN_BOUNDS
      if (name === 'iteration_tokens_total') return ITERATION_BOUNDS
      if (name === 'request_params_n') return [1, 2, 5, 10, 20]
      return name.endsWith('seconds') ? LATENCY_BOUNDS : lengths
    }
    this.#histograms = Object.fromEntries(
      Object.keys(HISTOGRAMS).map(name => [name, new Histogram(bounds(name as HistogramName))]),
    ) as Record<HistogramName, Histogram>
    this.#recordLoras('', '')
  }

  step(promptTokens: number, generatedTokens: number): void {
    this.#counters.prompt += promptTokens
    this.#counters.generation += generatedTokens
    this.#histograms.iteration_tokens_total.observe(promptTokens + generatedTokens)
  }

  prefixLookup(tokens: number, hits: number): void {
    this.#counters.queries += tokens
    this.#counters.hits += hits
  }

  token(sequence: Sequence, sinceMs: number): void {
    const first = sequence.firstTokenAt === undefined
    const name = first ? 'time_to_first_token_seconds' : 'inter_token_latency_seconds'
    this.#histograms[name].observe(sinceMs / 1000)
  }

  preempted(): void {
    this.#counters.preemptions++
  }

  finished(sequence: Sequence, reason: FinishReason): void {
    this.#success.set(reason, this.#success.get(reason)! + 1)
    const { arrivedAt, scheduledAt, firstTokenAt, lastTokenAt, finishedAt, generated, request } = sequence
    const end = finishedAt!
    const histograms = this.#histograms
    const observe = (name: HistogramName, from: number, to: number) => histograms[name].observe((to - from) / 1000)
    observe('e2e_request_latency_seconds', arrivedAt, end)
    observe('request_queue_time_seconds', arrivedAt, scheduledAt ?? end)
    observe('request_inference_time_seconds', scheduledAt ?? end, end)
    observe('request_prefill_time_seconds', scheduledAt ?? end, firstTokenAt ?? end)
    observe('request_decode_time_seconds', firstTokenAt ?? end, lastTokenAt ?? end)
    if (generated > 1) {
      histograms.request_time_per_output_token_seconds.observe((lastTokenAt! - firstTokenAt!) / 1000 / (generated - 1))
    }
    histograms.request_prompt_tokens.observe(request.prompt.length)
    histograms.request_generation_tokens.observe(generated)
    histograms.request_max_num_generation_tokens.observe(generated)
    histograms.request_params_n.observe(1)
    histograms.request_params_max_tokens.observe(request.maxTokens)
  }

  changed(engine: Engine): void {
    if (this.#options.maxLoras > 0) this.#recordLoras(adapters(engine.running), adapters(engine.waiting))
  }

  /** The page of `GET /metrics`. */
  page(engine: Engine): string {
    const page = new MetricsPage()
    const labels = this.#labels
    const gauge = (name: string, help: string, value: number) =>
      page.family(`vllm:${name}`, 'gauge', help).sample(`vllm:${name}`, labels, value)
    const counter = (name: string, help: string, value: number) =>
      page.family(`vllm:${name}_total`, 'counter', help).sample(`vllm:${name}_total`, labels, value)
    writeProcess(page)
    gauge('num_requests_running', 'Requests in the running batch.', engine.running.length)
    gauge('num_requests_waiting', 'Requests in the queue.', engine.waiting.length)
    gauge('kv_cache_usage_perc', 'Share of the KV cache that requests hold, 0 to 1.', engine.cache.usage)
    const { queries, hits, prompt, generation, preemptions } = this.#counters
    counter('prefix_cache_queries', 'Tokens looked up in the prefix cache.', queries)
    counter('prefix_cache_hits', 'Tokens found in the prefix cache.', hits)
    counter('num_preemptions', 'Requests thrown out of the batch for want of blocks.', preemptions)
    counter('prompt_tokens', 'Prompt tokens processed.', prompt)
    counter('generation_tokens', 'Tokens generated.', generation)
    page.family('vllm:request_success_total', 'counter', 'Requests that ended, by reason.')
    for (const [reason, count] of this.#success) {
      page.sample('vllm:request_success_total', { ...labels, finished_reason: reason }, count)
    }
    for (const [name, help] of Object.entries(HISTOGRAMS)) {
      page.family(`vllm:${name}`, 'histogram', help)
      this.#histograms[name as HistogramName].write(page, `vllm:${name}`, labels)
    }
    this.#writeLoras(page)
    this.#writeCacheConfig(page)
    return page.toString()
  }

  #recordLoras(running: string, waiting: string): void {
    const key = JSON.stringify([running, waiting])
    const newest = this.#loraSeries.get(this.#loraKey) ?? 0
    if (key === this.#loraKey) return
    // A change within the clock's resolution must still be the newest.
    const time = Math.max(this.#options.unixTime(), newest + 1e-6)
    this.#loraSeries.delete(key)
    this.#loraSeries.set(key, time)
    this.#loraKey = key
    if (this.#loraSeries.size > LORA_SERIES) this.#loraSeries.delete(this.#loraSeries.keys().next().value!)
  }

  #writeLoras(page: MetricsPage): void {
    const { maxLoras } = this.#options
    if (maxLoras === 0) return
    page.family(
      'vllm:lora_requests_info',
      'gauge',
      'Adapters of running and waiting requests; the value is the Unix time of the observation.',
    )
    for (const [key, time] of this.#loraSeries) {
      const [running, waiting] = JSON.parse(key) as [string, string]
      const labels = { max_lora: String(maxLoras), running_lora_adapters: running, waiting_lora_adapters: waiting }
      page.sample('vllm:lora_requests_info', labels, time)
    }
  }

  #writeCacheConfig(page: MetricsPage): void {
    page.family('vllm:cache_config_info', 'gauge', 'Configuration of the KV cache.')
    const labels = {
      block_size: String(this.#options.blockSize),
      cache_dtype: 'auto',
      calculate_kv_scales: 'False',
      cpu_offload_gb: '0',
      enable_prefix_caching: 'True',
      engine: '0',
      gpu_memory_utilization: '0.9',
      num_cpu_blocks: 'None',
      num_gpu_blocks: String(this.#options.numGpuBlocks),
      num_gpu_blocks_override: 'None',
      prefix_caching_hash_algo: 'builtin',
      sliding_window: 'None',
      swap_space: '4',
    }
    page.sample('vllm:cache_config_info', labels, 1)
  }
}

const HISTOGRAMS = {
  iteration_tokens_total: 'Tokens per step of the engine.',
  time_to_first_token_seconds: 'Time from arrival to first token.',
  inter_token_latency_seconds: 'Time between two tokens of a request.',
  request_time_per_output_token_seconds: 'Mean time per token after the first, per request.',
  e2e_request_latency_seconds: 'Time from arrival to end.',
  request_queue_time_seconds: 'Time in the queue.',
  request_inference_time_seconds: 'Time from leaving the queue to the end.',
  request_prefill_time_seconds: 'Time from leaving the queue to the first token.',
  request_decode_time_seconds: 'Time from the first token to the last.',
  request_prompt_tokens: 'Prompt tokens per request.',
  request_generation_tokens: 'Generated tokens per request.',
  request_max_num_generation_tokens: 'Most tokens generated by any sequence of a request.',
  request_params_n: 'Parameter n of requests.',
  request_params_max_tokens: 'Parameter max_tokens of requests.',
} as const
type HistogramName = keyof typeof HISTOGRAMS

function adapters(sequences: readonly Sequence[]): string {
  const names = new Set<string>()
  for (const { request } of sequences) if (request.lora !== undefined) names.add(request.lora)
  return [...names].join(',')
}

function writeProcess(page: MetricsPage): void {
  const rss = process.memoryUsage.rss()
  const { user, system } = process.cpuUsage()
  page
    .family('process_resident_memory_bytes', 'gauge', 'Resident memory size in bytes.')
    .sample('process_resident_memory_bytes', {}, rss)
    .family('process_cpu_seconds_total', 'counter', 'Total user and system CPU time spent in seconds.')
    .sample('process_cpu_seconds_total', {}, (user + system) / 1e6)
}

/** 1, 2, 5, 10, 20, 50 … up to `limit`. */
function oneTwoFive(limit: number): number[] {
  const bounds: number[] = []
  for (let power = 1; power <= limit; power *= 10) {
    for (const digit of [1, 2, 5]) if (digit * power <= limit) bounds.push(digit * power)
  }
  return bounds
}
