import type { EndpointTable } from './endpoint-table.ts'

/** The addresses of endpoints with the port of their replica in the place of their own, kept as text. */
export class PrimaryAddresses {
  readonly #texts: (string | undefined)[] = []

  /** Must be called when slots change hands, or the port does. */
  clear(): void {
    this.#texts.length = 0
  }

  /** `ip:port` of the replica that this slot's endpoint belongs to; empty when the slot is free. */
  of(slot: number, port: number, table: EndpointTable): string {
    return (this.#texts[slot] ??= withPort(table.address(slot) ?? '', port))
  }
}

function withPort(address: string, port: number): string {
  return address === '' ? '' : `${address.slice(0, address.lastIndexOf(':'))}:${port}`
}
