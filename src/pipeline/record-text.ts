/** Text of a client that goes into the decision record: cut, so that an access log line stays one. */
const MAX_LENGTH = 256

/** At most 256 UTF-16 units and a sign that something is missing; no character is cut in two. */
export function recordText(text: string): string {
  if (text.length <= MAX_LENGTH) return text
  const last = text.charCodeAt(MAX_LENGTH - 1)
  const isHighSurrogate = last >= 0xd800 && last <= 0xdbff
  return `${text.slice(0, isHighSurrogate ? MAX_LENGTH - 1 : MAX_LENGTH)}…`
}
