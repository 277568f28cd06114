/** TLS of scrapes: files are read when a connection is opened, and again when they have changed. */
import { readFileSync, statSync } from 'node:fs'
import { createSecureContext, type SecureContext } from 'node:tls'
import type { ScrapeTlsPlan } from './pool-plan.ts'

/** Files are looked at this often at most, ms. */
const CHECK_INTERVAL = 10_000

export class ScrapeTls {
  readonly verifies: boolean
  readonly #files: readonly { readonly option: 'ca' | 'cert' | 'key'; readonly path: string }[]
  #context: SecureContext | undefined
  #checkedAt = 0
  #changedAt = ''

  constructor({ insecureSkipVerify, caCertPath, certPath, keyPath }: ScrapeTlsPlan) {
    this.verifies = !insecureSkipVerify
    const named = { ca: caCertPath, cert: certPath, key: keyPath }
    this.#files = (['ca', 'cert', 'key'] as const).flatMap(option =>
      named[option] === undefined ? [] : [{ option, path: named[option] }],
    )
  }

  /** @throws Error when a file cannot be read, or does not hold what it should */
  context(): SecureContext {
    const now = performance.now()
    if (this.#context !== undefined && now - this.#checkedAt < CHECK_INTERVAL) return this.#context
    const changedAt = this.#files.map(({ path }) => statSync(path).mtimeMs).join(' ')
    if (this.#context === undefined || changedAt !== this.#changedAt) {
      this.#context = createSecureContext(
        Object.fromEntries(this.#files.map(({ option, path }) => [option, readFileSync(path)])),
      )
      this.#changedAt = changedAt
    }
    this.#checkedAt = now
    return this.#context
  }
}

/** Undefined: plaintext. */
export function scrapeTls(scheme: 'http' | 'https' | undefined, tls: ScrapeTlsPlan | undefined): ScrapeTls | undefined {
  return scheme === 'https' ? new ScrapeTls(tls ?? { insecureSkipVerify: true }) : undefined
}

/** The endpoint's address, with another port where one is given. */
export function atPort(address: string, port: number | undefined): string {
  return port === undefined ? address : `${address.slice(0, address.lastIndexOf(':'))}:${port}`
}
