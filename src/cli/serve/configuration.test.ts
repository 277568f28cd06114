import { describe, expect, it } from '@jest/globals'
import { Writable } from 'node:stream'
import { readTexts } from '../../config/object-set.ts'
import { createLog } from '../../telemetry/log.ts'
import { Configuration } from './configuration.ts'

const POOL = `{"apiVersion": "inference.networking.k8s.io/v1", "kind": "InferencePool", "metadata": {"name": "llm"},
  "spec": {"selector": {"matchLabels": {"a": "b"}}, "targetPorts": [{"number": 8000}]}}`
const set = (text: string) => readTexts([{ file: 'f', text }])
const WITHOUT_POOL = set('# nothing\n')

function configuration(mayWait: boolean) {
  const lines: { level: number; msg: string }[] = []
  const destination = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      lines.push(JSON.parse(chunk.toString()) as { level: number; msg: string })
      done()
    },
  })
  const taker = new Configuration({
    compile: { extProc: { addresses: ['127.0.0.1:1'] }, defaultPool: 'default/llm' },
    log: createLog('info', destination),
    mayWait,
    apply: () => undefined,
  })
  /** What is logged by the call, from warnings on. */
  const take = (what: ReturnType<typeof set>) => {
    lines.length = 0
    taker.take(what)
    return lines.filter(({ level }) => level >= 40).map(({ msg }) => msg)
  }
  return { taker, take }
}

describe('Configuration', () => {
  it('leaves a bad first set to be thrown, unless a better may come', () => {
    const strict = configuration(false)
    expect(strict.take(WITHOUT_POOL).some(line => /default pool|refused/.test(line))).toBe(false)
    expect(() => strict.taker.throwUnlessApplied()).toThrow(/--pool default\/llm: no such InferencePool; there is none/)
    const patient = configuration(true)
    expect(patient.take(WITHOUT_POOL)).toEqual(
      expect.arrayContaining([
        expect.stringContaining('--pool default/llm: no such InferencePool'),
        'configuration refused; there is none yet',
      ]),
    )
    expect(patient.taker.isApplied).toBe(false)
    patient.take(set(POOL))
    expect(patient.taker.isApplied).toBe(true)
  })

  it('tells a problem once, and again when it comes back', () => {
    const { take } = configuration(true)
    const warning = [expect.stringContaining('has these labels')]
    expect(take(set(POOL))).toEqual(warning)
    expect(take(set(POOL))).toEqual([])
    const refused = take(WITHOUT_POOL)
    expect(refused.at(-1)).toMatch(/configuration refused; version \w+ stays in force/)
    expect(take(WITHOUT_POOL)).toEqual([])
    expect(take(set(POOL))).toEqual(warning)
  })

  it('tells every problem of an edited file again', () => {
    const { take } = configuration(false)
    take(set(POOL))
    expect(take(WITHOUT_POOL)).toEqual(take(WITHOUT_POOL))
    expect(take(set(POOL))).toHaveLength(1)
  })
})
