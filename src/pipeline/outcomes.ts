/** Counts what became of requests. Plain numbers: the metrics endpoint reads them when it is asked. */
export class Outcomes {
  /** By Envoy cluster. */
  readonly routedTo = new Map<string, number>()
  /** By error code. */
  readonly refusedWith = new Map<string, number>()
  /** By kind of answer of ours that is no refusal. */
  readonly answeredWith = new Map<string, number>()

  /** Requests that another endpoint than the picked one served. */
  fellBack = 0

  routed(cluster: string): void {
    this.routedTo.set(cluster, (this.routedTo.get(cluster) ?? 0) + 1)
  }

  refused(code: string): void {
    this.refusedWith.set(code, (this.refusedWith.get(code) ?? 0) + 1)
  }

  answered(kind: string): void {
    this.answeredWith.set(kind, (this.answeredWith.get(kind) ?? 0) + 1)
  }
}
