/**
 * Reads the size of an image from its first bytes as they pass: PNG, GIF, JPEG and WebP. Of the image nothing is kept but what says what it
 * is; bytes after the size are ignored. Formats: PNG (W3C) §11.2.1, GIF89a §18, JPEG (T.81) annex B, WebP (RFC 9649) §2.
 */

/** The longest beginning that says all: of a WebP. */
const HEAD_BYTES = 30

// Where it stands.
const IN_HEAD = 0
/** JPEG: a marker is looked for, or its second byte; the bytes of a segment before what it is about; those that are skipped. */
const AT_MARKER = 1
const IN_MARKER = 2
const IN_SEGMENT = 3
const SKIPPING = 4
const OVER = 5

const SIGNATURES = {
  png: Buffer.from('\u0089PNG\r\n\u001a\n', 'latin1'),
  jpeg: Buffer.from('\u00ff\u00d8', 'latin1'),
} as const

export class ImageSize {
  /** Pixels; 0 = not known. */
  width = 0
  height = 0
  readonly #head = Buffer.alloc(HEAD_BYTES)
  #length = 0
  #state = IN_HEAD
  #marker = 0
  #left = 0

  reset(): void {
    this.width = this.height = 0
    this.#length = 0
    this.#state = IN_HEAD
  }

  /** More bytes would change nothing. */
  get isOver(): boolean {
    return this.#state === OVER
  }

  /** The next byte. */
  push(byte: number): void {
    switch (this.#state) {
      case IN_HEAD:
        this.#head[this.#length++] = byte
        return this.#readHead()
      case AT_MARKER:
        if (byte === 0xff) this.#state = IN_MARKER
        return
      case IN_MARKER:
        return this.#beginSegment(byte)
      case IN_SEGMENT:
        this.#head[this.#length++] = byte
        return this.#readSegment()
      case SKIPPING:
        if (--this.#left === 0) this.#state = AT_MARKER
        return
      default:
    }
  }

  #readHead(): void {
    const head = this.#head
    const length = this.#length
    if (length === 2 && begins(head, SIGNATURES.jpeg)) this.#state = AT_MARKER
    else if (length === 10 && (is(head, 0, 'GIF87a') || is(head, 0, 'GIF89a')))
      this.#end(head.readUInt16LE(6), head.readUInt16LE(8))
    else if (length === 24 && begins(head, SIGNATURES.png) && is(head, 12, 'IHDR'))
      this.#end(head.readUInt32BE(16), head.readUInt32BE(20))
    else if (length === HEAD_BYTES) this.#readWebp()
  }

  #readWebp(): void {
    const head = this.#head
    if (!is(head, 0, 'RIFF') || !is(head, 8, 'WEBP')) return this.#end(0, 0)
    if (is(head, 12, 'VP8X')) return this.#end(head.readUIntLE(24, 3) + 1, head.readUIntLE(27, 3) + 1)
    if (is(head, 12, 'VP8L') && head[20] === 0x2f) {
      const bits = head.readUInt32LE(21)
      return this.#end((bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1)
    }
    if (is(head, 12, 'VP8 ') && head.readUIntBE(23, 3) === 0x9d012a)
      return this.#end(head.readUInt16LE(26) & 0x3fff, head.readUInt16LE(28) & 0x3fff)
    this.#end(0, 0)
  }

  #beginSegment(marker: number): void {
    // Fill bytes, and zeros that escape them in data.
    if (marker === 0xff) return
    const isAlone = marker === 0x00 || marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)
    if (isAlone) this.#state = AT_MARKER
    // The image's data, or its end, without a frame before it.
    else if (marker === 0xda || marker === 0xd9) this.#end(0, 0)
    else {
      this.#marker = marker
      this.#length = 0
      this.#state = IN_SEGMENT
    }
  }

  #readSegment(): void {
    const head = this.#head
    if (isFrame(this.#marker)) {
      // Length, precision, height, width.
      if (this.#length === 7) this.#end(head.readUInt16BE(5), head.readUInt16BE(3))
    } else if (this.#length === 2) {
      this.#left = head.readUInt16BE(0) - 2
      if (this.#left < 0) this.#end(0, 0)
      else this.#state = this.#left === 0 ? AT_MARKER : SKIPPING
    }
  }

  #end(width: number, height: number): void {
    const known = width > 0 && height > 0
    this.width = known ? width : 0
    this.height = known ? height : 0
    this.#state = OVER
  }
}

/** Start of frame, of any process; among its numbers are three others. */
function isFrame(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc
}

function begins(head: Buffer, signature: Buffer): boolean {
  return head.compare(signature, 0, signature.length, 0, signature.length) === 0
}

function is(head: Buffer, at: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (head[at + i] !== text.charCodeAt(i)) return false
  return true
}
