import { listenerSuite } from '../suite/transport-suite.ts'
import { listenH2 } from './h2-transport.ts'

listenerSuite('own HTTP/2', listenH2)
