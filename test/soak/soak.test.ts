import { expect, it } from '@jest/globals'
import { describeOnEnvoy } from '../support/envoy-suite.ts'
import { broken } from './bounds.ts'
import { brokenMillion, runMillion } from './run-million.ts'
import { runSoak } from './run-soak.ts'

/** A short share of `npm run soak`. */
describeOnEnvoy('soak', envoy => {
  it('streams and requests leave nothing behind', async () => {
    const report = await runSoak({ envoy, streams: 50, streamSeconds: 5, rounds: 3, requests: 3000 })
    expect(broken(report)).toEqual([])
    expect([report.streamsCompleted, report.requestsAnswered]).toEqual([150, 3000])
  }, 60_000)

  /** A short share of `npm run soak:million`. */
  it('connections are drained and workers killed; nothing else fails', async () => {
    const report = await runMillion({ envoy, requests: 3000, killedRequests: 1500, kills: 1, connectionAge: 1 })
    expect(brokenMillion(report)).toEqual([])
    expect(report.drained.answered).toBeGreaterThanOrEqual(3000)
  }, 120_000)
})
