import { spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from '@jest/globals'
import type { Faults } from './faults.ts'
import { type Simulator, startSimulator } from './simulator.ts'

let simulator: Simulator
afterEach(() => simulator.close())

const start = async (faults: Faults = {}, seed = 0) => {
  simulator = await startSimulator({ port: 0, speed: 100, seed, faults })
}
const chat = (body: object = {}, signal?: AbortSignal) =>
  fetch(`${simulator.url}/v1/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({ messages: [{ role: 'user', content: 'Hello' }], max_tokens: 10, ignore_eos: true, ...body }),
    ...(signal === undefined ? {} : { signal }),
  })
const change = (body: object) => fetch(`${simulator.url}/sim/fault`, { method: 'POST', body: JSON.stringify(body) })
const reachable = () =>
  fetch(`${simulator.url}/health`).then(
    () => true,
    () => false,
  )

describe('POST /sim/fault', () => {
  it('changes what it names, shows the outcome, and DELETE turns all off', async () => {
    await start({ unhealthy: true })
    expect(await (await change({ errorShare: 1 })).json()).toEqual({ unhealthy: true, errorShare: 1 })
    expect((await fetch(`${simulator.url}/health`)).status).toBe(503)
    expect((await chat()).status).toBe(503)
    expect(await (await change({ unhealthy: null })).json()).toEqual({ errorShare: 1 })
    expect((await fetch(`${simulator.url}/health`)).status).toBe(200)
    await fetch(`${simulator.url}/sim/fault`, { method: 'DELETE' })
    expect(await (await fetch(`${simulator.url}/sim/fault`)).json()).toEqual({})
    expect((await fetch(`${simulator.url}/health`)).status).toBe(200)
    expect((await chat()).status).toBe(200)
  })

  it('refuses what it does not know', async () => {
    await start()
    for (const body of [
      { explode: true },
      { errorShare: 2 },
      { hang: 'yes' },
      { exit: -1 },
      { refuseConnections: true },
    ]) {
      expect((await change(body)).status).toBe(400)
    }
    expect(simulator.faults).toEqual({})
  })

  it('lets a switch go off by itself', async () => {
    await start()
    await change({ unhealthy: true, durationMs: 30 })
    while (simulator.faults.unhealthy == null) await sleep(1)
    while (simulator.faults.unhealthy) await sleep(5)
    expect((await fetch(`${simulator.url}/health`)).status).toBe(200)
  })
})

describe('faults', () => {
  it('refuseConnections cuts and refuses, and ends', async () => {
    await start()
    await change({ refuseConnections: true, durationMs: 200 })
    while (await reachable()) await sleep(5)
    while (!(await reachable())) await sleep(10)
    expect((await chat()).status).toBe(200)
    simulator.setFaults({ refuseConnections: true })
    while (await reachable()) await sleep(5)
    simulator.clearFaults()
    while (!(await reachable())) await sleep(5)
  })

  it('hang reads and never answers, except under /sim', async () => {
    await start({ hang: true })
    const signal = AbortSignal.timeout(60)
    await expect(chat({}, signal)).rejects.toThrow()
    expect(simulator.requests()[0]).toMatchObject({ status: null, bodySha256: expect.any(String) })
    expect((await fetch(`${simulator.url}/sim/fault`)).status).toBe(200)
  })

  it('errorShare hits the same requests for the same seed, about that share', async () => {
    const run = async (seed: number) => {
      await start({ errorShare: 0.3 }, seed)
      const statuses: number[] = []
      for (let i = 0; i < 60; i++) statuses.push((await chat({ max_tokens: 1 })).status)
      await simulator.close()
      return statuses
    }
    const first = await run(7)
    expect(await run(7)).toEqual(first)
    expect(await run(8)).not.toEqual(first)
    const failed = first.filter(status => status === 503).length
    expect(failed).toBeGreaterThan(8)
    expect(failed).toBeLessThan(30)
  })

  it('dieAfterTokens cuts the stream after exactly so many tokens', async () => {
    await start({ dieAfterTokens: 4 })
    const response = await chat({ stream: true })
    const decoder = new TextDecoder()
    let text = ''
    const read = async () => {
      for await (const chunk of response.body!) text += decoder.decode(chunk as Uint8Array)
    }
    await expect(read()).rejects.toThrow()
    expect([...text.matchAll(/"delta":\{"content"/g)]).toHaveLength(4)
    expect(text).not.toContain('[DONE]')
    await expect(chat()).rejects.toThrow()
    expect((await chat({ max_tokens: 3 })).status).toBe(200)
    while (simulator.load().running > 0) await sleep(2)
    expect(simulator.load().kvUsage).toBe(0)
    expect(simulator.requests().map(({ outcome }) => outcome)).toEqual(['cut', 'cut', 'answered'])
    simulator.setFaults({ dieAfterTokens: 0 })
    await expect(chat({ stream: true })).rejects.toThrow()
  })

  it('metricsDelayMs and healthDelayMs answer late', async () => {
    await start({ metricsDelayMs: 80, healthDelayMs: 80 })
    for (const path of ['/metrics', '/health']) {
      const early = fetch(simulator.url + path, { signal: AbortSignal.timeout(20) })
      await expect(early).rejects.toThrow()
      expect((await fetch(simulator.url + path)).status).toBe(200)
    }
  })

  it('brokenMetrics breaks the page in four ways', async () => {
    await start({ brokenMetrics: 'status' })
    const get = async () => {
      const response = await fetch(`${simulator.url}/metrics`)
      return `${response.status} ${await response.text()}`
    }
    expect(await get()).toMatch(/^500 /)
    simulator.setFaults({ brokenMetrics: 'empty' })
    expect(await get()).toBe('200 ')
    simulator.setFaults({ brokenMetrics: 'truncated' })
    expect(await get()).toMatch(/\nvllm:num_requests_waiting\{[^}\n]*$/)
    simulator.setFaults({ brokenMetrics: 'garbage' })
    expect(await get()).toMatch(/^200 <html>/)
  })

  it('exit ends the simulator', async () => {
    await start()
    expect((await change({ exit: 9 })).status).toBe(200)
    expect(await simulator.exited).toBe(9)
    expect(await reachable()).toBe(false)
  })

  it('exit ends the process of the command, too', async () => {
    await start()
    const script = `
      import { runSimCommand } from ${JSON.stringify(new URL('./sim-command.ts', import.meta.url).href)}
      const { signal } = new AbortController()
      process.exitCode = await runSimCommand(['--port', '0', '--name', 'child'], { ...process, stdout: process.stdout, stderr: process.stderr, signal })`
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    try {
      const closed = new Promise(resolve => child.once('close', resolve))
      const url = await new Promise<string>(resolve => {
        child.stdout
          .setEncoding('utf8')
          .on('data', text => resolve(/child serves at (\S+)/.exec(String(text))?.[1] ?? ''))
      })
      await fetch(`${url}/sim/fault`, { method: 'POST', body: '{"exit":3}' })
      expect(await closed).toBe(3)
    } finally {
      child.kill()
    }
  })
})
