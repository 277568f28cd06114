/**
 * HTTP headers as the embedded data plane passes them along: ordered, names in lower case, repeated names kept apart, pseudo
 * headers (`:method`, `:path`, `:status` …) first. Values are latin-1 strings, one character a byte, as node:http has them.
 */
export class HeaderList {
  readonly #entries: [name: string, value: string][]

  constructor(entries: Iterable<readonly [string, string]> = []) {
    this.#entries = Array.from(entries, ([name, value]) => [name, value])
  }

  /** From node's flat `[name, value, name, value …]`. */
  static fromFlat(flat: readonly string[]): HeaderList {
    const list = new HeaderList()
    for (let i = 0; i + 1 < flat.length; i += 2) list.add((flat[i] ?? '').toLowerCase(), flat[i + 1] ?? '')
    return list
  }

  get size(): number {
    return this.#entries.length
  }

  [Symbol.iterator](): IterableIterator<readonly [string, string]> {
    return this.#entries[Symbol.iterator]()
  }

  /** The first value. */
  get(name: string): string | undefined {
    for (const entry of this.#entries) if (entry[0] === name) return entry[1]
    return undefined
  }

  /** All values joined by a comma, as header matchers and CEL see them. */
  joined(name: string): string | undefined {
    let all: string | undefined
    for (const entry of this.#entries) if (entry[0] === name) all = all === undefined ? entry[1] : `${all},${entry[1]}`
    return all
  }

  has(name: string): boolean {
    return this.get(name) !== undefined
  }

  /** Overwrites the first value and drops the others; keeps the place. */
  set(name: string, value: string): void {
    const first = this.#entries.findIndex(entry => entry[0] === name)
    if (first < 0) {
      this.add(name, value)
      return
    }
    this.#entries[first] = [name, value]
    for (let i = this.#entries.length - 1; i > first; i--)
      if (this.#entries[i]?.[0] === name) this.#entries.splice(i, 1)
  }

  /** Appends another value; pseudo headers stay in front. */
  add(name: string, value: string): void {
    if (!name.startsWith(':')) {
      this.#entries.push([name, value])
      return
    }
    const place = this.#entries.findIndex(entry => !entry[0].startsWith(':'))
    this.#entries.splice(place < 0 ? this.#entries.length : place, 0, [name, value])
  }

  /** True when there was one. */
  remove(name: string): boolean {
    let found = false
    for (let i = this.#entries.length - 1; i >= 0; i--)
      if (this.#entries[i]?.[0] === name) {
        this.#entries.splice(i, 1)
        found = true
      }
    return found
  }

  clone(): HeaderList {
    return new HeaderList(this.#entries)
  }

  /** Node's flat form without pseudo headers, for HTTP/1. */
  flat(): string[] {
    const flat: string[] = []
    for (const [name, value] of this.#entries) if (!name.startsWith(':')) flat.push(name, value)
    return flat
  }

  /** Node's HTTP/2 form; repeated names become arrays. */
  record(): Record<string, string | string[]> {
    const record: Record<string, string | string[]> = {}
    for (const [name, value] of this.#entries) {
      const before = record[name]
      if (before === undefined) record[name] = value
      else if (Array.isArray(before)) before.push(value)
      else record[name] = [before, value]
    }
    return record
  }
}

const CONNECTION_HEADERS = ['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade', 'te']

/** Removes what belongs to one connection only (RFC 9110 §7.6.1), `te: trailers` excepted, and what `connection` names. */
export function removeHopByHop(headers: HeaderList): void {
  const named = headers.joined('connection')
  const trailers = headers.joined('te')?.toLowerCase().includes('trailers') ?? false
  if (named !== undefined)
    for (const name of named.split(',')) {
      const lower = name.trim().toLowerCase()
      if (lower !== '' && !lower.startsWith(':') && lower !== 'host') headers.remove(lower)
    }
  for (const name of CONNECTION_HEADERS) headers.remove(name)
  if (trailers) headers.add('te', 'trailers')
}
