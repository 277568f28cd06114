import type { Upstream, UpstreamEvents, UpstreamOptions } from './upstream.ts'
import { Http1Upstream } from './upstream-http1.ts'
import { Http2Upstream } from './upstream-http2.ts'

export function openUpstream(options: UpstreamOptions, events: UpstreamEvents): Upstream {
  return options.protocol === 'http2' ? new Http2Upstream(options, events) : new Http1Upstream(options, events)
}
