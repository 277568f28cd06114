import { describe, expect, it } from '@jest/globals'
import { parseSimOptions, SIM_OPTIONS } from './cli-options.ts'
import { resolveOptions, SimulatorOptionsError } from './options.ts'
import { runSimCommand, simHelp } from './sim-command.ts'

const messages = (argv: string[]): readonly string[] => {
  try {
    parseSimOptions(argv)
  } catch (error) {
    if (error instanceof SimulatorOptionsError) return error.messages
    throw error
  }
  return []
}

describe('parseSimOptions', () => {
  it('reads the command line', () => {
    const argv =
      '-p 0 --model llama -m qwen --lora sql --lora=tone --speed 2.5 --fault errorShare=0.2 --fault brokenMetrics=empty'
    expect(parseSimOptions(argv.split(' '))).toEqual({
      port: 0,
      models: ['llama', 'qwen'],
      loras: ['sql', 'tone'],
      speed: 2.5,
      faults: { errorShare: 0.2, brokenMetrics: 'empty' },
    })
    expect(parseSimOptions([])).toEqual({})
  })

  it('has an option for everything that can be set', () => {
    expect(SIM_OPTIONS.map(({ key }) => key).sort()).toEqual(Object.keys(resolveOptions({})).sort())
  })

  it('refuses what makes no sense, all of it', () => {
    expect(messages(['--port', 'http', '--speed', '', '--fault', 'hang'])).toEqual([
      "--port needs a number, not 'http'",
      "--speed needs a number, not ''",
      "--fault needs name=value, not 'hang'",
    ])
    expect(messages(['--port', '70000', '--block-size', '0', '--fault', 'nope=1'])).toHaveLength(3)
    expect(messages(['--colour', 'red'])[0]).toContain('--colour')
    expect(messages(['stray'])[0]).toContain('stray')
    expect(messages(['--lora', 'llama'])[0]).toContain('twice')
  })
})

describe('runSimCommand', () => {
  const io = () => {
    const text = { out: '', err: '' }
    return {
      text,
      stdout: { write: (piece: string) => void (text.out += piece) },
      stderr: { write: (piece: string) => void (text.err += piece) },
    }
  }

  it('serves until it is told to stop', async () => {
    const controller = new AbortController()
    const { text, ...streams } = io()
    const status = runSimCommand(['--port', '0', '--name', 'a'], { ...streams, signal: controller.signal })
    while (text.out === '') await new Promise(resolve => setTimeout(resolve, 2))
    const url = /^a serves at (\S+)\n$/.exec(text.out)![1]!
    expect((await fetch(`${url}/health`)).status).toBe(200)
    controller.abort()
    expect(await status).toBe(0)
    await expect(fetch(`${url}/health`)).rejects.toThrow()
  })

  it('ends at once when it was told before it began', async () => {
    expect(await runSimCommand(['--port', '0'], { ...io(), signal: AbortSignal.abort() })).toBe(0)
  })

  it('explains itself and its errors', async () => {
    const { signal } = new AbortController()
    const { text, ...streams } = io()
    expect(await runSimCommand(['--help'], { ...streams, signal })).toBe(0)
    expect(text.out).toBe(simHelp())
    for (const { name, help } of SIM_OPTIONS) expect(text.out).toMatch(new RegExp(`--${name} .*${help.slice(0, 20)}`))
    expect(await runSimCommand(['--port', 'x'], { ...streams, signal })).toBe(2)
    expect(text.err).toContain("signalbox sim: --port needs a number, not 'x'")
  })
})
