/** Hashes of the images, videos and audios of a request, each once: pairs of 32-bit words. */
export class MediaHashes {
  /** More are not told apart: who has many in common has few in common too. */
  static readonly MOST = 64
  readonly words = new Int32Array(2 * MediaHashes.MOST)
  count = 0

  clear(): void {
    this.count = 0
  }

  add(low: number, high: number): void {
    const { words, count } = this
    if (count === MediaHashes.MOST) return
    for (let i = 0; i < count; i++) if (words[2 * i] === low && words[2 * i + 1] === high) return
    words[2 * count] = low
    words[2 * count + 1] = high
    this.count++
  }
}
