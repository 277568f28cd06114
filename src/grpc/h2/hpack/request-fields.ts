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

export class RequestFields {
  private headers: Headers = new NullObject()
  private regularSeen = false

  /** Forgets the request before. */
  start(): void {
    this.headers = new NullObject()
    this.regularSeen = false
  }

  /** False: the request is malformed. */
  add(kind: FieldKind, name: string, value: string): boolean {
    if (kind === FieldKind.MALFORMED) return false
    const { headers } = this
    const before = headers[name]
    if (kind >= FieldKind.METHOD) {
      if (this.regularSeen) return false
    } else this.regularSeen = true
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

  /** The whole request, frozen; undefined: it is malformed. */
  finish(): StreamHeaders | undefined {
    const { headers } = this
    const method = headers[':method']
    const scheme = headers[':scheme']
    const path = headers[':path']
    const authority = headers[':authority']
    if (method === 'CONNECT') {
      if (scheme !== undefined || path !== undefined || authority === undefined) return undefined
    } else {
      if (method === undefined || scheme === undefined || path === undefined) return undefined
      if (!path.startsWith('/') && isHttp(scheme) && !(path === '*' && method === 'OPTIONS')) return undefined
    }
    const host = headers['host']
    if (host !== undefined && authority !== undefined && host !== authority && !sameHost(host, authority, scheme)) {
      return undefined
    }
    return Object.freeze(headers)
  }
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
