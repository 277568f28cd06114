/** Puts the fields of one request together, and judges the whole (RFC 9113 §8.2.2, §8.3.1; RFC 9110 §8.6). */
import type { StreamHeaders } from '../../transport.ts'
import { FieldKind } from './field-kind.ts'

type Headers = Record<string, string | undefined>

/**
 * An object without any inherited property, so that a field may be called `constructor` or `__proto__`. Made by a constructor, because
 * engines treat what `Object.create(null)` gives as a dictionary: twice as slow to fill, and to read.
 */
const NullObject = function () {} as unknown as { prototype: object; new (): Headers }
NullObject.prototype = Object.freeze(Object.create(null) as object)

/** What is kept of a request to be compared with the next one. */
const MAX_KEPT_FIELDS = 32
const MAX_KEPT_CHARACTERS = 4096

/**
 * The fields of requests, one after the other. As long as a request says what the one before it said, in the same order, nothing is
 * built: clients like grpc-go send the same fields for every stream, but for `grpc-timeout`, which therefore stands aside.
 */
export class RequestFields {
  /** `grpc-timeout` of the request, which is not among its headers; undefined: it has none. */
  timeout: string | undefined
  private headers: Headers | undefined
  private regularSeen = false
  /** The fields of the last good request, and what they made. */
  private kept: StreamHeaders | undefined
  private names: string[] = []
  private values: string[] = []
  private kinds: FieldKind[] = []
  /** So many of them this request has repeated. */
  private same = 0
  /** The fields of this one, once it differs; `characters` of them. */
  private newNames: string[] = []
  private newValues: string[] = []
  private newKinds: FieldKind[] = []
  private characters = 0

  /** Forgets the request before, but for what it is compared with. */
  start(): void {
    this.timeout = undefined
    this.headers = undefined
    this.regularSeen = false
    this.same = 0
  }

  /** False: the request is malformed. */
  add(kind: FieldKind, name: string, value: string): boolean {
    if (kind === FieldKind.GRPC_TIMEOUT) {
      this.timeout = this.timeout === undefined ? value : `${this.timeout}, ${value}`
      this.regularSeen = true
      return true
    }
    const { same } = this
    if (this.headers === undefined) {
      // A pseudo-header behind a timeout is as wrong as behind any other regular field.
      const late = kind >= FieldKind.METHOD && this.regularSeen
      if (!late && same < this.names.length && this.names[same] === name && this.values[same] === value) {
        this.same = same + 1
        return true
      }
      this.differ()
    }
    return this.put(kind, name, value)
  }

  /** The whole request, frozen; undefined: it is malformed. */
  finish(): StreamHeaders | undefined {
    if (this.headers === undefined) {
      if (this.same === this.names.length && this.kept !== undefined) return this.kept
      this.differ()
    }
    const headers = this.headers!
    if (!isWellFormed(headers)) return undefined
    if (this.newNames.length <= MAX_KEPT_FIELDS && this.characters <= MAX_KEPT_CHARACTERS) this.keep(headers)
    return Object.freeze(headers)
  }

  private keep(headers: StreamHeaders): void {
    const { names, values, kinds } = this
    this.kept = headers
    this.names = this.newNames
    this.values = this.newValues
    this.kinds = this.newKinds
    this.newNames = names
    this.newValues = values
    this.newKinds = kinds
  }

  /** From here on the request is another one: what it has repeated is put together anew. */
  private differ(): void {
    const { timeout } = this
    this.headers = new NullObject()
    this.newNames.length = 0
    this.newValues.length = 0
    this.newKinds.length = 0
    this.characters = 0
    this.regularSeen = false
    for (let i = 0; i < this.same; i++) this.put(this.kinds[i]!, this.names[i]!, this.values[i]!)
    if (timeout !== undefined) this.regularSeen = true
  }

  private put(kind: FieldKind, name: string, value: string): boolean {
    if (kind === FieldKind.MALFORMED) return false
    const headers = this.headers!
    const before = headers[name]
    if (kind >= FieldKind.METHOD) {
      if (this.regularSeen) return false
    } else this.regularSeen = true
    this.note(kind, name, value)
    if (before === undefined) {
      headers[name] = value
      return true
    }
    switch (kind) {
      case FieldKind.REGULAR:
      case FieldKind.TE:
        headers[name] = `${before}, ${value}`
        return true
      case FieldKind.COOKIE:
        // It may come in crumbs (§8.2.3).
        headers[name] = `${before}; ${value}`
        return true
      case FieldKind.CONTENT_LENGTH:
        return before === value
      default:
        // A second host or a second pseudo-header.
        return false
    }
  }

  private note(kind: FieldKind, name: string, value: string): void {
    if (this.newNames.length > MAX_KEPT_FIELDS || this.characters > MAX_KEPT_CHARACTERS) return
    this.characters += name.length + value.length
    this.newNames.push(name)
    this.newValues.push(value)
    this.newKinds.push(kind)
  }
}

function isWellFormed(headers: StreamHeaders): boolean {
  const method = headers[':method'] as string | undefined
  const scheme = headers[':scheme'] as string | undefined
  const path = headers[':path'] as string | undefined
  const authority = headers[':authority'] as string | undefined
  if (method === 'CONNECT') {
    if (scheme !== undefined || path !== undefined || authority === undefined) return false
  } else {
    if (method === undefined || scheme === undefined || path === undefined) return false
    if (!path.startsWith('/') && isHttp(scheme) && !(path === '*' && method === 'OPTIONS')) return false
  }
  const host = headers['host'] as string | undefined
  return host === undefined || authority === undefined || host === authority || sameHost(host, authority, scheme)
}

function isHttp(scheme: string): boolean {
  const lower = scheme.toLowerCase()
  return lower === 'http' || lower === 'https'
}

/** `host` must not name another one than `:authority` (§8.3.1), apart from case and a default port (RFC 3986 §6.2). */
function sameHost(host: string, authority: string, scheme: string | undefined): boolean {
  const port = scheme?.toLowerCase() === 'https' ? /:(?:443)?$/ : /:(?:80)?$/
  return host.toLowerCase().replace(port, '') === authority.toLowerCase().replace(port, '')
}
