import { MediaHasher, MediaKind, type MediaWatcher } from './media-hasher.ts'
import { MediaSize } from './media-size.ts'
import { imageTokens, type MediaTokensPlan } from './media-tokens.ts'

/** What is left of messages when their images and videos are folded. */
export interface FoldedSink {
  text(chunk: Uint8Array, start: number, end: number): void
  /** An image or video of so many tokens; equal ones have equal hashes. */
  media(hash: number, tokens: number): void
}

/**
 * Puts an image or video of the messages into the place of the text that stands for it, so that it weighs what it will in the engine, and not
 * what its base64 does. Text and audio pass as they are, the quotes around what is folded too. Nothing is kept or allocated.
 */
export class MediaFolder implements MediaWatcher {
  readonly #sink: FoldedSink
  readonly #hasher = new MediaHasher(undefined, this)
  readonly #size = new MediaSize()
  #plan!: MediaTokensPlan
  #videoTokens = 0
  #kind: MediaKind = MediaKind.NONE
  /** Of the piece under way: what is passed on already. */
  #chunk!: Uint8Array
  #from = 0

  constructor(sink: FoldedSink) {
    this.#sink = sink
  }

  /** `videoTokens`: of each video. */
  reset(plan: MediaTokensPlan, videoTokens: number): void {
    this.#plan = plan
    this.#videoTokens = videoTokens
    this.#kind = MediaKind.NONE
    this.#hasher.reset()
  }

  /** The next raw bytes of the messages. Any split gives the same. */
  feed(chunk: Uint8Array, start: number, end: number): void {
    this.#chunk = chunk
    this.#from = start
    this.#hasher.feed(chunk, start, end)
    if (!this.#folds) this.#pass(end)
  }

  begins(at: number, kind: MediaKind, plain: boolean): void {
    this.#kind = kind
    if (!this.#folds) return
    this.#pass(at)
    if (kind === MediaKind.IMAGE) this.#size.begin(plain)
  }

  reads(chunk: Uint8Array, start: number, end: number): void {
    if (this.#kind === MediaKind.IMAGE) this.#size.feed(chunk, start, end)
  }

  ends(at: number, length: number, hash: number): void {
    if (this.#folds) {
      const { width, height } = this.#size
      if (length > 0)
        this.#sink.media(
          hash,
          this.#kind === MediaKind.VIDEO ? this.#videoTokens : imageTokens(this.#plan, width, height),
        )
      this.#from = at
    }
    this.#kind = MediaKind.NONE
  }

  get #folds(): boolean {
    return this.#kind === MediaKind.IMAGE || this.#kind === MediaKind.VIDEO
  }

  #pass(end: number): void {
    if (end > this.#from) this.#sink.text(this.#chunk, this.#from, end)
    this.#from = end
  }
}
