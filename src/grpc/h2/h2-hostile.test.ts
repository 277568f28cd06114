import { hostileSuite } from '../suite/hostile/hostile-suite.ts'
import { listenH2 } from './h2-transport.ts'

hostileSuite('own HTTP/2', listenH2, options => listenH2({ ...options, trust: 'verified' }))
