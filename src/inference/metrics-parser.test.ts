import { describe, expect, it } from '@jest/globals'
import { adapterId } from './adapter-id.ts'
import { EnginePage } from './engine-page.ts'
import { DEFAULT_ENGINES, engineOf } from './engines.ts'
import { parseMetricSpec } from './metric-spec.ts'
import { MetricsParser } from './metrics-parser.ts'
import type { EnginePlan } from './pool-plan.ts'
import { type ReplicaMetrics, Signal } from './replica-metrics.ts'

const L = '{engine="0",model_name="m"}'
const ENGINE_LABEL = 'llm-d.ai/engine-type'
const vllm = new EnginePage(engineOf(DEFAULT_ENGINES, {}))

function readWith(parser: MetricsParser, text: string, size = text.length): ReplicaMetrics | undefined {
  const bytes = Buffer.from(text)
  parser.begin()
  for (let at = 0; at < bytes.length; at += size) parser.take(bytes, at, Math.min(bytes.length, at + size))
  return parser.finish()
}

/** What a vLLM's page of these lines says. Every page is read whole, and again in pieces. */
function parse(...lines: string[]): ReplicaMetrics | undefined {
  return parseAs(vllm, ...lines)
}

function parseAs(page: EnginePage, ...lines: string[]): ReplicaMetrics | undefined {
  const text = lines.join('\n')
  const whole = readWith(new MetricsParser(page), text)
  for (const size of [1, 2, 7, 64]) expect(readWith(new MetricsParser(page), text, size)).toEqual(whole)
  return whole
}

/** The page of the engine that a pod's label names. */
function parseLabelled(engine: string | undefined, ...lines: string[]): ReplicaMetrics | undefined {
  const labels = engine === undefined ? {} : { [ENGINE_LABEL]: engine }
  return parseAs(new EnginePage(engineOf(DEFAULT_ENGINES, labels)), ...lines)
}

function names(metrics: ReplicaMetrics | undefined): number[] {
  return [...metrics!.adapters.subarray(0, metrics!.runningAdapters + metrics!.waitingAdapters)]
}

