import { describe, expect, it } from '@jest/globals'
import { UsageError } from '../command.ts'
import { parseEppOptions } from './epp-options.ts'

const parse = (argv: readonly string[], env: Record<string, string> = { NAMESPACE: 'ns' }) =>
  parseEppOptions(argv, env, '::').serve.picker!.election
const ELECT = ['--pool-name=llm', '--ha-enable-leader-election']

describe('--ha-enable-leader-election', () => {
  it('is off by default', () => {
    expect(parse(['--pool-name=llm'])).toBeUndefined()
    expect(parse(['--pool-name=llm', '--ha-enable-leader-election=false'])).toBeUndefined()
  })

  it("has llm-d's Lease and times", () => {
    expect(parse(ELECT, {})).toEqual({
      lease: { namespace: 'default', name: 'epp-default-llm.llm-d.ai' },
      podName: undefined,
      timing: { leaseMs: 15_000, renewMs: 10_000, retryMs: 2000 },
    })
  })

  it.each([
    [['--pool-name=a', '--pool-name=b'], 'ns', 'epp-ns-a.llm-d.ai'],
    [['--pool-name=other/a'], 'other', 'epp-other-a.llm-d.ai'],
    [['--pool-name=a', '--pool-namespace=other'], 'other', 'epp-other-a.llm-d.ai'],
    [['--endpoint-selector=a=b', '--endpoint-target-ports=80'], 'ns', 'epp-ns-picker.llm-d.ai'],
    [['--pools-of-service=picker'], 'ns', 'epp-ns-picker.signalbox.dev'],
    [['--all-pools'], 'ns', 'epp-ns.signalbox.dev'],
    [['--all-pools', '--pool-namespace='], 'ns', 'epp-ns.signalbox.dev'],
  ])('%j: one Lease for all pools', (argv, namespace, name) => {
    const env = { NAMESPACE: 'ns', POD_NAME: 'picker-5d4f7c9b8d-x2x4z' }
    expect(parse([...argv, '--ha-enable-leader-election'], env)).toMatchObject({
      lease: { namespace, name },
      podName: 'picker-5d4f7c9b8d-x2x4z',
    })
  })

  it('takes times as Go writes them', () => {
    const times = [
      '--leader-elect-lease-duration=1m',
      '--leader-elect-renew-deadline=45s',
      '--leader-elect-retry-period',
      '500ms',
    ]
    expect(parse([...ELECT, ...times])!.timing).toEqual({ leaseMs: 60_000, renewMs: 45_000, retryMs: 500 })
  })

  it.each([
    [
      ['--leader-elect-lease-duration=10s'],
      '--leader-elect-renew-deadline: must be less than --leader-elect-lease-duration (10s)',
    ],
    [['--leader-elect-renew-deadline=15s'], 'must be less than'],
    [
      ['--leader-elect-renew-deadline=2400ms'],
      '--leader-elect-renew-deadline: must be more than 1.2 times --leader-elect-retry-period (2s)',
    ],
    [['--leader-elect-retry-period=0'], '--leader-elect-retry-period: must be more than 0'],
    [['--leader-elect-lease-duration=15500ms'], 'whole seconds'],
    [['--leader-elect-lease-duration=0'], 'at least one'],
    [['--leader-elect-lease-duration=15'], "'15' is no duration"],
    [[`--pool-name=${'x'.repeat(240)}`], 'too long'],
  ])('%j is refused', (argv, message) => {
    const pool = argv[0]!.startsWith('--pool-name') ? [] : ['--pool-name=llm']
    const all = [...pool, '--ha-enable-leader-election', ...argv]
    expect(() => parse(all)).toThrow(UsageError)
    expect(() => parse(all)).toThrow(message)
  })

  it('is needed by its times', () => {
    const message = '--leader-elect-retry-period needs --ha-enable-leader-election'
    expect(() => parse(['--pool-name=llm', '--leader-elect-retry-period=1s'])).toThrow(new UsageError(message))
  })
})
