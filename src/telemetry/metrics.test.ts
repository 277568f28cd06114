import { expect, it } from '@jest/globals'
import { Metrics } from './metrics.ts'

it('reads its families for each page; labels that have gone leave it', async () => {
  const metrics = new Metrics()
  const counts = new Map([['a', 1]])
  let open = 2.5
  metrics.counter('x_total', 'Counts', ['name'], () => [...counts].map(([name, value]) => ({ labels: [name], value })))
  metrics.gauge('x_open', 'Open', [], () => [{ labels: [], value: open }])
  expect(metrics.contentType).toMatch(/^text\/plain/)
  const first = await metrics.page()
  expect(first).toContain('# HELP x_total Counts\n# TYPE x_total counter\nx_total{name="a"} 1\n')
  expect(first).toContain('# TYPE x_open gauge\nx_open 2.5\n')
  expect(first).toContain('process_cpu_seconds_total')
  counts.delete('a')
  counts.set('b "quoted"\n', 7)
  open = 0
  const [second, third] = await Promise.all([metrics.page(), metrics.page()])
  expect(second).toContain('x_total{name="b \\"quoted\\"\\n"} 7\n')
  expect(second).not.toContain('name="a"')
  expect(second).toContain('x_open 0\n')
  expect(third).toContain('x_total{name="b \\"quoted\\"\\n"} 7\n')
})

it('histograms tell what is counted elsewhere', async () => {
  const metrics = new Metrics()
  metrics.histogram('wait_seconds', 'Waits', ['pool'], [0.1, 1], () => [
    { labels: ['a'], buckets: [1, 2, 3], sum: 7.5 },
  ])
  expect(await metrics.page()).toContain(`# TYPE wait_seconds histogram
wait_seconds_bucket{pool="a",le="0.1"} 1
wait_seconds_bucket{pool="a",le="1"} 3
wait_seconds_bucket{pool="a",le="+Inf"} 6
wait_seconds_sum{pool="a"} 7.5
wait_seconds_count{pool="a"} 6
`)
})
