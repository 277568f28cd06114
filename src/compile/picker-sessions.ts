import type { SchedulingPlan, SessionHeaderPlan } from '../inference/pool-plan.ts'
import { agentHeaders } from '../inference/scheduling/plugins/agent-identity.ts'
import { sessionParameters, tokenHeader } from '../inference/scheduling/plugins/session-affinity.ts'
import { referencesOf } from './picker-profiles.ts'
import type { PickerPlugins } from './picker-plugins.ts'

/**
 * The headers by which clients keep sessions of the session-affinity plug-ins that some profile has, with the stage of the request whose
 * endpoint each names.
 */
export function readSessionHeaders(
  plugins: PickerPlugins,
  scheduling: Partial<SchedulingPlan>,
): Pick<SchedulingPlan, 'sessionHeaders'> {
  const sessionHeaders: SessionHeaderPlan[] = []
  const { primary = scheduling.profileName ?? 'default', stages } = referencesOf(plugins)
  for (const { name, index, type, parameters } of plugins.all()) {
    if (!type.type.startsWith('session-affinity-')) continue
    const given = sessionParameters.parse(parameters)
    const { profileName = primary } = given
    const stage = stages.find(({ profile }) => profile === profileName)?.name
    const path = ['plugins', index, 'parameters', 'profileName']
    const header = tokenHeader(given)
    if (profileName !== primary && stage !== 'prefill' && stage !== 'encode') {
      plugins.error('unresolved-reference', path, `no stage of a request runs a profile "${profileName}"`)
      continue
    }
    if (header === undefined) {
      // What we remember is the choice of the profile that the plug-in stands in.
      const elsewhere = plugins.profilesOf(name).find(profile => profile !== profileName)
      if (elsewhere !== undefined && given.profileName !== undefined)
        plugins.error(
          'not-supported',
          path,
          `session_id in profile "${elsewhere}" goes by the endpoints of that profile`,
        )
      continue
    }
    if (sessionHeaders.some(each => each.header === header)) continue
    sessionHeaders.push({ header, of: profileName === primary ? 'primary' : (stage as 'prefill' | 'encode') })
  }
  return sessionHeaders.length === 0 ? {} : { sessionHeaders }
}

const AGENT_IDENTITY = 'agent-identity'

interface SessionSource {
  readonly header?: string | undefined
  readonly attribute?: string | undefined
  readonly producer?: string | undefined
}

/** Whether a session is named by what an agent-identity plug-in finds. */
export function isAgentIdentity({ attribute, producer }: SessionSource): boolean {
  return attribute === AGENT_IDENTITY && (producer === undefined || producer === '')
}

/** Sessions that go by the agent's identity go by the headers in which the agent-identity plug-in looks for it, in its order. */
export function readAgentSessions(plugins: PickerPlugins): void {
  const agents = plugins.all().find(({ type }) => type.type === AGENT_IDENTITY)
  if (agents === undefined) return
  const headers = agentHeaders(agents.parameters).map(header => ({ header }))
  const resolve = (sources: readonly SessionSource[]) =>
    sources.flatMap(source => (isAgentIdentity(source) ? headers : [source]))
  for (const plugin of plugins.all()) {
    if (!plugin.type.type.startsWith('session-affinity-')) continue
    const { sources, sessionIdConfig } = sessionParameters.parse(plugin.parameters)
    const nested = sessionIdConfig && {
      sessionIdConfig: { ...sessionIdConfig, sources: resolve(sessionIdConfig.sources) },
    }
    plugins.add({ ...plugin, parameters: { ...plugin.parameters, sources: resolve(sources), ...nested } })
  }
}
