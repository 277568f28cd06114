/**
 * Hashes the images, videos and audios of a request while the raw JSON of its messages passes by: the texts that stand for one, a URL or
 * base64, wherever the APIs have them (`image_url` and its like of OpenAI and vLLM, with the text itself or an object with `url` or `data`;
 * `source` of Anthropic). Inside of strings quotes are escaped, so that a text *about* such parts is none. Of a long text the beginning
 * and the length count, which tells images of one camera apart; the rest is skipped by memchr. Nothing is kept or allocated.
 */
import { skipString, STRING_OPEN, STRING_OPEN_IN_ESCAPE } from '../body/skip-string.ts'
import type { MediaHashes } from './media-hashes.ts'
import { finish } from './prefix-hasher.ts'

/** Keys whose text is one, or which have an object about one. */
const KEYS: ReadonlySet<string> = new Set(['image_url', 'video_url', 'audio_url', 'url', 'data'])
const LONGEST = Math.max(...[...KEYS].map(({ length }) => length))
const HASHED_BYTES = 32 * 1024

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COLON = 0x3a
const SPACE = 0x20

// Where the hasher stands.
const OUTSIDE = 0
/** In a string that may be a key. */
const IN_WORD = 1
/** In a string that is none. */
const IN_TEXT = 2
const IN_ESCAPE = 3
/** In a text that is hashed, and right after a backslash in it. */
const IN_MEDIA = 4
const IN_MEDIA_ESCAPE = 5

export class MediaHasher {
  readonly #into: MediaHashes
  readonly #word = Buffer.alloc(LONGEST)
  #state = OUTSIDE
  #length = 0
  /** The string that was read last is a key of the kind. */
  #key = false
  /** The next string is its value. */
  #isValue = false
  #low = 0
  #high = 0

  constructor(into: MediaHashes) {
    this.#into = into
  }

  reset(): void {
    this.#into.clear()
    this.#state = OUTSIDE
    this.#key = this.#isValue = false
  }

  /** The next raw bytes of the messages. Any split finds the same. */
  feed(chunk: Uint8Array, start: number, end: number): void {
    let at = start
    while (at < end) {
      if (this.#state === OUTSIDE) at = this.#outside(chunk, at, end)
      else if (this.#state === IN_WORD) at = this.#inWord(chunk, at, end)
      else if (this.#state === IN_TEXT || this.#state === IN_ESCAPE) at = this.#inText(chunk, at, end)
      else at = this.#inMedia(chunk, at, end)
    }
  }

  #outside(chunk: Uint8Array, start: number, end: number): number {
    for (let at = start; at < end; at++) {
      const byte = chunk[at]!
      if (byte <= SPACE) continue
      if (byte === QUOTE) {
        this.#state = this.#isValue ? IN_MEDIA : IN_WORD
        this.#length = 0
        this.#low = 0x811c9dc5 | 0
        this.#high = 0x9e3779b1 | 0
        this.#key = this.#isValue = false
        return at + 1
      }
      this.#isValue = byte === COLON && this.#key
      this.#key = false
    }
    return end
  }

  #inWord(chunk: Uint8Array, start: number, end: number): number {
    for (let at = start; at < end; at++) {
      const byte = chunk[at]!
      if (byte === QUOTE) {
        this.#state = OUTSIDE
        this.#key = KEYS.has(this.#word.toString('latin1', 0, this.#length))
        return at + 1
      }
      // An underscore and small letters: anything else is a text.
      if (this.#length === LONGEST || !((byte >= 0x61 && byte <= 0x7a) || byte === 0x5f)) {
        this.#state = IN_TEXT
        return at
      }
      this.#word[this.#length++] = byte
    }
    return end
  }

  #inText(chunk: Uint8Array, start: number, end: number): number {
    const after = skipString(chunk, start, end, this.#state === IN_ESCAPE)
    if (after === STRING_OPEN || after === STRING_OPEN_IN_ESCAPE) {
      this.#state = after === STRING_OPEN ? IN_TEXT : IN_ESCAPE
      return end
    }
    this.#state = OUTSIDE
    return after
  }

  #inMedia(chunk: Uint8Array, start: number, end: number): number {
    let at = start
    while (at < end && this.#length < HASHED_BYTES) {
      const byte = chunk[at]!
      const escaped = this.#state === IN_MEDIA_ESCAPE
      if (byte === QUOTE && !escaped) return this.#endMedia(at)
      this.#state = byte === BACKSLASH && !escaped ? IN_MEDIA_ESCAPE : IN_MEDIA
      this.#low = Math.imul(this.#low ^ byte, 0x01000193)
      this.#high = Math.imul(this.#high ^ byte, 0x85ebca6b | 0)
      this.#high = (this.#high << 13) | (this.#high >>> 19)
      this.#length++
      at++
    }
    if (at >= end) return end
    const after = skipString(chunk, at, end, this.#state === IN_MEDIA_ESCAPE)
    if (after === STRING_OPEN || after === STRING_OPEN_IN_ESCAPE) {
      this.#state = after === STRING_OPEN ? IN_MEDIA : IN_MEDIA_ESCAPE
      this.#length += end - at
      return end
    }
    this.#length += after - 1 - at
    return this.#endMedia(after - 1)
  }

  /** `at`: its closing quote. */
  #endMedia(at: number): number {
    this.#state = OUTSIDE
    if (this.#length > 0) this.#into.add(finish(this.#low ^ this.#length), finish(this.#high))
    return at + 1
  }
}
