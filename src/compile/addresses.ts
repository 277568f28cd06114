import { isIP } from 'node:net'

/** The text that Envoy makes of an address: IPv6 shortened and in lower case. */
export function canonicalHost(address: string): string {
  return isIP(address) === 6 ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address
}

/** `ip:port`, IPv6 in brackets. */
export function addressText(host: string, port: number): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`
}
