/** Run by tools/test-bed.ts in namespaces of their own (network, mounts, processes): brings the bed up and looks at everything. */
import { join } from 'node:path'
import { conformance, CONFORMANCE_FLAGS } from './conformance.ts'
import { type Bed } from './find-bed.ts'
import { plugChecks } from './plug-checks.ts'
import { Results } from './results.ts'
import { RunningBed } from './running-bed.ts'

const ROOT = join(import.meta.dirname, '..', '..', '..')
const SIGNALBOX = join(ROOT, 'bin', 'signalbox')
const PARTS = { plug: plugChecks, conformance }

const [bedText = '{}', evidence = '', ...wanted] = process.argv.slice(2)
const results = new Results(evidence)
const bed = await RunningBed.start(JSON.parse(bedText) as Bed, {
  lwepp: [SIGNALBOX, 'epp', ...CONFORMANCE_FLAGS],
  'model-server': [process.execPath, join(import.meta.dirname, 'model-server.ts')],
  signalbox: [SIGNALBOX],
})
try {
  for (const [name, part] of Object.entries(PARTS))
    if (wanted.length === 0 || wanted.includes(name)) await part(bed, results)
} finally {
  await bed.remove()
}
console.log(`test bed: ${results.line}`)
process.exit(results.surprises === 0 ? 0 : 1)
