import { describe, expect, it } from '@jest/globals'
import type { EncodedResource } from './registry.ts'
import { Subscription } from './subscription.ts'
import { TypeUrl } from './type-urls.ts'

/** `resources('a1', 'b2')`: resource `a` with version 1, `b` with version 2. */
function resources(...texts: string[]): Map<string, EncodedResource> {
  return new Map(
    texts.map(text => [text[0]!, { name: text[0]!, version: text.slice(1), typeUrl: '', bytes: new Uint8Array() }]),
  )
}

/** A subscription with verbs, so that tests read as a transcript. */
class Talk {
  readonly subscription: Subscription
  #nonce = 0
  constructor(typeUrl: string) {
    this.subscription = new Subscription(typeUrl)
  }
  asks(names: string[], responseNonce = '', error?: string) {
    return this.subscription.request({ resourceNames: names, responseNonce, ...(error !== undefined && { error }) })
  }
  /** Names of what is sent, or nothing. */
  isSent(available: Map<string, EncodedResource>, again?: ReadonlySet<string>): string[] | undefined {
    const pending = this.subscription.pending(available, again)
    if (pending === undefined) return undefined
    this.subscription.responded(String(++this.#nonce), `v${this.#nonce}`, pending, 0)
    return pending.map(({ name, version }) => name + version)
  }
}

describe('clusters and listeners', () => {
  it('first request, acknowledgement, unchanged, changed', () => {
    const talk = new Talk(TypeUrl.CLUSTER)
    expect(talk.asks([])).toBe('subscription')
    expect(talk.isSent(resources('a1', 'b1'))).toEqual(['a1', 'b1'])
    expect(talk.asks([], '1')).toBe('ack')
    expect(talk.isSent(resources('a1', 'b1'))).toBeUndefined()
    expect(talk.isSent(resources('a1', 'b2'))).toEqual(['a1', 'b2'])
    expect(talk.asks([], '2')).toBe('ack')
    expect(talk.subscription.ackedVersion).toBe('v2')
  })

  it('sends everything when one is removed, and an empty answer when nothing is left', () => {
    const talk = new Talk(TypeUrl.LISTENER)
    talk.asks([])
    talk.isSent(resources('a1', 'b1'))
    expect(talk.isSent(resources('a1'))).toEqual(['a1'])
    expect(talk.isSent(resources())).toEqual([])
    expect(talk.isSent(resources())).toBeUndefined()
  })

  it('answers a first request even with nothing', () => {
    const talk = new Talk(TypeUrl.CLUSTER)
    talk.asks([])
    expect(talk.isSent(resources())).toEqual([])
  })

  it('an empty list after names ends the interest, "*" makes a wildcard at any time', () => {
    const talk = new Talk(TypeUrl.CLUSTER)
    talk.asks([])
    expect(talk.subscription.wanted).toBe('*')
    talk.asks(['a'])
    expect(talk.subscription.wanted).toBe(1)
    expect(talk.isSent(resources('a1', 'b1'))).toEqual(['a1'])
    talk.asks(['*', 'a'])
    expect(talk.isSent(resources('a1', 'b1'))).toEqual(['a1', 'b1'])
    talk.asks([])
    expect(talk.subscription.wanted).toBe(0)
    expect(talk.isSent(resources('a2', 'b2'))).toBeUndefined()
  })
})

describe('endpoints, routes and other types', () => {
  it('an empty list wants nothing, "*" everything', () => {
    const talk = new Talk(TypeUrl.ENDPOINTS)
    talk.asks([])
    expect(talk.isSent(resources('a1'))).toBeUndefined()
    talk.asks(['*'])
    expect(talk.isSent(resources('a1'))).toEqual(['a1'])
  })

  it('sends only what changed', () => {
    const talk = new Talk(TypeUrl.ENDPOINTS)
    talk.asks(['a', 'b'])
    expect(talk.isSent(resources('a1', 'b1', 'c1'))).toEqual(['a1', 'b1'])
    expect(talk.isSent(resources('a1', 'b2', 'c2'))).toEqual(['b2'])
  })

  it('answers a changed subscription although no content changed', () => {
    const talk = new Talk(TypeUrl.ROUTE)
    talk.asks(['a'])
    talk.isSent(resources('a1', 'b1'))
    talk.asks(['a'], '1')
    expect(talk.asks(['a', 'b'], '1')).toBe('subscription')
    expect(talk.isSent(resources('a1', 'b1'))).toEqual(['b1'])
  })

  it('sends a missing resource once it exists', () => {
    const talk = new Talk(TypeUrl.ROUTE)
    talk.asks(['a'])
    expect(talk.isSent(resources())).toBeUndefined()
    expect(talk.isSent(resources('b1'))).toBeUndefined()
    expect(talk.isSent(resources('a1', 'b1'))).toEqual(['a1'])
  })

  it('sends a resource again after it was deleted, or not wanted, in between', () => {
    const talk = new Talk(TypeUrl.ENDPOINTS)
    talk.asks(['a'])
    talk.isSent(resources('a1'))
    expect(talk.isSent(resources())).toBeUndefined()
    expect(talk.isSent(resources('a1'))).toEqual(['a1'])
    talk.asks([], '2')
    talk.asks(['a'], '2')
    expect(talk.isSent(resources('a1'))).toEqual(['a1'])
  })

  it('sends unchanged resources on demand, but only wanted ones', () => {
    const talk = new Talk(TypeUrl.ENDPOINTS)
    talk.asks(['a'])
    talk.isSent(resources('a1', 'b1'))
    expect(talk.isSent(resources('a1', 'b1'), new Set(['a', 'b']))).toEqual(['a1'])
  })
})

describe('judgements', () => {
  it('sends nothing after a refusal until the content changes', () => {
    const talk = new Talk(TypeUrl.CLUSTER)
    talk.asks([])
    talk.isSent(resources('a1'))
    talk.asks([], '1')
    talk.isSent(resources('a2'))
    expect(talk.asks([], '2', 'bad a')).toBe('nack')
    expect(talk.subscription.refusal).toEqual({ version: 'v2', message: 'bad a' })
    expect(talk.subscription.ackedVersion).toBe('v1')
    expect(talk.isSent(resources('a2'))).toBeUndefined()
    expect(talk.isSent(resources('a3'))).toEqual(['a3'])
    expect(talk.asks([], '3')).toBe('ack')
    expect(talk.subscription.refusal).toBeUndefined()
  })

  it('goes back to the accepted content after a refusal', () => {
    const talk = new Talk(TypeUrl.CLUSTER)
    talk.asks([])
    talk.isSent(resources('a1'))
    talk.isSent(resources('a2'))
    talk.asks([], '2', 'bad')
    expect(talk.isSent(resources('a1'))).toEqual(['a1'])
  })

  it('does not take a later subscription change for an acceptance of what was refused', () => {
    const talk = new Talk(TypeUrl.ENDPOINTS)
    talk.asks(['a'])
    talk.isSent(resources('a1'))
    talk.asks(['a'], '1', 'bad')
    expect(talk.asks(['a', 'b'], '1')).toBe('subscription')
    expect(talk.subscription.refusal?.message).toBe('bad')
    expect(talk.subscription.ackedVersion).toBe('')
  })

  it('ignores a stale request wholly, names included', () => {
    const talk = new Talk(TypeUrl.ENDPOINTS)
    talk.asks(['a'])
    talk.isSent(resources('a1', 'b1'))
    talk.isSent(resources('a2', 'b1'))
    expect(talk.asks(['b'], '1')).toBe('stale')
    expect(talk.subscription.wanted).toBe(1)
    expect(talk.isSent(resources('a2', 'b2'))).toBeUndefined()
    expect(talk.subscription.unjudgedSince).toBe(0)
  })

  it('takes a request without nonce for a subscription, and one of an earlier stream as well', () => {
    const talk = new Talk(TypeUrl.ENDPOINTS)
    expect(talk.asks(['a'], 'of another stream')).toBe('subscription')
    talk.isSent(resources('a1', 'b1'))
    expect(talk.asks(['a', 'b'])).toBe('subscription')
    expect(talk.subscription.unjudgedSince).toBe(0)
    expect(talk.isSent(resources('a1', 'b1'))).toEqual(['b1'])
  })
})
