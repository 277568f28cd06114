import { describe } from '@jest/globals'
import { allCases } from './cases/all-cases.ts'
import { startEmbeddedPlane } from './cases/planes.ts'

describe('on the embedded data plane', () => allCases(startEmbeddedPlane))
