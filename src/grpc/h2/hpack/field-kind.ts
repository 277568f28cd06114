/**
 * What a header field of a request is, and whether its name and value are allowed (RFC 9113 §8.2, §8.3.1). Judged once per entry of
 * HPACK's tables, so that a field that only names an entry costs a look at a number.
 */

export const FieldKind = {
  /** Makes the request malformed, whatever else it holds. */
  MALFORMED: 0,
  REGULAR: 1,
  COOKIE: 2,
  CONTENT_LENGTH: 3,
  HOST: 4,
  TE: 5,
  GRPC_TIMEOUT: 6,
  /** Pseudo-headers: this one and everything above. */
  METHOD: 7,
  SCHEME: 8,
  PATH: 9,
  AUTHORITY: 10,
} as const
export type FieldKind = (typeof FieldKind)[keyof typeof FieldKind]

const SPECIAL_NAMES: ReadonlyMap<string, FieldKind> = new Map<string, FieldKind>([
  [':method', FieldKind.METHOD],
  [':scheme', FieldKind.SCHEME],
  [':path', FieldKind.PATH],
  [':authority', FieldKind.AUTHORITY],
  ['cookie', FieldKind.COOKIE],
  ['content-length', FieldKind.CONTENT_LENGTH],
  ['host', FieldKind.HOST],
  ['te', FieldKind.TE],
  ['grpc-timeout', FieldKind.GRPC_TIMEOUT],
  // Fields about a connection have no meaning in HTTP/2 (§8.2.2).
  ['connection', FieldKind.MALFORMED],
  ['keep-alive', FieldKind.MALFORMED],
  ['proxy-connection', FieldKind.MALFORMED],
  ['transfer-encoding', FieldKind.MALFORMED],
  ['upgrade', FieldKind.MALFORMED],
])

/** Octet classes, one bit each. Strings hold one octet a character. */
const Octet = { NAME: 1, TOKEN: 2, VALUE: 4, VISIBLE: 8, SCHEME: 16, DIGIT: 32 } as const

const octets = new Uint8Array(256)
allow(Octet.TOKEN | Octet.NAME, /[!#$%&'*+\-.^_`|~0-9a-z]/)
allow(Octet.TOKEN, /[A-Z]/)
allow(Octet.VALUE, /[\t\x20-\x7e\x80-\xff]/)
allow(Octet.VISIBLE, /[\x21-\x7e\x80-\xff]/)
allow(Octet.SCHEME, /[A-Za-z0-9+\-.]/)
allow(Octet.DIGIT, /[0-9]/)

/** The judgement of a name alone. Upper case, an empty name, an unknown pseudo-header and one of answers are malformed. */
export function kindOfName(name: string): FieldKind {
  const special = SPECIAL_NAMES.get(name)
  if (special !== undefined) return special
  return name !== '' && every(name, Octet.NAME) ? FieldKind.REGULAR : FieldKind.MALFORMED
}

/** The judgement of a field, given its name's. */
export function kindOfField(name: FieldKind, value: string): FieldKind {
  return isAllowed(name, value) ? name : FieldKind.MALFORMED
}

function isAllowed(name: FieldKind, value: string): boolean {
  switch (name) {
    case FieldKind.METHOD:
      return value !== '' && every(value, Octet.TOKEN)
    case FieldKind.SCHEME:
      return /^[a-z]/i.test(value) && every(value, Octet.SCHEME)
    case FieldKind.PATH:
      return value !== '' && every(value, Octet.VISIBLE)
    case FieldKind.AUTHORITY:
      return value !== '' && isAuthority(value)
    case FieldKind.HOST:
      return isAuthority(value)
    case FieldKind.CONTENT_LENGTH:
      // 15 digits are still exact as a number; nobody sends a petabyte.
      return value !== '' && value.length <= 15 && every(value, Octet.DIGIT)
    case FieldKind.TE:
      return value.toLowerCase() === 'trailers'
    case FieldKind.MALFORMED:
      return false
    default:
      return isValue(value)
  }
}

/**
 * No control characters and no space at either end (§8.2.1; RFC 9110 §5.5 wants the other control characters out as well, and
 * `node:http2` refuses them too).
 */
function isValue(value: string): boolean {
  if (!every(value, Octet.VALUE)) return false
  const first = value.charCodeAt(0)
  const last = value.charCodeAt(value.length - 1)
  return first !== 0x20 && first !== 0x09 && last !== 0x20 && last !== 0x09
}

/** Not more than what is dangerous: Envoy puts a cluster's name there, which may be `outbound|9002||picker.default.svc`. */
function isAuthority(value: string): boolean {
  return every(value, Octet.VISIBLE) && !value.includes('@')
}

function every(text: string, octet: number): boolean {
  for (let at = 0; at < text.length; at++) if ((octets[text.charCodeAt(at)]! & octet) === 0) return false
  return true
}

function allow(classes: number, pattern: RegExp): void {
  for (let code = 0; code < 256; code++) if (pattern.test(String.fromCharCode(code))) octets[code]! |= classes
}
