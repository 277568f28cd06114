import { expect, it } from '@jest/globals'
import { describeOnEnvoy } from '../support/envoy-suite.ts'
import { broken } from './bounds.ts'
import { runSoak } from './run-soak.ts'

/** A short share of `npm run soak`. */
describeOnEnvoy('soak', envoy => {
  it('streams and requests leave nothing behind', async () => {
    const report = await runSoak({ envoy, streams: 50, streamSeconds: 5, rounds: 3, requests: 3000 })
    expect(broken(report)).toEqual([])
    expect([report.streamsCompleted, report.requestsAnswered]).toEqual([150, 3000])
  }, 60_000)
})
