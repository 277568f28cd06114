import { describe, it } from '@jest/globals'
import { type EnvoyBinary, resolveEnvoy } from '../../src/cli/envoy/resolve-envoy.ts'

/** Resolved once per test file, before its suites are collected: jest wants to know at once which tests there are. */
const envoy: EnvoyBinary | Error = await resolveEnvoy().catch((error: unknown) => error as Error)

/**
 * A suite on a real Envoy. Where none can be had the suite is skipped loudly: here, and in the closing lines of `npm test`, which
 * looks for `NO_ENVOY` in the names of skipped tests. With `SIGNALBOX_REQUIRE_ENVOY=1` it fails instead.
 */
export function describeOnEnvoy(name: string, suite: (envoy: EnvoyBinary) => void): void {
  describeWith(envoy, name, suite)
}

/** Part of the names of tests that were skipped for want of an Envoy. */
export const NO_ENVOY = 'SKIPPED, no Envoy'

/** `describeOnEnvoy` with the outcome of the search given. */
export function describeWith(found: EnvoyBinary | Error, name: string, suite: (envoy: EnvoyBinary) => void): void {
  if (!(found instanceof Error)) {
    describe(`${name} (Envoy ${found.version})`, () => suite(found))
    return
  }
  const title = `${name} (${NO_ENVOY})`
  if (process.env['SIGNALBOX_REQUIRE_ENVOY'] === '1') {
    it(title, () => {
      throw found
    })
    return
  }
  console.warn(`${title}\n${found.message}`)
  // The suite itself isn't collected: it would be handed an Envoy that isn't there.
  describe(title, () => {
    it.skip(found.message.split('\n')[0]!, () => {})
  })
}
