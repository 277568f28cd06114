/** `ip:port` with IPv6 in brackets and without the IPv4-mapped prefix; empty when unknown (closed, UNIX socket). */
export function addressText(ip: string | undefined, port: number | undefined): string {
  if (ip === undefined) return ''
  const plain = ip.startsWith('::ffff:') && ip.includes('.') ? ip.slice(7) : ip
  return plain.includes(':') ? `[${plain}]:${port}` : `${plain}:${port}`
}
