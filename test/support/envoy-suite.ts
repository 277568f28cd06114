import * as jest from '@jest/globals'
import { type EnvoyBinary, resolveEnvoy } from '../../src/cli/envoy/resolve-envoy.ts'

/** Part of the names of tests that were skipped for want of an Envoy; `npm test` lists them in its closing lines. */
export const NO_ENVOY = 'SKIPPED, no Envoy'

/** Resolved once per test file, before its suites are collected: jest wants to know at once which tests there are. */
const envoy: EnvoyBinary | Error = await resolveEnvoy().catch((error: unknown) => error as Error)

/**
 * A suite on a real Envoy. Where none can be had it is skipped loudly: here, and again at the end of `npm test`. With
 * `SIGNALBOX_REQUIRE_ENVOY=1` it fails instead.
 */
export function describeOnEnvoy(name: string, suite: (envoy: EnvoyBinary) => void): void {
  describeWith(envoy, process.env['SIGNALBOX_REQUIRE_ENVOY'] === '1', name, suite)
}

/** What of jest is used to register a suite. */
export interface Registrar {
  readonly describe: (name: string, suite: () => void) => void
  readonly it: (name: string, test: () => void) => void
  readonly skip: (name: string, test: () => void) => void
  readonly warn: (text: string) => void
}

const registrar: Registrar = {
  describe: (name, suite) => jest.describe(name, suite),
  it: (name, test) => jest.it(name, test),
  skip: (name, test) => jest.it.skip(name, test),
  warn: text => console.warn(text),
}

/** `describeOnEnvoy` with the outcome of the search given. */
export function describeWith(
  found: EnvoyBinary | Error,
  required: boolean,
  name: string,
  suite: (envoy: EnvoyBinary) => void,
  { describe, it, skip, warn }: Registrar = registrar,
): void {
  if (!(found instanceof Error)) {
    describe(`${name} (Envoy ${found.version})`, () => suite(found))
    return
  }
  const reason = found.message.split('\n')[0]!
  if (required) {
    it(`${name} (SIGNALBOX_REQUIRE_ENVOY is set)`, () => {
      throw found
    })
    return
  }
  warn(`${name} (${NO_ENVOY})\n${found.message}`)
  // The suite itself isn't collected: it would be handed an Envoy that isn't there.
  describe(`${name} (${NO_ENVOY})`, () => skip(reason, () => {}))
}

/** The same suite on the embedded data plane and on a real Envoy (skipped loudly where there is none). */
export function describeOnPlanes(name: string, suite: (plane: EnvoyBinary | 'embedded') => void): void {
  jest.describe(`${name} (embedded data plane)`, () => suite('embedded'))
  describeOnEnvoy(name, suite)
}
