/** TLS settings by the names that Go has for them. */
import { UsageError } from '../command.ts'

/** HTTP/2 begins at TLS 1.2 (RFC 9113 §9.2), so what asks for less gets that. */
const VERSIONS: Readonly<Record<string, 'TLSv1.2' | 'TLSv1.3'>> = {
  VersionTLS10: 'TLSv1.2',
  VersionTLS11: 'TLSv1.2',
  VersionTLS12: 'TLSv1.2',
  VersionTLS13: 'TLSv1.3',
  '1.0': 'TLSv1.2',
  '1.1': 'TLSv1.2',
  '1.2': 'TLSv1.2',
  '1.3': 'TLSv1.3',
}

/** `VersionTLS12` or `1.2`. @throws UsageError */
export function parseTlsVersion(text: string): 'TLSv1.2' | 'TLSv1.3' {
  const version = Object.hasOwn(VERSIONS, text) ? VERSIONS[text] : undefined
  if (version === undefined) throw new UsageError(`--tls-min-version: '${text}' is not VersionTLS12 or VersionTLS13`)
  return version
}

/** Of TLS 1.3: always on, as in Go. */
const OF_TLS_1_3 = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256']

/** Comma-separated names such as `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256` as OpenSSL's list. @throws UsageError */
export function parseCipherSuites(text: string): string {
  const names = text.split(',').map(name => name.trim())
  return [...OF_TLS_1_3, ...names.filter(name => !OF_TLS_1_3.includes(name)).map(openSslName)].join(':')
}

function openSslName(name: string): string {
  const [, auth, bits, hash] = /^TLS_ECDHE_(RSA|ECDSA)_WITH_AES_(128|256)_GCM_(SHA256|SHA384)$/.exec(name) ?? []
  if ((bits === '128' && hash === 'SHA256') || (bits === '256' && hash === 'SHA384'))
    return `ECDHE-${auth}-AES${bits}-GCM-${hash}`
  const [, chacha] = /^TLS_ECDHE_(RSA|ECDSA)_WITH_CHACHA20_POLY1305(?:_SHA256)?$/.exec(name) ?? []
  if (chacha !== undefined) return `ECDHE-${chacha}-CHACHA20-POLY1305`
  const why = /_CBC_|_RC4_|^TLS_RSA_/.test(name) ? 'HTTP/2 forbids it (RFC 9113, appendix A)' : 'there is no such suite'
  throw new UsageError(`--tls-cipher-suites: '${name}': ${why}`)
}
