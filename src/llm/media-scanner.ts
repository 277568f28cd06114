/**
 * Finds images, video and audio in the messages of a request while their raw JSON passes by: content parts whose `type` says so, or which
 * have the key of one (OpenAI's chat and responses APIs, Anthropic's messages, vLLM's additions). Inside of strings quotes are escaped, so
 * that a text *about* such parts is none. Texts and base64 are skipped by memchr; nothing is kept or allocated.
 */
import { skipString, STRING_OPEN, STRING_OPEN_IN_ESCAPE } from '../body/skip-string.ts'

const TYPES = [
  'image_url',
  'input_image',
  'image',
  'image_embeds',
  'image_pil',
  'video_url',
  'input_video',
  'video',
  'audio_url',
  'input_audio',
  'audio',
  'audio_embeds',
]
/** Keys that mean a part of the kind wherever they stand; the shorter words may be anything. */
const KEYS = ['image_url', 'image_embeds', 'image_pil', 'video_url', 'audio_url', 'input_audio', 'audio_embeds']
const TYPE = 'type'
const LONGEST = Math.max(...TYPES.map(({ length }) => length))

const QUOTE = 0x22
const COLON = 0x3a
const SPACE = 0x20

/** What the string that was read last is. */
const NOTHING = 0
const MEDIA_KEY = 1
const TYPE_KEY = 2
/** A word that is a kind, but no key of one. */
const MEDIA_WORD = 4

const WORDS: ReadonlyMap<string, number> = new Map([
  ...TYPES.map(type => [type, MEDIA_WORD] as const),
  ...KEYS.map(key => [key, MEDIA_KEY | MEDIA_WORD] as const),
  [TYPE, TYPE_KEY],
])

// Where the scanner stands.
const OUTSIDE = 0
/** At the beginning of a string, which may be a word. */
const IN_WORD = 1
/** In a string that is none. */
const IN_TEXT = 2
const IN_ESCAPE = 3

export class MediaScanner {
  /** There is such a part. */
  found = false
  #state = OUTSIDE
  readonly #word = Buffer.alloc(LONGEST)
  #length = 0
  #last = NOTHING
  /** The next string is the value of a `type`. */
  #isType = false

  reset(): void {
    this.found = false
    this.#state = OUTSIDE
    this.#last = NOTHING
    this.#isType = false
  }

  /** The next raw bytes of the messages. Any split finds the same. */
  feed(chunk: Uint8Array, start: number, end: number): void {
    let at = start
    while (at < end && !this.found) {
      if (this.#state === OUTSIDE) at = this.#outside(chunk, at, end)
      else if (this.#state === IN_WORD) at = this.#inWord(chunk, at, end)
      else at = this.#inText(chunk, at, end)
    }
  }

  #outside(chunk: Uint8Array, start: number, end: number): number {
    for (let at = start; at < end; at++) {
      const byte = chunk[at]!
      if (byte <= SPACE) continue
      if (byte === QUOTE) {
        this.#state = IN_WORD
        this.#length = 0
        return at + 1
      }
      if (byte === COLON) {
        if ((this.#last & MEDIA_KEY) !== 0) {
          this.found = true
          return end
        }
        this.#isType = this.#last === TYPE_KEY
      } else this.#isType = false
      this.#last = NOTHING
    }
    return end
  }

  #inWord(chunk: Uint8Array, start: number, end: number): number {
    for (let at = start; at < end; at++) {
      const byte = chunk[at]!
      if (byte === QUOTE) {
        this.#endWord()
        return at + 1
      }
      // An underscore and small letters: anything else is a text.
      if (this.#length === LONGEST || !((byte >= 0x61 && byte <= 0x7a) || byte === 0x5f)) {
        this.#state = IN_TEXT
        this.#last = NOTHING
        this.#isType = false
        return at
      }
      this.#word[this.#length++] = byte
    }
    return end
  }

  #endWord(): void {
    this.#state = OUTSIDE
    this.#last = WORDS.get(this.#word.toString('latin1', 0, this.#length)) ?? NOTHING
    if (this.#isType && (this.#last & MEDIA_WORD) !== 0) this.found = true
    this.#isType = false
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
}