describe('MetricsParser', () => {
  it('reads a page of a vLLM', () => {
    const page = parse(
      '# HELP vllm:num_requests_running Number of requests in model execution batches.',
      '# TYPE vllm:num_requests_running gauge',
      `vllm:num_requests_running${L} 3.0`,
      '# TYPE vllm:num_requests_waiting gauge',
      `vllm:num_requests_waiting${L} 2.0`,
      `vllm:kv_cache_usage_perc${L} 0.25`,
      'vllm:cache_config_info{block_size="16",cache_dtype="auto",engine="0",num_gpu_blocks="31250"} 1.0',
      'vllm:lora_requests_info{max_lora="4",running_lora_adapters="a,b",waiting_lora_adapters="c"} 1.7e+09',
      '',
    )
    expect(page).toMatchObject({ waiting: 2, running: 3, kvUsage: 0.25, blockSize: 16, blockCount: 31250 })
    expect(page).toMatchObject({ maxLora: 4, runningAdapters: 2, waitingAdapters: 1 })
    expect(names(page)).toEqual(['a', 'b', 'c'].map(adapterId))
  })

  it('reads a family on the first line and one on a last line without a newline', () => {
    expect(parse('vllm:num_requests_waiting 7', 'vllm:num_requests_running 4')).toMatchObject({
      waiting: 7,
      running: 4,
    })
  })

  it('is not misled by help texts, longer names and values of labels', () => {
    const page = parse(
      '# HELP vllm:num_requests_waiting vllm:num_requests_waiting 99',
      `vllm:num_requests_waiting_total${L} 98`,
      `vllm:num_requests_waitingX 97`,
      `other{text="\\nvllm:num_requests_waiting 96"} 1`,
      `vllm:num_requests_waiting${L} 5`,
    )
    expect(page!.waiting).toBe(5)
  })

  it('adds the ranks of a data-parallel server and averages their cache usage', () => {
    const page = parse(
      'vllm:num_requests_waiting{engine="0"} 1',
      'vllm:num_requests_waiting{engine="1"} 2',
      'vllm:num_requests_running{engine="0"} 10',
      'vllm:num_requests_running{engine="1"} 20',
      'vllm:kv_cache_usage_perc{engine="0"} 0.2',
      'vllm:kv_cache_usage_perc{engine="1"} 0.4',
      'vllm:cache_config_info{block_size="16",num_gpu_blocks="100",engine="0"} 1',
      'vllm:cache_config_info{block_size="16",num_gpu_blocks="100",engine="1"} 1',
    )
    expect(page).toMatchObject({ waiting: 3, running: 30, blockSize: 16, blockCount: 200 })
    expect(page!.kvUsage).toBeCloseTo(0.3)
  })

  it('takes the old name of the cache usage where the new one is missing', () => {
    expect(parse('vllm:num_requests_running 1', 'vllm:gpu_cache_usage_perc 0.5')!.kvUsage).toBe(0.5)
    const both = parse('vllm:num_requests_running 1', 'vllm:gpu_cache_usage_perc 0.5', 'vllm:kv_cache_usage_perc 0.75')
    expect(both!.kvUsage).toBe(0.75)
  })

  it.each([
    ['1e1', 10],
    ['+4', 4],
    ['5.0 1700000000000', 5],
    ['6.0 # {trace_id="x"} 1', 6],
    ['NaN', 0],
    ['+Inf', 0],
    ['-3', 0],
    ['abc', 0],
    ['', 0],
    ['9'.repeat(40), 0],
  ])('reads the value %j as %d', (value, waiting) => {
    expect(parse(`vllm:num_requests_waiting ${value}`, 'vllm:num_requests_running 1')!.waiting).toBe(waiting)
  })

  it('skips a series without a number, not its neighbours', () => {
    const page = parse('vllm:num_requests_waiting{engine="0"} NaN', 'vllm:num_requests_waiting{engine="1"} 4')
    expect(page!.waiting).toBe(4)
  })

  it('reads CRLF lines, tabs and spaces', () => {
    const page = parse('x 1\r\nvllm:num_requests_waiting\t{ a="b" , }  3 \r\nvllm:num_requests_running 2\r\n')
    expect(page).toMatchObject({ waiting: 3, running: 2 })
  })

  it('reads labels whose values hold escapes, braces and commas', () => {
    const page = parse(
      'vllm:num_requests_running{model_name="a\\"}{ 9\\\\"} 2',
      'vllm:lora_requests_info{x="block_size=\\"9\\",max_lora=\\"8\\"",max_lora="3",running_lora_adapters=" a , ,b "} 1',
    )
    expect(page).toMatchObject({ running: 2, maxLora: 3, runningAdapters: 2 })
    expect(names(page)).toEqual(['a', 'b'].map(adapterId))
  })

  it('takes the newest of several LoRA reports', () => {
    const page = parse(
      'vllm:num_requests_running 1',
      'vllm:lora_requests_info{max_lora="2",running_lora_adapters="old",waiting_lora_adapters=""} 100',
      'vllm:lora_requests_info{max_lora="2",running_lora_adapters="",waiting_lora_adapters="new"} 300',
      'vllm:lora_requests_info{max_lora="2",running_lora_adapters="older",waiting_lora_adapters=""} 50',
    )
    expect(page).toMatchObject({ runningAdapters: 0, waitingAdapters: 1 })
    expect(names(page)).toEqual([adapterId('new')])
  })

  it('keeps no more adapters than there is room for', () => {
    const list = Array.from({ length: 200 }, (_, i) => `a${i}`).join(',')
    const page = parse('vllm:num_requests_running 1', `vllm:lora_requests_info{running_lora_adapters="${list}"} 1`)
    expect(page!.runningAdapters).toBe(64)
    expect(page!.waitingAdapters).toBe(0)
  })

  it('forgets what the previous page said', () => {
    const parser = new MetricsParser(vllm)
    const rich = `vllm:num_requests_waiting 5\nvllm:kv_cache_usage_perc 1\nvllm:lora_requests_info{max_lora="2",running_lora_adapters="a"} 1`
    readWith(parser, rich)
    const after = readWith(parser, 'vllm:num_requests_running 1')
    expect(after).toMatchObject({ waiting: 0, running: 1, kvUsage: 0, maxLora: 0, runningAdapters: 0 })
  })

  it.each([
    ['an empty page', ''],
    ['another exporter', 'go_goroutines 7\nprocess_cpu_seconds_total 1\n'],
    ['an unclosed label', 'vllm:num_requests_waiting{a="b 5\nvllm:num_requests_running{a="b" 5\n'],
  ])('refuses %s', (_name, text) => {
    expect(parse(text)).toBeUndefined()
  })
})

