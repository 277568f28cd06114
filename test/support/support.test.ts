import { createServer } from 'node:net'
import { existsSync } from 'node:fs'
import { describe, expect, it } from '@jest/globals'
import type { EnvoyBinary } from '../../src/cli/envoy/resolve-envoy.ts'
import { describeWith, NO_ENVOY, type Registrar } from './envoy-suite.ts'
import { freePort } from './free-ports.ts'
import { makeTempFolder } from './temp-folder.ts'
import { waitFor } from './wait-for.ts'

describe('waitFor', () => {
  it('returns the first truthy answer, whatever was thrown before', async () => {
    let looks = 0
    const value = await waitFor('three looks', () => {
      looks++
      if (looks === 1) throw new Error('not yet')
      return looks === 3 ? 'there' : undefined
    })
    expect([value, looks]).toEqual(['there', 3])
  })

  it('says what it waited for and what it saw', async () => {
    const wait = waitFor('rain', () => Promise.reject(new Error('sunshine')), { timeoutMs: 30, intervalMs: 5 })
    await expect(wait).rejects.toThrow('waited 0.03 s for rain; the last look gave: Error: sunshine')
  })
})

describe('freePort', () => {
  it('gives a different port each time that can be listened on', async () => {
    const ports = [await freePort(), await freePort()]
    expect(ports[0]).not.toBe(ports[1])
    const server = createServer()
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(ports[0], '127.0.0.1', resolve))
    await new Promise(resolve => server.close(resolve))
  })
})

describe('makeTempFolder', () => {
  it('makes a folder that can be removed', async () => {
    const temp = await makeTempFolder()
    expect(existsSync(temp.path)).toBe(true)
    await temp.remove()
    expect(existsSync(temp.path)).toBe(false)
  })
})

describe('describeOnEnvoy', () => {
  const register = (found: EnvoyBinary | Error, required = false): string[] => {
    const lines: string[] = []
    const registrar: Registrar = {
      describe: (name, suite) => {
        lines.push(`describe ${name}`)
        suite()
      },
      it: (name, test) => {
        lines.push(`it ${name}`)
        expect(test).toThrow('No Envoy')
      },
      skip: name => lines.push(`skip ${name}`),
      warn: text => lines.push(`warn ${text}`),
    }
    describeWith(found, required, 'retries', envoy => lines.push(`suite on ${envoy.path}`), registrar)
    return lines
  }
  const none = new Error('No Envoy was found.\n  - PATH: nothing')

  it('hands the suite the Envoy that was found', () => {
    const found = { path: '/bin/envoy', version: '1.40.0', source: 'PATH' } as const
    expect(register(found)).toEqual(['describe retries (Envoy 1.40.0)', 'suite on /bin/envoy'])
  })

  it('skips loudly without one', () => {
    expect(register(none)).toEqual([
      `warn retries (${NO_ENVOY})\n${none.message}`,
      `describe retries (${NO_ENVOY})`,
      'skip No Envoy was found.',
    ])
  })

  it('fails without one where it is required', () => {
    expect(register(none, true)).toEqual(['it retries (SIGNALBOX_REQUIRE_ENVOY is set)'])
  })
})
