import { describe, it } from '@jest/globals'
import { runProgram } from '../../src/cli/envoy/run-program.ts'

/** Part of the names of tests that were skipped for want of a container engine. */
const NO_ENGINE = 'SKIPPED, no container engine'

/** The compose command of this machine, or why there is none, or no engine. */
const compose = await findCompose()

/**
 * A suite on a Docker engine that runs (DOCKER_HOST or the usual socket; `with-engine.sh` starts one) with compose. Where there is
 * none it is skipped loudly.
 * @param suite gets the compose command: program and first arguments
 */
export function describeWithEngine(name: string, suite: (compose: readonly [string, ...string[]]) => void): void {
  if (Array.isArray(compose)) {
    describe(name, () => suite(compose as unknown as readonly [string, ...string[]]))
    return
  }
  const reason = String(compose)
  console.warn(`${name} (${NO_ENGINE}): ${reason}\nTry: test/containers/with-engine.sh npm run jest -- test/containers`)
  describe(`${name} (${NO_ENGINE})`, () => it.skip(reason, () => {}))
}

async function findCompose(): Promise<readonly [string, ...string[]] | string> {
  const engine = await runProgram('docker', ['version', '--format', '{{.Server.Version}}'], { timeoutMs: 20_000 })
  if (engine.code !== 0) return `docker: ${engine.failure}`
  const plugin = await runProgram('docker', ['compose', 'version'], { timeoutMs: 20_000 })
  if (plugin.code === 0) return ['docker', 'compose']
  const old = await runProgram('docker-compose', ['version'], { timeoutMs: 20_000 })
  return old.code === 0
    ? ['docker-compose']
    : `neither docker compose (${plugin.failure}) nor docker-compose (${old.failure})`
}
