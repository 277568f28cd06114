/** The metrics pages of engines other than vLLM: the same engine under their names, as far as a picker looks. */
import type { Engine } from './engine.ts'
import { type Labels, MetricsPage } from './prometheus.ts'

export const ENGINES = ['vllm', 'sglang', 'trtllm-serve', 'triton-tensorrt-llm'] as const
export type EngineName = (typeof ENGINES)[number]

export interface EnginePageOptions {
  readonly modelName: string
  readonly blockSize: number
  readonly numGpuBlocks: number
}

export function enginePage(name: Exclude<EngineName, 'vllm'>, engine: Engine, options: EnginePageOptions): string {
  const page = new MetricsPage()
  PAGES[name](page, engine, options)
  return page.toString()
}

type Writer = (page: MetricsPage, engine: Engine, options: EnginePageOptions) => void

function gauge(page: MetricsPage, name: string, help: string, value: number, labels: Labels = {}): void {
  page.family(name, 'gauge', help).sample(name, labels, value)
}

const PAGES: Readonly<Record<Exclude<EngineName, 'vllm'>, Writer>> = {
  sglang(page, engine, { modelName, blockSize, numGpuBlocks }) {
    const labels = { model_name: modelName, tp_rank: '0' }
    gauge(page, 'sglang:num_running_reqs', 'Requests that run.', engine.running.length, labels)
    gauge(page, 'sglang:token_usage', 'Share of the KV cache in use.', engine.cache.usage, labels)
    gauge(page, 'sglang:num_queue_reqs', 'Requests in the waiting queue.', engine.waiting.length, labels)
    const info = { page_size: String(blockSize), num_pages: String(numGpuBlocks) }
    gauge(page, 'sglang:cache_config_info', 'Configuration of the KV cache.', 1, info)
  },
  'trtllm-serve'(page, engine, { modelName, blockSize, numGpuBlocks }) {
    const labels = { engine_type: 'tensorrt_llm', model_name: modelName }
    const write = (name: string, help: string, value: number) => gauge(page, `trtllm_${name}`, help, value, labels)
    write('num_requests_running', 'Requests that run.', engine.running.length)
    write('num_requests_waiting', 'Requests that wait.', engine.waiting.length)
    write('kv_cache_utilization', 'Share of the KV cache in use.', engine.cache.usage)
    write('kv_cache_tokens_per_block', 'Tokens in a block.', blockSize)
    write('kv_cache_max_blocks', 'Blocks of the KV cache.', numGpuBlocks)
  },
  'triton-tensorrt-llm'(page, engine, { blockSize, numGpuBlocks }) {
    const family = (name: string, label: string, values: Readonly<Record<string, number>>) => {
      page.family(name, 'gauge', 'Statistics of TensorRT-LLM.')
      for (const [value, number] of Object.entries(values))
        page.sample(name, { model: 'tensorrt_llm', [label]: value, version: '1' }, number)
    }
    const { running, waiting, cache } = engine
    family('nv_trt_llm_request_metrics', 'request_type', {
      active: running.length + waiting.length,
      context: 0,
      max: 2048,
      scheduled: running.length,
      waiting: waiting.length,
    })
    family('nv_trt_llm_kv_cache_block_metrics', 'kv_cache_block_type', {
      fraction: cache.usage,
      max: numGpuBlocks,
      tokens_per: blockSize,
      used: Math.round(cache.usage * numGpuBlocks),
    })
  },
}
