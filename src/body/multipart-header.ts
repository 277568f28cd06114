/** The two headers that multipart/form-data needs: the request's content type and a part's content disposition. */

/** `bchars` of RFC 2046 §5.1.1; a space is not taken at the end. */
const BOUNDARY = /^[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]$/
/** `;name=value`, the value a token (taken as clients really send it) or a quoted string. */
const PARAMETER = /[ \t]*;[ \t]*(?:([^\s;="]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*)))?/y

/** The boundary of a `content-type: multipart/form-data`; undefined: another type, or no single valid boundary. */
export function multipartBoundary(contentType: string): string | undefined {
  const type = /^[ \t]*multipart\/form-data(?=[ \t]*(?:;|$))/i.exec(contentType)
  if (type === null) return undefined
  const boundaries = parameters(contentType, type[0].length)?.filter(({ name }) => name === 'boundary')
  const boundary = boundaries?.length === 1 ? unquote(boundaries[0]!.raw) : undefined
  return boundary !== undefined && BOUNDARY.test(boundary) ? boundary : undefined
}

export interface PartHeaders {
  /** As written and with quoted pairs undone: readers differ, so that a field is found under either. */
  readonly names: readonly string[]
  readonly isFile: boolean
  /** Whether the body of the part is its value as it stands (no base64 or quoted-printable). */
  readonly isPlain: boolean
}

/**
 * The headers of one part, lines joined by CRLF. Undefined when they cannot be read in one way only: no or two dispositions, a
 * parameter twice, an extended or continued name (`name*`, `name*0`: RFC 7578 §4.2 forbids them), a folded line.
 */
export function parsePartHeaders(text: string): PartHeaders | undefined {
  let disposition: string | undefined
  let isPlain = true
  for (const line of text.split('\r\n')) {
    if (line === '') continue
    const header = /^([^\s:]+):(.*)$/s.exec(line)
    if (header === null || /[\r\n\0]/.test(line)) return undefined
    const value = header[2]!.trim()
    switch (header[1]!.toLowerCase()) {
      case 'content-disposition':
        if (disposition !== undefined) return undefined
        disposition = value
        break
      case 'content-transfer-encoding':
        isPlain &&= /^(?:7bit|8bit|binary)$/i.test(value)
        break
      default: // The rest says nothing about where the value lies.
    }
  }
  const type = /^form-data(?=[ \t]*(?:;|$))/i.exec(disposition ?? '')
  if (disposition === undefined || type === null) return undefined
  const found = parameters(disposition, type[0].length)
  if (found === undefined) return undefined
  const names = found.filter(({ name }) => name === 'name')
  const files = found.filter(({ name }) => name === 'filename')
  if (names.length !== 1 || files.length > 1 || found.some(({ name }) => name.startsWith('name*'))) return undefined
  const raw = names[0]!.raw
  return {
    names: [raw, unquote(raw)],
    isFile: files.length > 0 || found.some(({ name }) => name.startsWith('filename*')),
    isPlain,
  }
}

interface Parameter {
  /** Lower case. */
  readonly name: string
  /** Without the quotes, quoted pairs as written. */
  readonly raw: string
}

function parameters(value: string, from: number): Parameter[] | undefined {
  const found: Parameter[] = []
  const rest = value.trimEnd()
  PARAMETER.lastIndex = from
  while (PARAMETER.lastIndex < rest.length) {
    const match = PARAMETER.exec(rest)
    if (match === null) return undefined
    if (match[1] !== undefined) found.push({ name: match[1].toLowerCase(), raw: match[2] ?? match[3] ?? '' })
  }
  return found
}

function unquote(raw: string): string {
  return raw.replace(/\\(.)/gs, '$1')
}
