/**
 * docker-compose.yml for real: builds the image, brings everything up, sends requests through Envoy's published port. Base images
 * are NODE_IMAGE and ENVOY_IMAGE of the environment, else made here (as root, with debootstrap) so that no image registry is
 * needed, else the public ones.
 */
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { resolveEnvoy } from '../../src/cli/envoy/resolve-envoy.ts'
import { runProgram } from '../../src/cli/envoy/run-program.ts'
import { freePort } from '../support/free-ports.ts'
import { type ClientResponse, sendHttp1 } from '../support/http-client.ts'
import { makeTempFolder } from '../support/temp-folder.ts'
import { waitFor } from '../support/wait-for.ts'
import { describeWithEngine } from './container-suite.ts'
import { canMakeBaseImages, makeBaseImages, must } from './local-images.ts'

const ROOT = join(import.meta.dirname, '../..')
const START_MS = 600_000

describeWithEngine('docker-compose.yml', ([program, ...first]) => {
  const project = `signalbox-test-${process.pid}`
  const env: Record<string, string> = {}
  let gateway = 0

  async function compose(...args: string[]): Promise<string> {
    const all = [...first, '--project-name', project, '--file', join(ROOT, 'docker-compose.yml'), ...args]
    const result = await runProgram(program, all, { env: { ...process.env, ...env }, timeoutMs: START_MS })
    if (result.code !== 0)
      throw new Error(`compose ${args.join(' ')}: ${result.failure}\n${result.stdout}\n${result.stderr}`)
    return result.stdout
  }

  /** Name of a service's container. */
  async function container(service: string): Promise<string> {
    return (await compose('ps', '-q', service)).trim()
  }

  function chat(model: string): Promise<ClientResponse> {
    const body = JSON.stringify({ model, max_tokens: 4, messages: [{ role: 'user', content: 'hello' }] })
    const headers = { 'content-type': 'application/json' }
    return sendHttp1({ port: gateway, path: '/v1/chat/completions', headers, body })
  }

  /** Waits for a good answer; when none comes, says what the last one was and what the services wrote. */
  async function untilAnswered(what: string): Promise<void> {
    const probe = async (): Promise<true> => {
      const { status, body } = await chat('qwen-2.5-7b')
      if (status !== 200) throw new Error(`${status} ${body.toString()}`)
      return true
    }
    try {
      await waitFor(what, probe, { timeoutMs: 30_000, intervalMs: 300 })
    } catch (error) {
      throw new Error(`${String(error)}\n${await compose('logs', '--no-color', '--tail', '5')}`, { cause: error })
    }
  }

  beforeAll(async () => {
    const given = process.env['NODE_IMAGE'] !== undefined && process.env['ENVOY_IMAGE'] !== undefined
    if (!given && (await canMakeBaseImages())) {
      const temp = await makeTempFolder()
      try {
        const images = await makeBaseImages(temp.path, await resolveEnvoy())
        env['NODE_IMAGE'] = images.node
        env['ENVOY_IMAGE'] = images.envoy
      } finally {
        await temp.remove()
      }
    }
    gateway = await freePort()
    env['GATEWAY_PORT'] = String(gateway)
    env['ENVOY_ADMIN_PORT'] = String(await freePort())
    env['SIGNALBOX_ADMIN_PORT'] = String(await freePort())
    env['SIGNALBOX_IMAGE'] = `${project}:latest`
    await compose('up', '--build', '--detach')
    await untilAnswered('the first answer through Envoy')
  }, START_MS)

  afterAll(async () => {
    await compose('down', '--volumes', '--timeout', '2').catch(() => '')
    await runProgram('docker', ['image', 'rm', '--force', `${project}:latest`], { timeoutMs: 60_000 })
  }, 120_000)

  it('routes by model, also a LoRA adapter, and refuses an unknown model', async () => {
    for (const model of ['llama-3.1-8b', 'sql-lora', 'qwen-2.5-7b']) {
      const response = await chat(model)
      expect(response.status).toBe(200)
      expect(JSON.parse(response.body.toString())).toMatchObject({ object: 'chat.completion', model })
    }
    const unknown = await chat('gpt-nothing')
    expect(unknown.status).toBe(404)
    expect(JSON.parse(unknown.body.toString())).toMatchObject({ error: { code: 'model_not_found' } })
  })

  it('runs Signalbox healthy, as a user without rights, and stops it in order', async () => {
    const id = await container('signalbox')
    await waitFor(
      'the health check',
      async () => (await must('docker', 'inspect', '-f', '{{.State.Health.Status}}', id)).trim() === 'healthy',
      { timeoutMs: 30_000, intervalMs: 300 },
    )
    expect(await must('docker', 'exec', id, 'id', '-u')).toBe('65532\n')
    await compose('stop', 'signalbox')
    expect((await must('docker', 'inspect', '-f', '{{.State.ExitCode}}', id)).trim()).toBe('0')
    // Fail closed: what isn't decided isn't let through.
    expect((await chat('qwen-2.5-7b')).status).toBeGreaterThanOrEqual(500)
    await compose('start', 'signalbox')
    await untilAnswered('Envoy to find Signalbox again')
  }, 120_000)

  it('goes around a model server that is gone', async () => {
    await must('docker', 'kill', await container('llama-1'))
    const statuses = new Set<number>()
    for (let i = 0; i < 20; i++) statuses.add((await chat('llama-3.1-8b')).status)
    expect([...statuses]).toEqual([200])
  }, 60_000)
})
