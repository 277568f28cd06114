/** What the connection manager does to a request before any filter sees it. */
import { randomUUID } from 'node:crypto'
import type { ChainSettings } from './configuration.ts'
import type { LocalReply } from './filter-host.ts'
import { applyHeaderEdits } from './header-edits.ts'
import { HeaderList, removeHopByHop } from './header-list.ts'
import { withoutPort } from './route-table.ts'

/** Changes the headers in place; a reply means that the request goes no further. */
export function prepareRequest(headers: HeaderList, listener: ChainSettings, clientIp: string): LocalReply | undefined {
  const upgrade = headers.has('upgrade') && (headers.joined('connection') ?? '').toLowerCase().includes('upgrade')
  removeHopByHop(headers)
  headers.remove('expect')
  // Envoy's own headers are an order to the proxy; a client gives none.
  removeMatching(headers, name => name.startsWith('x-envoy-'))
  if (listener.edge || !headers.has('x-forwarded-proto'))
    headers.set('x-forwarded-proto', headers.get(':scheme') ?? 'http')
  if (listener.appendForwardedFor)
    headers.set('x-forwarded-for', [headers.joined('x-forwarded-for'), clientIp].filter(Boolean).join(','))
  if (listener.generateRequestId && (listener.edge || !headers.has('x-request-id')))
    headers.set('x-request-id', randomUUID())
  if (listener.stripTrailingDot)
    headers.set(':authority', (headers.get(':authority') ?? '').replace(/\.(?=$|:\d+$)/, ''))
  const authority = headers.get(':authority') ?? ''
  if (
    listener.stripPort === 'any' ||
    (listener.stripPort === 'matching' && authority.endsWith(`:${listener.address.port}`))
  )
    headers.set(':authority', withoutPort(authority))
  const escaped = normalizePath(headers, listener)
  removeMatching(headers, name => listener.early.removeMatching.some(matches => matches(name)))
  applyHeaderEdits(headers, listener.early.edits, value => value)
  if (upgrade) return { status: 403, details: 'upgrade_failed' }
  return escaped
}

function normalizePath(headers: HeaderList, listener: ChainSettings): LocalReply | undefined {
  const { path } = listener
  const target = headers.get(':path') ?? '/'
  const cut = target.search(/[?#]/)
  let text = cut < 0 ? target : target.slice(0, cut)
  const rest = cut < 0 ? '' : target.slice(cut)
  const escaped = /%2f|%5c/i.test(text)
  if (escaped && path.escapedSlashes === 'reject') return { status: 400, details: 'path_normalization_failed' }
  if (escaped && path.escapedSlashes !== 'keep') text = text.replaceAll(/%2f/gi, '/').replaceAll(/%5c/gi, '\\')
  if (path.normalize) text = removeDotSegments(text.replaceAll('\\', '/'))
  if (path.mergeSlashes) text = text.replaceAll(/\/{2,}/g, '/')
  headers.set(':path', text + rest)
  if (!escaped || path.escapedSlashes !== 'redirect') return undefined
  return { status: 307, details: 'path_normalization_redirect', headers: new HeaderList([['location', text + rest]]) }
}

function removeMatching(headers: HeaderList, matches: (name: string) => boolean): void {
  const names = new Set<string>()
  for (const [name] of headers) if (matches(name)) names.add(name)
  for (const name of names) headers.remove(name)
}

/** RFC 3986 §5.2.4. */
function removeDotSegments(path: string): string {
  if (!/\/(?:\.|%2e)/i.test(path)) return path
  const result: string[] = []
  const segments = path.split('/')
  segments.forEach((segment, index) => {
    const plain = segment.replaceAll(/%2e/gi, '.')
    const last = index === segments.length - 1
    if (plain === '..') {
      if (result.length > 1) result.pop()
      if (last) result.push('')
    } else if (plain === '.') {
      if (last) result.push('')
    } else result.push(segment)
  })
  const joined = result.join('/')
  return joined.startsWith('/') ? joined : `/${joined}`
}
