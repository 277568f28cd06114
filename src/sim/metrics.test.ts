import { afterEach, describe, expect, it } from '@jest/globals'
import { setTimeout as sleep } from 'node:timers/promises'
import { Histogram, MetricsPage } from './prometheus.ts'
import { type Simulator, startSimulator } from './simulator.ts'

describe('MetricsPage', () => {
  it('writes what the Python client writes', () => {
    const page = new MetricsPage()
    page.family('a_total', 'counter', 'Back\\slash\nand line.').sample('a_total', { z: 'q"\\\n', b: '1' }, 3)
    const histogram = new Histogram([0.5, 1, 10])
    for (const value of [0.5, 0.75, 3, 20]) histogram.observe(value)
    page.family('h', 'histogram', 'H.')
    histogram.write(page, 'h', { model: 'm' })
    expect(page.toString()).toBe(
      [
        '# HELP a_total Back\\\\slash\\nand line.',
        '# TYPE a_total counter',
        'a_total{b="1",z="q\\"\\\\\\n"} 3.0',
        '# HELP h H.',
        '# TYPE h histogram',
        'h_bucket{le="0.5",model="m"} 1.0',
        'h_bucket{le="1.0",model="m"} 2.0',
        'h_bucket{le="10.0",model="m"} 3.0',
        'h_bucket{le="+Inf",model="m"} 4.0',
        'h_count{model="m"} 4.0',
        'h_sum{model="m"} 24.25',
        '',
      ].join('\n'),
    )
  })
})

describe('GET /metrics', () => {
  let simulator: Simulator
  afterEach(() => simulator.close())

  const page = async () => (await fetch(`${simulator.url}/metrics`)).text()
  const value = (text: string, series: string) => {
    const line = text.split('\n').find(one => one.startsWith(`${series} `) || one.startsWith(`${series}{`))
    return Number(line?.slice(line.lastIndexOf(' ') + 1))
  }
  const ask = (body: object) =>
    fetch(`${simulator.url}/v1/completions`, { method: 'POST', body: JSON.stringify({ ignore_eos: true, ...body }) })

  it('is a well-formed page with every family of vLLM that pickers read', async () => {
    simulator = await startSimulator({ port: 0, speed: 100 })
    const response = await fetch(`${simulator.url}/metrics`)
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
    const lines = (await response.text()).split('\n')
    expect(lines.length).toBeGreaterThan(200)
    expect(lines.pop()).toBe('')
    let family = ''
    const types = new Map<string, string>()
    for (const line of lines) {
      const type = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line)
      if (type) {
        expect(type[1]).toBe(family)
        types.set(type[1]!, type[2]!)
        continue
      }
      const help = /^# HELP (\S+) \S/.exec(line)
      if (help) {
        family = help[1]!
        expect(types.has(family)).toBe(false)
        continue
      }
      const sample = /^([a-z0-9_:]+)(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [0-9.e+-]+$/.exec(line)
      expect(sample?.[1]?.replace(/_(bucket|sum|count)$/, '')).toBe(family)
    }
    for (const [name, type] of [
      ['vllm:num_requests_waiting', 'gauge'],
      ['vllm:num_requests_running', 'gauge'],
      ['vllm:kv_cache_usage_perc', 'gauge'],
      ['vllm:cache_config_info', 'gauge'],
      ['vllm:lora_requests_info', 'gauge'],
      ['vllm:prompt_tokens_total', 'counter'],
      ['vllm:prefix_cache_hits_total', 'counter'],
      ['vllm:request_success_total', 'counter'],
      ['vllm:time_to_first_token_seconds', 'histogram'],
      ['vllm:e2e_request_latency_seconds', 'histogram'],
    ] as const) {
      expect([name, types.get(name)]).toEqual([name, type])
    }
  })

  it('counts what happened', async () => {
    simulator = await startSimulator({ port: 0, speed: 100, blockSize: 4, numGpuBlocks: 1000 })
    const prompt = Array.from({ length: 22 }, (_, i) => i)
    await (await ask({ prompt, max_tokens: 5 })).text()
    await (await ask({ prompt, max_tokens: 3, stream: true })).text()
    const text = await page()
    expect(text).toMatch(/^vllm:cache_config_info\{block_size="4",.*num_gpu_blocks="1000",.*\} 1\.0$/m)
    expect(value(text, 'vllm:prompt_tokens_total')).toBe(44)
    expect(value(text, 'vllm:generation_tokens_total')).toBe(8)
    expect(value(text, 'vllm:prefix_cache_queries_total')).toBe(44)
    expect(value(text, 'vllm:prefix_cache_hits_total')).toBe(20)
    const length = 'vllm:request_success_total{engine="0",finished_reason="length",model_name="llama"}'
    expect(value(text, length)).toBe(2)
    expect(value(text, 'vllm:time_to_first_token_seconds_count')).toBe(2)
    expect(value(text, 'vllm:inter_token_latency_seconds_count')).toBe(6)
    expect(value(text, 'vllm:e2e_request_latency_seconds_count')).toBe(2)
    expect(value(text, 'vllm:request_generation_tokens_sum')).toBe(8)
  })

  it('shows queue, batch, cache and adapters while they are busy', async () => {
    simulator = await startSimulator({ port: 0, maxNumSeqs: 1, loras: ['x', 'y'], numGpuBlocks: 100, loraLoadMs: 1 })
    const controller = new AbortController()
    const send = (model: string) =>
      fetch(`${simulator.url}/v1/completions`, {
        method: 'POST',
        body: JSON.stringify({ model, prompt: 'go', max_tokens: 1000, ignore_eos: true }),
        signal: controller.signal,
      }).catch(() => undefined)
    const first = send('x')
    while (simulator.load().running < 1) await sleep(2)
    const second = send('y')
    while (simulator.load().waiting < 1) await sleep(2)
    const text = await page()
    expect(value(text, 'vllm:num_requests_running')).toBe(1)
    expect(value(text, 'vllm:num_requests_waiting')).toBe(1)
    expect(value(text, 'vllm:kv_cache_usage_perc')).toBeGreaterThan(0)
    // Several combinations are listed; the one with the newest time counts.
    const series = text.split('\n').filter(line => line.startsWith('vllm:lora_requests_info{'))
    expect(series.length).toBeGreaterThan(1)
    const time = (line: string) => Number(line.split(' ')[1])
    const newest = series.reduce((a, b) => (time(b) > time(a) ? b : a))
    expect(newest).toContain('{max_lora="4",running_lora_adapters="x",waiting_lora_adapters="y"}')
    controller.abort()
    await Promise.all([first, second])
  })

  it('has no LoRA family when LoRA is off', async () => {
    simulator = await startSimulator({ port: 0, maxLoras: 0 })
    expect(await page()).not.toContain('lora')
  })
})

describe('GET /metrics of other engines', () => {
  it.each([
    ['sglang', ['sglang:num_queue_reqs', 'sglang:cache_config_info{num_pages="4096",page_size="16"} 1.0']],
    ['trtllm-serve', ['trtllm_num_requests_waiting', 'trtllm_kv_cache_max_blocks']],
    [
      'triton-tensorrt-llm',
      ['nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="waiting",version="1"} 0.0'],
    ],
  ] as const)('has the families of %s and none of vLLM', async (engine, lines) => {
    const simulator = await startSimulator({ port: 0, engine })
    try {
      const text = await (await fetch(`${simulator.url}/metrics`)).text()
      for (const line of lines) expect(text).toContain(`\n${line}`)
      expect(text).not.toContain('vllm:')
    } finally {
      await simulator.close()
    }
  })
})
