import { describe } from '@jest/globals'
import { allCases } from './all-cases.ts'
import { startEmbeddedPlane } from './planes.ts'

describe('on the embedded data plane', () => allCases(startEmbeddedPlane))
