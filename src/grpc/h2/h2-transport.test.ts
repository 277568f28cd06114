import { transportSuite } from '../suite/transport-suite.ts'
import { listenH2 } from './h2-transport.ts'

transportSuite('own HTTP/2', listenH2)
