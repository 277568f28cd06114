/**
 * A self-signed certificate made at start, for peers that encrypt but do not verify (InferencePool gateways). node can sign and
 * parse X.509 but not write it, so the few ASN.1 structures of RFC 5280 that are needed are written here (DER).
 */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { isIP } from 'node:net'

export interface CertificatePair {
  /** PEM. */
  readonly cert: string
  readonly key: string
}

const Tag = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  OID: 0x06,
  UTF8_STRING: 0x0c,
  GENERALIZED_TIME: 0x18,
  UTC_TIME: 0x17,
  SEQUENCE: 0x30,
  SET: 0x31,
  /** Context-specific, as GeneralName uses them. */
  DNS_NAME: 0x82,
  IP_ADDRESS: 0x87,
  /** Explicit tags of TBSCertificate. */
  VERSION: 0xa0,
  EXTENSIONS: 0xa3,
} as const

/** Object identifiers, encoded. */
const Oid = {
  ECDSA_WITH_SHA256: '2a8648ce3d040302',
  COMMON_NAME: '550403',
  BASIC_CONSTRAINTS: '551d13',
  KEY_USAGE: '551d0f',
  EXTENDED_KEY_USAGE: '551d25',
  SUBJECT_ALT_NAME: '551d11',
  SERVER_AUTH: '2b06010505070301',
  CLIENT_AUTH: '2b06010505070302',
} as const

const DAY_MS = 86_400_000

/**
 * An EC P-256 key and a certificate for `names` (DNS names and IP addresses; the first is also the common name), valid from
 * yesterday, because clocks differ, for `days`.
 */
export function selfSigned(names: readonly string[], days = 3650): CertificatePair {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const algorithm = der(Tag.SEQUENCE, oid(Oid.ECDSA_WITH_SHA256))
  const name = distinguishedName(names[0] ?? 'signalbox')
  const now = Date.now()
  const body = der(
    Tag.SEQUENCE,
    der(Tag.VERSION, integer(Buffer.from([2]))),
    integer(serialNumber()),
    algorithm,
    name,
    der(Tag.SEQUENCE, time(new Date(now - DAY_MS)), time(new Date(now + days * DAY_MS))),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(
      Tag.EXTENSIONS,
      der(
        Tag.SEQUENCE,
        extension(Oid.BASIC_CONSTRAINTS, true, der(Tag.SEQUENCE)),
        // Bit 0, digitalSignature: all that an EC key does in TLS.
        extension(Oid.KEY_USAGE, true, der(Tag.BIT_STRING, Buffer.from([7, 0x80]))),
        extension(Oid.EXTENDED_KEY_USAGE, false, der(Tag.SEQUENCE, oid(Oid.SERVER_AUTH), oid(Oid.CLIENT_AUTH))),
        ...(names.length === 0
          ? []
          : [extension(Oid.SUBJECT_ALT_NAME, false, der(Tag.SEQUENCE, ...names.map(generalName)))]),
      ),
    ),
  )
  const certificate = der(Tag.SEQUENCE, body, algorithm, bitString(sign('sha256', body, privateKey)))
  return {
    cert: pem('CERTIFICATE', certificate),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  }
}

/** One DER value: tag, length, contents. */
function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(contents)
  if (body.length < 0x80) return Buffer.concat([Buffer.from([tag, body.length]), body])
  const digits = body.length < 0x100 ? 1 : body.length < 0x10000 ? 2 : 3
  const head = Buffer.alloc(2 + digits)
  head[0] = tag
  head[1] = 0x80 | digits
  head.writeUIntBE(body.length, 2, digits)
  return Buffer.concat([head, body])
}

function oid(hex: string): Buffer {
  return der(Tag.OID, Buffer.from(hex, 'hex'))
}

function integer(bytes: Uint8Array): Buffer {
  return der(Tag.INTEGER, bytes)
}

/** Positive, unique with certainty enough, and without a leading zero byte, which DER would not allow. */
function serialNumber(): Buffer {
  const bytes = randomBytes(16)
  bytes[0] = (bytes[0]! & 0x3f) | 0x40
  return bytes
}

function bitString(bytes: Uint8Array): Buffer {
  return der(Tag.BIT_STRING, Buffer.from([0]), bytes)
}

function distinguishedName(commonName: string): Buffer {
  const value = der(Tag.UTF8_STRING, Buffer.from(commonName.slice(0, 64)))
  return der(Tag.SEQUENCE, der(Tag.SET, der(Tag.SEQUENCE, oid(Oid.COMMON_NAME), value)))
}

/** UTCTime through 2049, GeneralizedTime after (RFC 5280 §4.1.2.5). */
function time(date: Date): Buffer {
  const digits = `${date.toISOString().replaceAll(/[-:T]/g, '').slice(0, 14)}Z`
  return date.getUTCFullYear() < 2050
    ? der(Tag.UTC_TIME, Buffer.from(digits.slice(2)))
    : der(Tag.GENERALIZED_TIME, Buffer.from(digits))
}

function extension(id: string, critical: boolean, value: Uint8Array): Buffer {
  const flag = critical ? [der(Tag.BOOLEAN, Buffer.from([0xff]))] : []
  return der(Tag.SEQUENCE, oid(id), ...flag, der(Tag.OCTET_STRING, value))
}

function generalName(name: string): Buffer {
  const family = isIP(name)
  if (family === 0) return der(Tag.DNS_NAME, Buffer.from(name, 'ascii'))
  return der(Tag.IP_ADDRESS, family === 4 ? Buffer.from(name.split('.').map(Number)) : ipv6Bytes(name))
}

function ipv6Bytes(address: string): Buffer {
  // The URL parser writes the canonical form, which has no dotted part.
  const canonical = new URL(`http://[${address.split('%')[0]}]`).hostname.slice(1, -1)
  const [head = '', tail] = canonical.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const groups =
    tail === undefined ? left : [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right]
  return Buffer.from(groups.map(group => group.padStart(4, '0')).join(''), 'hex')
}

function pem(label: string, bytes: Uint8Array): string {
  const lines =
    Buffer.from(bytes)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}
