/** A metrics page like vLLM's: the gauges that count, then histograms up to 403 lines. Its gauges move with `state`. */
export function metricsPage(port = 0, state = 0): string {
  const labels = '{engine="0",model_name="m"}'
  const lines = [
    `vllm:num_requests_running${labels} ${(state * 7 + port) % 32}.0`,
    `vllm:num_requests_waiting${labels} ${Math.max(0, ((state * 5 + port * 3) % 16) - 8)}.0`,
    `vllm:kv_cache_usage_perc${labels} ${(0.05 + ((state * 11 + port * 7) % 16) * 0.06).toFixed(3)}`,
    'vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="31250"} 1.0',
    'vllm:lora_requests_info{max_lora="0",running_lora_adapters="",waiting_lora_adapters=""} 1.7e+09',
  ]
  for (let i = lines.length; i < 403; i++) {
    const name = `vllm:histogram_${Math.floor(i / 24)}_seconds_bucket`
    lines.push(`${name}{engine="0",le="${(0.001 * 1.7 ** (i % 24)).toPrecision(17)}",model_name="m"} ${i * 100}.0`)
  }
  return `${lines.join('\n')}\n`
}
