/** A request as a user's hooks see it: one object from the pick to the end, so that it can be the key of what a hook remembers. */
export interface HookedRequest {
  /** `namespace/name` */
  readonly pool: string
  readonly path: string
  /** As the client asked for it. */
  readonly model: string | undefined
  /** `ip:port` of the endpoint that was picked. */
  readonly endpoint: string
  /** Of that endpoint. */
  readonly labels: Readonly<Record<string, string>>
  /** In `picked` a header of the request, in `responded` one of the response; undefined: it has none, or this is `ended`. */
  header(name: string): string | undefined
  /**
   * In `picked` the replica gets the header, in `responded` the client. @throws RangeError for what is no header, or none of yours: framing
   * headers, pseudo headers and those by which gateways and Signalbox steer requests
   */
  setHeader(name: string, value: string): void
}

/** Told of what becomes of requests. One object a pool and thread; synchronous. What it throws is logged once, and the request goes on. */
export interface RequestHook {
  /** An endpoint was picked; the request was not sent yet. */
  picked?(request: HookedRequest): void
  /** Response headers have come. */
  responded?(request: HookedRequest): void
  /** It is over, for each that was picked; `answered`: response headers had come. */
  ended?(request: HookedRequest, answered: boolean): void
}
