import { ImageSize } from '../body/image-size.ts'

/** Of a text that stands for an image so much is read, bytes: metadata before the size may be long. */
const READ_BYTES = 128 * 1024
const SCHEME = 'data:image/'
const ENCODING = 'base64'
/** Of the media type and its parameters. */
const LONGEST_TYPE = 256

const BACKSLASH = 0x5c
const SLASH = 0x2f
const COMMA = 0x2c

/** Values of base64's characters; −1: none. */
const VALUES = new Int8Array(256).fill(-1)
const CHARACTERS = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/')
for (const [value, character] of CHARACTERS.entries()) VALUES[character] = value

// Where it stands.
const IN_SCHEME = 0
const IN_TYPE = 1
const IN_BASE64 = 2
const OVER = 3

/** Reads the size of an image from the raw JSON text that stands for it, a `data:` URL or plain base64, as far as it is there. */
export class MediaSize {
  readonly #image = new ImageSize()
  #state = OVER
  #read = 0
  #escaped = false
  /** Characters of scheme or type so far; of the encoding's name those that stand at its end. */
  #length = 0
  #matched = 0
  #bits = 0
  #bitCount = 0

  begin(plain: boolean): void {
    this.#image.reset()
    this.#state = plain ? IN_BASE64 : IN_SCHEME
    this.#read = this.#length = this.#matched = this.#bits = this.#bitCount = 0
    this.#escaped = false
  }

  /** Pixels; 0 = not known. */
  get width(): number {
    return this.#image.width
  }

  get height(): number {
    return this.#image.height
  }

  /** The next raw bytes, any split. */
  feed(chunk: Uint8Array, start: number, end: number): void {
    const until = Math.min(end, start + READ_BYTES - this.#read)
    for (let at = start; at < until && this.#state !== OVER; at++) this.#take(chunk[at]!)
    this.#read += end - start
  }

  #take(byte: number): void {
    if (this.#escaped) {
      this.#escaped = false
      // Of escapes only this one stands for a character of a URL or of base64; line ends may stand between those.
      if (byte === SLASH) this.#character(byte)
      else if (byte !== 0x6e && byte !== 0x72) this.#state = OVER
    } else if (byte === BACKSLASH) this.#escaped = true
    else this.#character(byte)
  }

  #character(byte: number): void {
    if (this.#state === IN_BASE64) return this.#decode(byte)
    if (this.#state === IN_SCHEME) {
      if (byte !== SCHEME.charCodeAt(this.#length++)) this.#state = OVER
      else if (this.#length === SCHEME.length) this.#state = IN_TYPE
      return
    }
    if (byte === COMMA && this.#matched === ENCODING.length) this.#state = IN_BASE64
    else if (++this.#length > LONGEST_TYPE) this.#state = OVER
    else if (byte === ENCODING.charCodeAt(this.#matched)) this.#matched++
    else this.#matched = byte === ENCODING.charCodeAt(0) ? 1 : 0
  }

  #decode(byte: number): void {
    const value = VALUES[byte]!
    if (value < 0) {
      this.#state = OVER
      return
    }
    this.#bits = ((this.#bits << 6) | value) & 0xffff
    this.#bitCount += 6
    if (this.#bitCount < 8) return
    this.#bitCount -= 8
    this.#image.push((this.#bits >> this.#bitCount) & 0xff)
    if (this.#image.isOver) this.#state = OVER
  }
}
