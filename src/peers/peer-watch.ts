import type { LinkState } from './peer-link.ts'

interface Watched {
  readonly state: LinkState
  /** Why the last attempt failed; '' while none has. */
  readonly failure: string
}

export interface PeerChange {
  readonly address: string
  readonly reached: boolean
  /** Why not. */
  readonly failure: string
}

/** Finds peers that have become out of reach, or within it again: once a change, and not for an absence between two looks. */
export class PeerWatch {
  /** Out of reach at the last look; true: that was told. */
  readonly #away = new Map<string, boolean>()

  /** What has changed since the last look. One who is not reached counts as away from the second look in a row on. */
  look(links: ReadonlyMap<string, Watched>): readonly PeerChange[] {
    const changes: PeerChange[] = []
    for (const address of this.#away.keys()) if (!links.has(address)) this.#away.delete(address)
    for (const [address, { state, failure }] of links) {
      const told = this.#away.get(address)
      if (state !== 'connecting') {
        if (told === true) changes.push({ address, reached: true, failure: '' })
        this.#away.delete(address)
      } else if (told === undefined) this.#away.set(address, false)
      else if (!told) {
        changes.push({ address, reached: false, failure })
        this.#away.set(address, true)
      }
    }
    return changes
  }
}
