import { Buffer } from 'node:buffer'
import { TokenIds } from '../inference/kv-events/token-ids.ts'
import { MediaFolder } from '../inference/media-folder.ts'
import { MediaHasher } from '../inference/media-hasher.ts'
import { MediaHashes } from '../inference/media-hashes.ts'
import type { MediaTokensPlan } from '../inference/media-tokens.ts'
import type { PrefixHasher } from '../inference/prefix-hasher.ts'
import { MediaScanner } from '../llm/media-scanner.ts'
import { TokenIdScanner } from './token-id-scanner.ts'

/** Raw bytes of a prompt that may be an empty one. */
const EMPTY_BYTES = 32
/** Of a prompt that is token ids. */
const MAX_TOKENS = 2 * 1024 * 1024
const EMPTY_PROMPTS: ReadonlySet<string> = new Set(['""', '[]', '[""]'])
/** As everybody estimates. */
const MEDIA_TOKEN_BYTES = 4
/** Scratch: tokens of an image. */
const PLACEHOLDERS = Buffer.alloc(1024)

/**
 * The prompt of a body, as its bytes pass: the hashes of its beginning, its size, and what is in it of media and token ids, as far as
 * that is wanted. Where in a body it stands is for others to say. Nothing of it is kept. Pooled.
 */
export class BodyPrompt {
  /** Bytes seen. What is folded (`mediaTokens`) has four for each token. */
  bytes = 0
  /** Images and videos count by their tokens, and not by their text; to be said before `begin`. Undefined: they don't. */
  mediaTokens: MediaTokensPlan | undefined
  /** Those of each video. */
  videoTokens = 0
  /** Prompts that are token ids are wanted; to be said before `begin`. */
  wantsTokens = false
  /** Hashes of images, videos and audios are wanted; to be said before `begin`. */
  wantsMediaHashes = false

  readonly hasher: PrefixHasher
  readonly #media = new MediaScanner()
  readonly #mediaHashes = new MediaHashes()
  readonly #mediaHasher = new MediaHasher(this.#mediaHashes)
  #folder: MediaFolder | undefined
  readonly #tokens = new TokenIds()
  readonly #tokenIds = new TokenIdScanner(this.#tokens, MAX_TOKENS)
  /** All of an engine's own prompt was read. */
  #ownOver = false
  #wantsMedia = false
  #prefixBytes = 0
  readonly #head = Buffer.alloc(EMPTY_BYTES)

  constructor(hasher: PrefixHasher) {
    this.hasher = hasher
  }

  /** `prefixBytes` 0 = nothing of it is hashed. `media`: whether it has images, video or audio is wanted. */
  begin(prefixBytes: number, prefixBlockBytes: number, media: boolean): void {
    this.forget()
    this.#prefixBytes = prefixBytes
    this.#wantsMedia = media
    this.#media.reset()
    if (this.wantsMediaHashes) this.#mediaHasher.reset()
    if (this.mediaTokens !== undefined) this.#beginFolding(this.mediaTokens)
    if (this.wantsTokens) this.#tokenIds.reset()
    this.hasher.reset(prefixBlockBytes, prefixBytes)
  }

  /** Forgets an earlier prompt, and what was wanted of it. */
  clear(): void {
    this.#wantsMedia = false
    this.#media.reset()
    if (this.wantsTokens) this.#tokenIds.reset()
    this.wantsTokens = false
    if (this.wantsMediaHashes) this.#mediaHasher.reset()
    this.wantsMediaHashes = false
    this.mediaTokens = undefined
    this.forget()
  }

  /** Of what was read, nothing counts. */
  forget(): void {
    this.bytes = 0
    this.#ownOver = false
  }

  /** Has images, video or audio, as far as it was read for them. */
  get hasMedia(): boolean {
    return this.#media.found
  }

  /** Of those that were read. */
  get mediaHashes(): MediaHashes | undefined {
    return this.wantsMediaHashes && this.#mediaHashes.count > 0 ? this.#mediaHashes : undefined
  }

  /** Where it is token ids and all of it was read; undefined: it is not. */
  get tokenIds(): TokenIds | undefined {
    if (!this.wantsTokens) return undefined
    return this.#tokenIds.complete || (this.#ownOver && this.#tokens.count > 0) ? this.#tokens : undefined
  }

  /** Enough of it was read for all that is wanted, whether or not more comes. */
  get isEnough(): boolean {
    if (this.wantsMediaHashes || this.mediaTokens !== undefined) return false
    const enough = this.#prefixBytes === 0 || this.bytes >= this.#prefixBytes
    return enough && (!this.#wantsMedia || this.#media.found)
  }

  /** What was read says nothing. To be asked when all of it was read. */
  get isEmpty(): boolean {
    if (this.bytes > EMPTY_BYTES) return false
    return EMPTY_PROMPTS.has(this.#head.toString('latin1', 0, this.bytes).replaceAll(/\s/g, ''))
  }

  /** The next bytes of the JSON value that it is. */
  feed(chunk: Uint8Array, start: number, end: number): void {
    if (this.mediaTokens === undefined) this.#takeText(chunk, start, end)
    else this.#folder!.feed(chunk, start, end)
    if (this.#wantsMedia) this.#media.feed(chunk, start, end)
    if (this.wantsTokens) this.#tokenIds.feed(chunk, start, end)
    if (this.wantsMediaHashes) this.#mediaHasher.feed(chunk, start, end)
  }

  /** The next bytes of one in an engine's own form: text, or token ids of four bytes each, which come as tokens too. */
  feedOwn(chunk: Uint8Array, start: number, end: number): void {
    this.#takeText(chunk, start, end)
    if (this.wantsMediaHashes) this.#mediaHasher.feed(chunk, start, end)
  }

  ownToken(id: number): void {
    if (this.wantsTokens && this.#tokens.count < MAX_TOKENS) this.#tokens.push(id)
  }

  ownOver(): void {
    this.#ownOver = true
    if (this.wantsTokens) this.#tokens.endPrompt()
  }

  #takeText(chunk: Uint8Array, start: number, end: number): void {
    // Of a longer prompt nobody asks whether it is empty.
    if (this.bytes + end - start <= EMPTY_BYTES)
      for (let i = start; i < end; i++) this.#head[this.bytes + i - start] = chunk[i]!
    const wanted = Math.min(end - start, this.#prefixBytes - this.bytes)
    if (wanted > 0) this.hasher.update(chunk, start, start + wanted)
    this.bytes += end - start
  }

  #beginFolding(plan: MediaTokensPlan): void {
    this.#folder ??= new MediaFolder({
      text: (chunk, start, end) => this.#takeText(chunk, start, end),
      media: (hash, tokens) => this.#takeMedia(hash, tokens),
    })
    this.#folder.reset(plan, this.videoTokens)
  }

  /** Its hash stands there as often as it has tokens. */
  #takeMedia(hash: number, tokens: number): void {
    const bytes = tokens * MEDIA_TOKEN_BYTES
    let wanted = Math.min(bytes, this.#prefixBytes - this.bytes)
    if (wanted > 0) {
      for (let at = 0; at < PLACEHOLDERS.length; at += MEDIA_TOKEN_BYTES) PLACEHOLDERS.writeInt32LE(hash, at)
      for (; wanted > 0; wanted -= PLACEHOLDERS.length)
        this.hasher.update(PLACEHOLDERS, 0, Math.min(wanted, PLACEHOLDERS.length))
    }
    this.bytes += bytes
  }
}
