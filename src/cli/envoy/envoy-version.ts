import { runProgram } from './run-program.ts'

/** Oldest Envoy that is used without being asked for by name. */
export const MINIMUM_ENVOY = '1.38.0'

/** What an Envoy lacks that is older. It ignores the field in silence, so that backends get bodies without a content-length. */
export const WHY_MINIMUM = "older ones ignore the ext_proc filter's allow_content_length_header"

/** Either the version (`1.40.0`, `1.34.2-dev`) or why the file is no Envoy. */
export type VersionProbe =
  | { readonly ok: true; readonly version: string }
  | { readonly ok: false; readonly reason: string }

/** Asks a binary by `--version`. Takes 30 ms with a real Envoy; gives up after 10 s. Never throws. */
export async function probeEnvoyVersion(path: string): Promise<VersionProbe> {
  const result = await runProgram(path, ['--version'], { timeoutMs: 10_000 })
  if (result.code !== 0) return { ok: false, reason: result.failure }
  const version = parseEnvoyVersion(result.stdout)
  return version === undefined ? { ok: false, reason: 'it ran, but is not an Envoy' } : { ok: true, version }
}

/** Reads `envoy  version: <commit>/<version>/<state>/<build>/<ssl>`; undefined when the text isn't that. */
function parseEnvoyVersion(text: string): string | undefined {
  return /\bversion: [0-9a-f]*\/(\d+\.\d+\.\d+[^/\s]*)\//.exec(text)?.[1]
}

/** Whether `version` is `minimum` or newer, by the three numbers. */
export function isAtLeast(version: string, minimum: string): boolean {
  const have = numbers(version)
  const want = numbers(minimum)
  for (let i = 0; i < 3; i++) {
    const difference = (have[i] ?? 0) - (want[i] ?? 0)
    if (difference !== 0) return difference > 0
  }
  return true
}

function numbers(version: string): readonly number[] {
  return version.split('.').map(part => Number.parseInt(part, 10))
}
