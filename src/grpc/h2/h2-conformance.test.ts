import { conformanceSuite } from '../suite/conformance/conformance-suite.ts'
import { listenH2 } from './h2-transport.ts'

conformanceSuite('own HTTP/2', listenH2, { refusesWithText: true })
