import { listenHttp2 } from './http2-transport.ts'
import { transportSuite } from './suite/transport-suite.ts'

transportSuite('node:http2', listenHttp2)
