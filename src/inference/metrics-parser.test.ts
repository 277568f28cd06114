import { describe, expect, it } from '@jest/globals'
import { adapterId } from './adapter-id.ts'
import { createVllmMetrics, parseVllmMetrics, type VllmMetrics } from './metrics-parser.ts'

const L = '{engine="0",model_name="m"}'

function parse(...lines: string[]): VllmMetrics | undefined {
  const into = createVllmMetrics()
  return parseVllmMetrics(Buffer.from(lines.join('\n')), into) ? into : undefined
}

function names(metrics: VllmMetrics | undefined): number[] {
  return [...metrics!.adapters.subarray(0, metrics!.runningAdapters + metrics!.waitingAdapters)]
}

describe('parseVllmMetrics', () => {
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
    const page = createVllmMetrics()
    const text = 'x 1\r\nvllm:num_requests_waiting\t{ a="b" , }  3 \r\nvllm:num_requests_running 2\r\n'
    expect(parseVllmMetrics(Buffer.from(text), page)).toBe(true)
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
    const into = createVllmMetrics()
    const rich = `vllm:num_requests_waiting 5\nvllm:kv_cache_usage_perc 1\nvllm:lora_requests_info{max_lora="2",running_lora_adapters="a"} 1`
    parseVllmMetrics(Buffer.from(rich), into)
    parseVllmMetrics(Buffer.from('vllm:num_requests_running 1'), into)
    expect(into).toMatchObject({ waiting: 0, running: 1, kvUsage: 0, maxLora: 0, runningAdapters: 0 })
  })

  it.each([
    ['an empty page', ''],
    ['another exporter', 'go_goroutines 7\nprocess_cpu_seconds_total 1\n'],
    ['only the cache usage', 'vllm:kv_cache_usage_perc 0.5\n'],
    ['an unclosed label', 'vllm:num_requests_waiting{a="b 5\nvllm:num_requests_running{a="b" 5\n'],
    ['no number at all', 'vllm:num_requests_waiting NaN\n'],
  ])('refuses %s', (_name, text) => {
    expect(parseVllmMetrics(Buffer.from(text), createVllmMetrics())).toBe(false)
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
