import { isIP } from 'node:net'
import { parseArgs, type ParseArgsOptionsConfig } from 'node:util'
import { didYouMean } from '../config/suggest.ts'
import { UsageError } from './command.ts'

/** `parseArgs` with usage errors, all options as given. Positional arguments only where `positionals` says so. */
export function parseOptions<T extends ParseArgsOptionsConfig>(
  argv: readonly string[],
  options: T,
  positionals = false,
) {
  try {
    return parseArgs({ args: [...argv], options, allowPositionals: positionals, strict: true })
  } catch (error) {
    const { code, message } = error as Error & { code?: string }
    const unknown = code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION' ? /'(--?[^']+)'/.exec(message)?.[1] : undefined
    if (unknown === undefined) throw new UsageError(message)
    const names = Object.keys(options).map(name => `--${name}`)
    throw new UsageError(`there is no option ${unknown}${didYouMean(unknown, names)}`)
  }
}

/** Of `--plugins`, which may be given several times: files, with commas between them. @throws UsageError */
export function parsePlugins(given: readonly string[] | undefined): readonly string[] {
  const files = (given ?? []).flatMap(list => list.split(','))
  if (files.includes('')) throw new UsageError('--plugins: a file name is empty')
  return files
}

/** Where to listen: `host:port` with IPv6 hosts in brackets; a bare port listens on the loopback. Port 0: any free one. */
export function parseListen(text: string, option: string): { readonly host: string; readonly port: number } {
  const match = /^(?:(?:\[([^\]]+)\]|([^:]*)):)?(\d{1,5})$/.exec(text)
  const host = match?.[1] ?? match?.[2] ?? ''
  const port = Number(match?.[3])
  const isGood =
    match !== null && port <= 65_535 && (match[1] === undefined ? host === '' || isHost(host) : isIP(host) === 6)
  if (!isGood) throw new UsageError(`${option}: ${whyNoAddress(text, 0)}`)
  return { host: host === '' ? '127.0.0.1' : host, port }
}

/** Where somebody is reached: `host:port` with both, IPv6 hosts in brackets. Returned as given. */
export function parseReachable(text: string, option: string): string {
  if (/^(?:\[|[^:]+:)/.test(text) && parseListen(text, option).port > 0) return text
  throw new UsageError(`${option}: ${whyNoAddress(text, 1)}`)
}

function whyNoAddress(text: string, leastPort: number): string {
  const port = /:(\d+)$/.exec(text)?.[1]
  const isPort = port === undefined || (Number(port) >= leastPort && Number(port) <= 65_535)
  return `'${text}' is not host:port${isPort ? '' : `: a port is a number from ${leastPort} to 65535`}`
}

/** A host name or address, without a port; IPv6 with or without brackets. Returned without. */
export function parseHost(text: string, option: string): string {
  const host = /^\[.*\]$/.test(text) ? text.slice(1, -1) : text
  if (isIP(host) !== 6 && (host !== text || !isHost(host)))
    throw new UsageError(`${option}: '${text}' is no host name or address (no port belongs here)`)
  return host
}

/** Two files: `CERTFILE,KEYFILE`. Undefined: the text is something else. */
export function parsePair(text: string): { readonly certFile: string; readonly keyFile: string } | undefined {
  const [certFile, keyFile, more] = text.split(',')
  return certFile && keyFile && more === undefined ? { certFile, keyFile } : undefined
}

export function parseCount(text: string, option: string, minimum = 0): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value) || value < minimum)
    throw new UsageError(`${option}: '${text}' is not a whole number from ${minimum} up`)
  return value
}

const MOST_AT_A_TIME = 1_000_000

/** How many of something there may be at a time. Undefined: it was not said. */
export function parseLimit(text: string | undefined, option: string): number | undefined {
  if (text === undefined) return undefined
  const limit = parseCount(text, option, 1)
  if (limit > MOST_AT_A_TIME) throw new UsageError(`${option}: '${text}' is more than ${MOST_AT_A_TIME}`)
  return limit
}

/** An IPv4 address or a host name. */
function isHost(text: string): boolean {
  return isIP(text) === 4 || (/^[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?$/.test(text) && !/^[\d.]+$/.test(text))
}

export function joinHostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
