/** Host names of the Gateway API: exact, or with `*` as the first label (one or more labels); `*` alone is any host. */

/** `*` covers all, `*.a.b` covers `x.a.b`, `x.y.a.b` and `*.y.a.b`, but not `a.b`. */
export function covers(pattern: string, name: string): boolean {
  if (pattern === '*' || pattern === name) return true
  return pattern.startsWith('*.') && name.length > pattern.length - 1 && name.endsWith(pattern.slice(1))
}

/** The host names under which a route is reached through a listener; empty = none. */
export function intersectHostnames(listener: string | undefined, route: readonly string[]): string[] {
  const own = listener ?? '*'
  if (route.length === 0) return [own]
  const result = new Set<string>()
  for (const name of route) {
    if (covers(own, name)) result.add(name)
    else if (covers(name, own)) result.add(own)
  }
  return [...result]
}

/** Most specific first: exact names, then the longest wildcard, then `*`. Ties by text. */
export function compareHostnames(a: string, b: string): number {
  const wild = Number(a.startsWith('*')) - Number(b.startsWith('*'))
  return wild || b.length - a.length || (a < b ? -1 : a > b ? 1 : 0)
}