describe('pages that lack something', () => {
  const FULL = Signal.WAITING | Signal.RUNNING | Signal.KV_USAGE | Signal.BLOCK_SIZE | Signal.BLOCK_COUNT

  it('gives what is there, and says what is not', () => {
    const page = parse(`vllm:num_requests_waiting${L} 7`)
    expect(page).toMatchObject({ waiting: 7, missing: FULL & ~Signal.WAITING, invalid: 0 })
    expect(parse('vllm:kv_cache_usage_perc 0.5')).toMatchObject({ kvUsage: 0.5, missing: FULL & ~Signal.KV_USAGE })
  })

  it('lacks nothing when all is there but the family of LoRA', () => {
    const page = parse(
      'vllm:num_requests_waiting 0',
      'vllm:num_requests_running 0',
      'vllm:kv_cache_usage_perc 0',
      'vllm:cache_config_info{block_size="16",num_gpu_blocks="10"} 1',
    )
    expect(page).toMatchObject({ missing: 0, invalid: 0, blockSize: 16, blockCount: 10 })
  })

  it.each([
    ['NaN', { waiting: 0, missing: Signal.WAITING, invalid: Signal.WAITING }],
    ['-1', { waiting: 0, missing: Signal.WAITING, invalid: Signal.WAITING }],
    ['+Inf', { waiting: 0, missing: Signal.WAITING, invalid: Signal.WAITING }],
    ['1e300', { waiting: 0x3fffffff, missing: 0, invalid: 0 }],
  ])('takes %s requests waiting for no number', (value, expected) => {
    const page = parse(`vllm:num_requests_waiting ${value}`, 'vllm:num_requests_running 1')!
    const bits = Signal.WAITING | Signal.RUNNING
    const { waiting, missing, invalid } = page
    expect({ waiting, missing: missing & bits, invalid: invalid & bits }).toEqual(expected)
  })

  it.each([
    ['NaN', 0, Signal.KV_USAGE, Signal.KV_USAGE],
    ['-0.5', 0, Signal.KV_USAGE, Signal.KV_USAGE],
    ['+Inf', 0, Signal.KV_USAGE, Signal.KV_USAGE],
    ['87', 1, 0, Signal.KV_USAGE],
  ])('keeps a cache usage of %s within 0 and 1', (value, kvUsage, missing, invalid) => {
    const page = parse('vllm:num_requests_running 1', `vllm:kv_cache_usage_perc ${value}`)!
    expect(page.kvUsage).toBe(kvUsage)
    expect([page.missing & Signal.KV_USAGE, page.invalid & Signal.KV_USAGE]).toEqual([missing, invalid])
  })

  it('says when blocks are no number', () => {
    const page = parse(
      'vllm:num_requests_running 1',
      'vllm:cache_config_info{block_size="16",num_gpu_blocks="None"} 1',
    )!
    expect(page).toMatchObject({ blockSize: 16, blockCount: 0, invalid: Signal.BLOCK_COUNT })
    expect(page.missing & Signal.BLOCK_COUNT).toBe(Signal.BLOCK_COUNT)
  })
})

