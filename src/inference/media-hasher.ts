/**
 * Hashes the images, videos and audios of a request while the raw JSON of its messages passes by: the texts that stand for one, a URL or
 * base64, wherever the APIs have them (`image_url` and its like of OpenAI and vLLM, with the text itself or an object with `url` or `data`;
 * `source` of Anthropic). Inside of strings quotes are escaped, so that a text *about* such parts is none. Of a long text the beginning
 * and the length count, which tells images of one camera apart; the rest is skipped by memchr. Nothing is kept or allocated.
 */
import { skipString, STRING_OPEN, STRING_OPEN_IN_ESCAPE } from '../body/skip-string.ts'
import type { MediaHashes } from './media-hashes.ts'
import { finish } from './prefix-hasher.ts'

export const MediaKind = { NONE: 0, IMAGE: 1, VIDEO: 2, AUDIO: 3 } as const
export type MediaKind = (typeof MediaKind)[keyof typeof MediaKind]

/** Told of the texts while they pass, in the order in which they do. */
export interface MediaWatcher {
  /** `at`: the first byte after the opening quote. `plain`: it is base64 without a URL around it. */
  begins(at: number, kind: MediaKind, plain: boolean): void
  /** The next bytes of it, raw. */
  reads(chunk: Uint8Array, start: number, end: number): void
  /** `at`: its closing quote. Without `length` it was empty. */
  ends(at: number, length: number, hash: number): void
}

/** Keys whose text is one, or which have an object about one. */
const KEYS: ReadonlySet<string> = new Set(['image_url', 'video_url', 'audio_url', 'url', 'data'])
/** What stands at these keys, or inside of the objects there. */
const KINDS: ReadonlyMap<string, MediaKind> = new Map([
  ['image_url', MediaKind.IMAGE],
  ['video_url', MediaKind.VIDEO],
  ['audio_url', MediaKind.AUDIO],
  ['input_audio', MediaKind.AUDIO],
  ['source', MediaKind.IMAGE],
])
const PLAIN = 'data'
const LONGEST = Math.max(...[...KEYS, ...KINDS.keys()].map(({ length }) => length))
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
  readonly #into: MediaHashes | undefined
  readonly #watcher: MediaWatcher | undefined
  readonly #word = Buffer.alloc(LONGEST)
  #state = OUTSIDE
  #length = 0
  /** The string that was read last is a key of the kind. */
  #key = false
  /** The next string is its value. */
  #isValue = false
  /** What the word that was read last would make of what follows; and what the text under way belongs to. */
  #kindOfKey: MediaKind = MediaKind.NONE
  #kind: MediaKind = MediaKind.NONE
  #plain = false
  #low = 0
  #high = 0

  constructor(into: MediaHashes | undefined, watcher?: MediaWatcher) {
    this.#into = into
    this.#watcher = watcher
  }

  reset(): void {
    this.#into?.clear()
    this.#state = OUTSIDE
    this.#key = this.#isValue = false
    this.#kind = this.#kindOfKey = MediaKind.NONE
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
        if (this.#isValue) this.#watcher?.begins(at + 1, this.#kind, this.#plain)
        this.#key = this.#isValue = false
        this.#kindOfKey = MediaKind.NONE
        return at + 1
      }
      this.#isValue = byte === COLON && this.#key
      if (byte === COLON && this.#kindOfKey !== MediaKind.NONE) this.#kind = this.#kindOfKey
      this.#key = false
      this.#kindOfKey = MediaKind.NONE
    }
    return end
  }

  #inWord(chunk: Uint8Array, start: number, end: number): number {
    for (let at = start; at < end; at++) {
      const byte = chunk[at]!
      if (byte === QUOTE) {
        this.#state = OUTSIDE
        this.#endWord(this.#word.toString('latin1', 0, this.#length))
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

  #endWord(word: string): void {
    this.#key = KEYS.has(word)
    this.#kindOfKey = KINDS.get(word) ?? MediaKind.NONE
    this.#plain = word === PLAIN
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
      if (byte === QUOTE && !escaped) {
        this.#watcher?.reads(chunk, start, at)
        return this.#endMedia(at)
      }
      this.#state = byte === BACKSLASH && !escaped ? IN_MEDIA_ESCAPE : IN_MEDIA
      this.#low = Math.imul(this.#low ^ byte, 0x01000193)
      this.#high = Math.imul(this.#high ^ byte, 0x85ebca6b | 0)
      this.#high = (this.#high << 13) | (this.#high >>> 19)
      this.#length++
      at++
    }
    if (at >= end) {
      this.#watcher?.reads(chunk, start, end)
      return end
    }
    const after = skipString(chunk, at, end, this.#state === IN_MEDIA_ESCAPE)
    this.#watcher?.reads(chunk, start, after < 0 ? end : after - 1)
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
    const low = finish(this.#low ^ this.#length)
    if (this.#length > 0) this.#into?.add(low, finish(this.#high))
    this.#watcher?.ends(at, this.#length, low)
    return at + 1
  }
}
