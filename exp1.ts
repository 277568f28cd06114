import { ProcessRig } from './test/support/process-rig.ts'
import { resolveEnvoy } from './src/cli/envoy/resolve-envoy.ts'
import { documents, GATEWAY, parametersYaml, poolYaml, routeYaml } from './test/support/pool-config.ts'
import { ServeProcess } from './test/support/serve-process.ts'
const start = ServeProcess.start.bind(ServeProcess)
let serve: ServeProcess
ServeProcess.start = async (...a) => (serve = await start(...a))
try {
const rig = await ProcessRig.start({ envoy: await resolveEnvoy(), config: documents(GATEWAY,
 poolYaml({ name: 'p', addresses: ['127.0.0.1:1'] }),  routeYaml({ name: 'any', prefix: '/any', models: { '': 'p' } })) })
console.log('ok'); await rig.stop()
} catch (e) { console.log(String(e), serve!.log()) }
process.exit(0)