describe('series', () => {
  it('takes those with the newest timestamp', () => {
    const page = parse(
      'vllm:num_requests_waiting{x="a"} 1 1000',
      'vllm:num_requests_waiting{x="b"} 2 3000',
      'vllm:num_requests_waiting{x="c"} 4 3000',
      'vllm:num_requests_waiting{x="d"} 8 2000',
      'vllm:num_requests_waiting{x="e"} 16',
    )
    expect(page!.waiting).toBe(6)
  })

  it('takes no part of a summary for a value', () => {
    expect(parse('vllm:num_requests_waiting{quantile="0.5"} 4')).toMatchObject({ waiting: 0 })
  })

  it('passes over a line that is longer than any', () => {
    const long = `x{a="${'y'.repeat(100_000)}"} 1`
    const text = `vllm:num_requests_waiting 1\n${long}\nvllm:num_requests_running 2\n`
    for (const size of [1000, text.length])
      expect(readWith(new MetricsParser(vllm), text, size)).toMatchObject({ waiting: 1, running: 2 })
  })

  it('stops reading once it has seen all that it wants', () => {
    const engine: EnginePlan = { name: 'x', waiting: { name: 'w', labels: {} } }
    const parser = new MetricsParser(new EnginePage(engine))
    // A second family of the name is no family: what comes after the first is not read.
    expect(readWith(parser, 'w 1\nother 2\nw 5\n', 4)).toMatchObject({ waiting: 1 })
  })
})

