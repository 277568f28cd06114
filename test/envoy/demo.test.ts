import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from '@jest/globals'
import { describeOnPlanes } from '../support/envoy-suite.ts'

const SIGNALBOX = fileURLToPath(new URL('../../bin/signalbox', import.meta.url))

/** Runs `bin/signalbox demo` as a newcomer does. */
function demo(
  args: readonly string[],
  onOutput: (text: string, interrupt: () => void) => void = () => {},
): Promise<{ code: number | null; output: string }> {
  return new Promise(resolve => {
    const child = spawn(SIGNALBOX, ['demo', '--any-ports', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data: Buffer) => {
        output += data.toString()
        onOutput(output, () => child.kill('SIGINT'))
      })
    }
    child.on('exit', code => resolve({ code, output }))
  })
}

describeOnPlanes('the demo', plane => {
  const args = plane === 'embedded' ? ['--embedded'] : []

  it('plays its scenes, finds everything as it should be, and ends', async () => {
    const { code, output } = await demo(['--once', ...args])
    expect(output).toContain('All as it should be.')
    expect(output).toMatch(/same long prompt, 3 of 3 .* expected-ttft\/cached-prefix/)
    expect(output).toMatch(/unknown model .* 404 .* model_not_found/)
    expect(code).toBe(0)
  }, 60_000)

  it('leaves everything running until it is interrupted, and then nothing', async () => {
    let interrupted = false
    const { code, output } = await demo(args, (text, interrupt) => {
      if (interrupted || !text.includes('Ctrl-C stops all of it.')) return
      interrupted = true
      interrupt()
    })
    expect(output).toContain('stopping ...')
    expect(code).toBe(0)
    const pids = [...output.matchAll(/kill (\d+)/g)].map(match => Number(match[1]))
    expect(pids).toHaveLength(3)
    for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow('ESRCH')
  }, 60_000)
})
