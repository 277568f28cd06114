/** Values as Go programs and Kubernetes write them. */
import { UsageError } from '../command.ts'

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
}
const DURATION =
  /^\+?(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h)(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))*$/
const DURATION_PART = /(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g

/** Milliseconds of a `time.Duration` as Go's `flag` reads it: `1m30s`, `1.5h`, `0`. @throws UsageError */
export function parseGoDuration(text: string, flag: string): number {
  if (text === '0') return 0
  if (!DURATION.test(text)) throw new UsageError(`${flag}: '${text}' is no duration such as 50ms, 2s or 1m30s`)
  let ms = 0
  for (const [, number, unit] of text.matchAll(DURATION_PART)) ms += Number(number) * UNIT_MS[unit!]!
  return ms
}

const SUFFIXES: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 1024,
  Mi: 1024 ** 2,
  Gi: 1024 ** 3,
  Ti: 1024 ** 4,
}

/** Bytes of a Kubernetes quantity: `4Mi`, `1.5G`, `1000`. @throws UsageError */
export function parseQuantity(text: string, flag: string): number {
  const [, number, suffix] = /^(\d+(?:\.\d+)?)(k|M|G|T|Ki|Mi|Gi|Ti)?$/.exec(text) ?? []
  const bytes = number === undefined ? 0 : Math.floor(Number(number) * SUFFIXES[suffix ?? '']!)
  if (!(bytes >= 1) || !Number.isSafeInteger(bytes))
    throw new UsageError(`${flag}: '${text}' is no quantity such as 4Mi or 10000000`)
  return bytes
}

/** A port to listen on. @throws UsageError */
export function parsePort(text: string, flag: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : -1
  if (port < 0 || port > 65_535) throw new UsageError(`${flag}: '${text}' is no port`)
  return port
}
