import { type HeaderView, headerName } from '../extproc/header-view.ts'

/** Which reader a body gets. */
export const BodyKind = { NONE: 0, JSON: 1, MULTIPART: 2, GRPC: 3 } as const
export type BodyKind = (typeof BodyKind)[keyof typeof BodyKind]

const CONTENT_TYPE = headerName('content-type')
const CONTENT_ENCODING = headerName('content-encoding')
const PLAIN_JSON = Buffer.from('application/json')
/** `text/…` and forms: `curl -d` calls JSON a form. */
const READ_AS_JSON = /^(?:application\/json|[^;]*\+json|text\/.*|application\/x-www-form-urlencoded)\s*(?:;|$)/

/**
 * Which reader the body of a request gets by its headers: JSON unless they say that it is something else (clients leave the type
 * out). A compressed body is none that we read.
 */
export function bodyKindOf(headers: HeaderView): BodyKind {
  const encoding = headers.joined(CONTENT_ENCODING)?.trim().toLowerCase() ?? ''
  if (encoding !== '' && encoding !== 'identity') return BodyKind.NONE
  const index = headers.find(CONTENT_TYPE)
  if (index < 0 || headers.is(index, PLAIN_JSON)) return BodyKind.JSON
  const type = headers.value(index).trim().toLowerCase()
  if (type === '' || READ_AS_JSON.test(type)) return BodyKind.JSON
  return /^multipart\/form-data\s*(?:;|$)/.test(type) ? BodyKind.MULTIPART : BodyKind.NONE
}

/** The body is called JSON, and nothing else may be it. */
export function saysJson(headers: HeaderView): boolean {
  return JSON_TYPE.test(headers.common(CONTENT_TYPE)?.trim().toLowerCase() ?? '')
}

/** The content type as it was sent: a boundary is case-sensitive. */
export function contentType(headers: HeaderView): string {
  return headers.get(CONTENT_TYPE) ?? ''
}

/** What the body of a response is, by its headers. */
export const ResponseKind = { OTHER: 0, JSON: 1, EVENTS: 2 } as const
export type ResponseKind = (typeof ResponseKind)[keyof typeof ResponseKind]

const EVENTS = /^text\/event-stream\s*(?:;|$)/
const JSON_TYPE = /^(?:application\/json|[^;]*\+json)\s*(?:;|$)/

export function responseKindOf(headers: HeaderView): ResponseKind {
  const encoding = headers.joined(CONTENT_ENCODING)?.trim().toLowerCase() ?? ''
  if (encoding !== '' && encoding !== 'identity') return ResponseKind.OTHER
  const type = headers.common(CONTENT_TYPE)?.trim().toLowerCase() ?? ''
  if (EVENTS.test(type)) return ResponseKind.EVENTS
  return type === '' || JSON_TYPE.test(type) ? ResponseKind.JSON : ResponseKind.OTHER
}
