import { describe } from '@jest/globals'
import { allCases } from './all-cases.ts'
import { startEmbeddedPlane } from './test-support.ts'

describe('on the embedded data plane', () => allCases(startEmbeddedPlane))
