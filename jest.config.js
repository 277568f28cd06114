// oxlint-disable-next-line import/no-default-export -- jest asks for one
export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/src', '<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '\\.ts$': '<rootDir>/tools/strip-types.cjs' },
  modulePathIgnorePatterns: ['<rootDir>/.cache'],
  maxWorkers: 2,
  testTimeout: 30_000,
}
