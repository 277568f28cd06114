/** What a connection needs of its socket: three verbs, so that it also runs on memory in tests and fuzzers. */
export interface Wire {
  /**
   * Sends pieces in order, in one system call where that is possible. Ownership passes when the answer is false: the socket still has
   * some of them, and says so by the connection's `writable()` once it has not. True: all are with the kernel, the bytes may be reused.
   */
  write(pieces: readonly Uint8Array[]): boolean
  /** Bytes that the kernel has not taken. */
  readonly pendingBytes: number
  /** Sends what is pending, then closes; a peer that leaves its side open is cut off after a moment. */
  end(): void
  /** Closes at once. */
  destroy(): void
}
