// A jest reporter for tools/test.ts: writes the counts and what was skipped, as JSON, to the file that SIGNALBOX_TEST_COUNTS names.
const { writeFileSync } = require('node:fs')

module.exports = class CountReporter {
  onRunComplete(_contexts, results) {
    const skipped = results.testResults.flatMap(file =>
      file.testResults.filter(test => test.status === 'pending' || test.status === 'todo').map(test => test.fullName),
    )
    const counts = {
      passed: results.numPassedTests,
      // A file that could not be loaded has no tests to fail.
      failed: results.numFailedTests + results.numRuntimeErrorTestSuites,
      skipped: results.numPendingTests + results.numTodoTests,
      skippedNames: skipped,
    }
    writeFileSync(process.env.SIGNALBOX_TEST_COUNTS, JSON.stringify(counts))
  }
}
