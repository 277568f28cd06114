/** Where each engine's metrics page has what (epp.md §4.1), and which engine an endpoint is. */
import { parseMetricSpec } from './metric-spec.ts'
import type { EnginePlan, EnginesPlan, MetricSpec } from './pool-plan.ts'

/** Labels of pods that name their engine; the second is the older name. */
export const ENGINE_LABELS = ['llm-d.ai/engine-type', 'inference.networking.k8s.io/engine-type'] as const
const DEFAULT_ENGINE = 'vllm'

/** Triton's `nv_inference_exec_count` counts what ever ran, not what runs: it is of no use, and is only read where it is asked for. */
export const ENGINES: readonly EnginePlan[] = [
  {
    name: DEFAULT_ENGINE,
    waiting: spec('vllm:num_requests_waiting'),
    running: spec('vllm:num_requests_running'),
    kvUsage: spec('vllm:kv_cache_usage_perc'),
    // Before vLLM 0.10.
    oldKvUsage: spec('vllm:gpu_cache_usage_perc'),
    lora: spec('vllm:lora_requests_info'),
    cacheInfo: spec('vllm:cache_config_info'),
    blockSizeLabel: 'block_size',
    blockCountLabel: 'num_gpu_blocks',
    firstTokens: spec('vllm:time_to_first_token_seconds_count'),
    firstTokenSeconds: spec('vllm:time_to_first_token_seconds_sum'),
    promptTokens: spec('vllm:prompt_tokens_total'),
    cachedTokens: spec('vllm:prefix_cache_hits_total'),
    queriedTokens: spec('vllm:prefix_cache_queries_total'),
    ended: spec('vllm:request_success_total'),
    // The second name: before vLLM 0.11.
    tokenTimes: ['vllm:inter_token_latency_seconds', 'vllm:time_per_output_token_seconds'].map(histogram),
  },
  {
    name: 'sglang',
    waiting: spec('sglang:num_queue_reqs'),
    running: spec('sglang:num_running_reqs'),
    kvUsage: spec('sglang:token_usage'),
    cacheInfo: spec('sglang:cache_config_info'),
    blockSizeLabel: 'page_size',
    blockCountLabel: 'num_pages',
    firstTokens: spec('sglang:time_to_first_token_seconds_count'),
    firstTokenSeconds: spec('sglang:time_to_first_token_seconds_sum'),
    promptTokens: spec('sglang:prompt_tokens_total'),
    cachedTokens: spec('sglang:cached_tokens_total'),
    ended: spec('sglang:num_requests_total'),
    tokenTimes: ['sglang:inter_token_latency_seconds', 'sglang:time_per_output_token_seconds'].map(histogram),
  },
  {
    name: 'trtllm-serve',
    waiting: spec('trtllm_num_requests_waiting'),
    running: spec('trtllm_num_requests_running'),
    kvUsage: spec('trtllm_kv_cache_utilization'),
    blockSize: spec('trtllm_kv_cache_tokens_per_block'),
    blockCount: spec('trtllm_kv_cache_max_blocks'),
  },
  {
    name: 'triton-tensorrt-llm',
    waiting: spec('nv_trt_llm_request_metrics{request_type=waiting}'),
    running: spec('nv_trt_llm_request_metrics{request_type=scheduled}'),
    kvUsage: spec('nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=fraction}'),
    blockSize: spec('nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=tokens_per}'),
    blockCount: spec('nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=max}'),
  },
  { name: 'triton', waiting: spec('nv_inference_pending_request_count') },
]

export const DEFAULT_ENGINES: EnginesPlan = { labelKeys: ENGINE_LABELS, default: DEFAULT_ENGINE, engines: ENGINES }

/** The engine of an endpoint with these labels: the default one, unless a label names one that is known. */
export function engineOf(plan: EnginesPlan, labels: Readonly<Record<string, string>>): EnginePlan {
  const key = plan.labelKeys.find(name => Object.hasOwn(labels, name))
  const named = key === undefined ? undefined : find(plan, labels[key]!)
  const engine = named ?? find(plan, plan.default)
  if (engine === undefined) throw new RangeError(`no engine "${plan.default}"`)
  return engine
}

function find({ engines }: EnginesPlan, name: string): EnginePlan | undefined {
  return engines.find(engine => engine.name === name)
}

function histogram(name: string): { readonly count: MetricSpec; readonly seconds: MetricSpec } {
  return { count: spec(`${name}_count`), seconds: spec(`${name}_sum`) }
}

function spec(text: string): MetricSpec {
  return parseMetricSpec(text)!
}