describe('engines', () => {
  const BOTH = ['vllm:num_requests_waiting 10', 'sglang:num_queue_reqs 20']

  it.each([
    ['sglang', 20],
    ['vllm', 10],
    ['nobody-knows', 10],
    [undefined, 10],
  ])('label %j reads %d requests waiting', (engine, waiting) => {
    expect(parseLabelled(engine, ...BOTH)!.waiting).toBe(waiting)
  })

  it('reads the label by its older name too, but the newer one counts', () => {
    const old = 'inference.networking.k8s.io/engine-type'
    expect(engineOf(DEFAULT_ENGINES, { [old]: 'sglang' }).name).toBe('sglang')
    expect(engineOf(DEFAULT_ENGINES, { [old]: 'sglang', [ENGINE_LABEL]: 'trtllm-serve' }).name).toBe('trtllm-serve')
  })

  it('reads an SGLang', () => {
    const page = parseLabelled(
      'sglang',
      'sglang:num_queue_reqs{model_name="m"} 3',
      'sglang:num_running_reqs{model_name="m"} 4',
      'sglang:token_usage{model_name="m"} 0.28',
      'sglang:cache_config_info{num_pages="11147",page_size="64"} 1',
    )
    expect(page).toMatchObject({ waiting: 3, running: 4, kvUsage: 0.28, blockSize: 64, blockCount: 11_147, missing: 0 })
  })

  it('reads a TensorRT-LLM', () => {
    const page = parseLabelled(
      'trtllm-serve',
      'trtllm_num_requests_waiting 3',
      'trtllm_num_requests_running 4',
      'trtllm_kv_cache_utilization 0.5',
      'trtllm_kv_cache_tokens_per_block 32',
      'trtllm_kv_cache_max_blocks 900',
    )
    expect(page).toMatchObject({ waiting: 3, running: 4, kvUsage: 0.5, blockSize: 32, blockCount: 900, missing: 0 })
  })

  it('reads a TensorRT-LLM behind a Triton', () => {
    const series = (family: string, type: string, value: number) =>
      `nv_trt_llm_${family}{model="tensorrt_llm",${type},version="1"} ${value}`
    const page = parseLabelled(
      'triton-tensorrt-llm',
      series('request_metrics', 'request_type="context"', 100),
      series('request_metrics', 'request_type="scheduled"', 4),
      series('request_metrics', 'request_type="max"', 512),
      series('request_metrics', 'request_type="active"', 8),
      series('request_metrics', 'request_type="waiting"', 3),
      '# TYPE nv_trt_llm_kv_cache_block_metrics gauge',
      series('kv_cache_block_metrics', 'kv_cache_block_type="fraction"', 0.42),
      series('kv_cache_block_metrics', 'kv_cache_block_type="tokens_per"', 64),
      series('kv_cache_block_metrics', 'kv_cache_block_type="used"', 2620),
      series('kv_cache_block_metrics', 'kv_cache_block_type="max"', 6239),
    )
    expect(page).toMatchObject({ waiting: 3, running: 4, kvUsage: 0.42, blockSize: 64, blockCount: 6239, missing: 0 })
  })

  it('reads what waits at a Triton, and misses nothing else', () => {
    const page = parseLabelled(
      'triton',
      'nv_inference_pending_request_count{model="a"} 2',
      'nv_inference_exec_count 99',
    )
    expect(page).toMatchObject({ waiting: 2, running: 0, missing: 0 })
  })

  it('reads custom metrics as attributes, whatever their sign', () => {
    const engine: EnginePlan = {
      name: 'mine',
      running: parseMetricSpec('busy{pool = "a\\"b"}')!,
      custom: [
        { attribute: 'temperature', spec: { name: 'temp', labels: { sensor: 'gpu' } } },
        { attribute: 'gone', spec: { name: 'gone', labels: {} } },
        { attribute: 'busiest', spec: { name: 'util', labels: {} }, scale: 0.01, of: 'max' },
      ],
    }
    const page = new EnginePage(engine, ['busiest', 'gone', 'temperature'])
    const read = parseAs(
      page,
      'busy{pool="a"} 1',
      'busy{pool="a\\"b",more="x"} 5',
      'temp{sensor="room"} 20',
      'temp{sensor="gpu"} -4.5',
      'util{gpu="0"} 50',
      'util{gpu="1"} 90',
    )!
    expect([...read.attributes.subarray(0, 3)]).toEqual([0.9, Number.NaN, -4.5])
    expect(read).toMatchObject({ running: 5, missing: Signal.ATTRIBUTE })
  })

  it('needs nothing of a page where nothing is configured', () => {
    expect(parseAs(new EnginePage({ name: 'blind' }), 'whatever 1')).toMatchObject({ waiting: 0, missing: 0 })
  })

  it('reads the counters that prefills are learned from', () => {
    const page = parse(
      'vllm:num_requests_running 1',
      'vllm:time_to_first_token_seconds_bucket{le="1"} 1',
      'vllm:time_to_first_token_seconds_count 7',
      'vllm:time_to_first_token_seconds_sum 1.5',
      'vllm:prompt_tokens_total 900',
      'vllm:prefix_cache_queries_total 800',
      'vllm:prefix_cache_hits_total 300',
      'vllm:request_success_total{finished_reason="stop"} 5',
      'vllm:request_success_total{finished_reason="length"} 1',
    )
    expect(page).toMatchObject({
      firstTokens: 7,
      firstTokenSeconds: 1.5,
      promptTokens: 900,
      cachedTokens: 300,
      queriedTokens: 800,
      ended: 6,
    })
  })
})

describe('adapterId', () => {
  it('is the same for a name and for its bytes, also beyond ASCII', () => {
    for (const name of ['sql-lora', 'größe', '适配器']) {
      const page = parse('vllm:num_requests_running 1', `vllm:lora_requests_info{running_lora_adapters="${name}"} 1`)
      expect(names(page)).toEqual([adapterId(name)])
    }
  })
})
