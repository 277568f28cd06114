import { listenHttp2 } from './http2-transport.ts'
import { conformanceSuite } from './suite/conformance/conformance-suite.ts'

/** h2spec counts ten of them, on node's plainest server; in 3.5/2 and 8.1.2.6 node's GOAWAY says INTERNAL_ERROR. */
const FAILS = [
  'http2/3.5/2',
  'http2/5.3.1/2',
  'http2/5.1/8',
  'http2/5.1/9',
  'http2/5.1/11',
  'http2/5.1/12',
  'http2/5.1.1/2',
  'http2/6.3/1',
  'http2/6.7/2',
  'http2/6.9.1/3',
  'http2/8.1.2.6/1',
  'http2/8.1.2.6/2',
]

conformanceSuite('node:http2', listenHttp2, {
  fails: {
    'gRPC call': FAILS,
    'plain request': FAILS,
  },
})
