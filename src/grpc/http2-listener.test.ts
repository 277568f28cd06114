import { listenHttp2 } from './http2-transport.ts'
import { listenerSuite } from './suite/transport-suite.ts'

listenerSuite('node:http2', listenHttp2)
