import { connect } from 'node:net'
import { expect, it } from '@jest/globals'
import type { Simulator } from '../../src/sim/simulator.ts'
import { describeOnEnvoy } from '../support/envoy-suite.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from '../support/pool-config.ts'
import { Rig } from '../support/rig.ts'
import { addressOf, endpointsOf, type Occupation, occupy, startSimulators } from '../support/simulators.ts'
import { waitFor } from '../support/wait-for.ts'

const POOL = 'default/pool'
/** A short one, and one that comes in several pieces, of which the first decides. */
const REQUESTS = ['Leaving', 'Leaving '.repeat(5000)].map(prompt => {
  const body = JSON.stringify({ model: 'llama', max_tokens: 2, ignore_eos: true, prompt })
  return `POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`
})

/** Sends a request, and goes away so many ms later. */
async function leave(port: number, request: string, afterMs: number): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  await new Promise(resolve => socket.once('connect', resolve))
  socket.write(request)
  const until = performance.now() + afterMs
  // Timers count whole milliseconds, which a decision doesn't take.
  while (performance.now() < until) await new Promise(resolve => setImmediate(resolve))
  socket.destroy()
}

describeOnEnvoy('clients that leave in the moment of their decision', envoy => {
  it.each([1, 2])(
    'leave no count behind at replicas that are never idle (threads: %i)',
    async threads => {
      let simulators: Simulator[] = []
      let rig: Rig | undefined
      const occupations: Occupation[] = []
      try {
        simulators = await startSimulators(['a', 'b'], { models: ['llama'], decodeMs: 50 })
        rig = await Rig.start({
          plane: envoy,
          config: documents(
            GATEWAY,
            poolYaml({ addresses: simulators.map(addressOf) }),
            routeYaml({ models: { llama: 'pool' } }),
            parametersYaml(),
          ),
          args: ['--threads', String(threads)],
        })
        const { port } = rig
        await rig.decides('/v1/completions')
        // An idle replica's scrapes would settle what was left.
        for (const simulator of simulators) occupations.push(await occupy(simulator, 'llama'))
        const decided = async () => (await rig!.metrics()).get('signalbox_ext_proc_streams_total') ?? 0
        const before = await decided()
        // When decisions come depends on the machine: later and later, until many were made.
        for (let round = 0; round < 150 && (await decided()) - before < 80; round++)
          await Promise.all(
            Array.from({ length: 10 }, (_, i) =>
              leave(port, REQUESTS[i % 4 === 3 ? 1 : 0]!, (((round * 10 + i) % 60) / 20) * (1 + round / 20)),
            ),
          )
        expect((await decided()) - before).toBeGreaterThan(40)
        const counts = async () => (await endpointsOf(rig!, POOL)).map(({ inFlight }) => inFlight)
        await waitFor('all counts to be zero', async () => (await counts()).every(count => count === 0), {
          timeoutMs: 20_000,
        })
        // Taken back once: the next request counts.
        const late = Array.from({ length: 4 }, () =>
          fetch(`http://127.0.0.1:${port}/v1/completions`, {
            method: 'POST',
            headers: { 'content-type': 'application/json' },
            body: JSON.stringify({ model: 'llama', prompt: 'Staying', max_tokens: 100, ignore_eos: true }),
          }),
        )
        await waitFor('four to count', async () => (await counts()).reduce((sum, count) => sum + count, 0) === 4)
        for (const answer of await Promise.all(late)) expect((await answer.text()).length).toBeGreaterThan(0)
        await waitFor('none to count', async () => (await counts()).every(count => count === 0))
      } finally {
        for (const occupation of occupations) await occupation.end()
        await rig?.stop()
        await Promise.all(simulators.map(simulator => simulator.close()))
      }
    },
    120_000,
  )
})
