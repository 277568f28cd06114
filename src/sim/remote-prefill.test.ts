import { afterEach, expect, it } from '@jest/globals'
import type { SimulatorOptions } from './options.ts'
import { type Simulator, startSimulator } from './simulator.ts'

const running: Simulator[] = []
async function start(options: SimulatorOptions = {}): Promise<Simulator> {
  const simulator = await startSimulator({ port: 0, speed: 100, prefillMsPerToken: 100, ...options })
  running.push(simulator)
  return simulator
}
afterEach(async () => {
  await Promise.all(running.splice(0).map(simulator => simulator.close()))
})

const address = (simulator: Simulator) => new URL(simulator.url).host
const prompt = 'word '.repeat(200)
const post = (simulator: Simulator, prefiller: string | undefined, more: object = {}) =>
  fetch(`${simulator.url}/v1/completions`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'x-request-id': 'abc',
      ...(prefiller === undefined ? {} : { 'x-prefiller-host-port': prefiller }),
    },
    body: JSON.stringify({ model: 'llama', prompt, max_tokens: 5, ignore_eos: true, ...more }),
  })
const log = async (simulator: Simulator) =>
  (await (await fetch(`${simulator.url}/sim/requests`)).json()) as {
    readonly requests: readonly {
      readonly completionTokens: number
      readonly stream: boolean
      readonly timings: { readonly scheduledMs: number; readonly firstTokenMs: number }
    }[]
  }

it('the prompt is computed by the replica that is named, and decoded here', async () => {
  const [prefiller, decoder] = [await start(), await start()]
  const response = await post(decoder, address(prefiller), { stream: true })
  expect(response.status).toBe(200)
  expect((await response.text()).match(/"text":/g)).toHaveLength(5)
  const [leg] = (await log(prefiller)).requests
  expect([leg!.completionTokens, leg!.stream]).toEqual([1, false])
  const [own] = (await log(decoder)).requests
  expect(own!.completionTokens).toBe(5)
  // 200 tokens take 20 s of simulated time to compute: there, not here.
  expect(leg!.timings.firstTokenMs).toBeGreaterThan(20_000)
  expect(own!.timings.firstTokenMs - own!.timings.scheduledMs).toBeLessThan(10_000)
  // What came over is in the cache here: the same prompt needs no prefill replica.
  await (await post(decoder, undefined)).text()
  const again = (await log(decoder)).requests.at(-1)!
  expect(again.timings.firstTokenMs).toBeLessThan(10_000)
})

it("a prefill replica's refusal is the answer; one that is away is 502", async () => {
  const [prefiller, decoder] = [await start({ models: ['other'] }), await start()]
  const refused = await post(decoder, address(prefiller))
  expect(refused.status).toBe(404)
  expect(await refused.text()).toContain('llama')
  const { port } = new URL(prefiller.url)
  await running.shift()!.close()
  const away = await post(decoder, `127.0.0.1:${port}`)
  expect(away.status).toBe(502)
  expect(await (await fetch(`${decoder.url}/metrics`)).text()).toMatch(/vllm:num_requests_running\{[^}]*\} 0/)
})
