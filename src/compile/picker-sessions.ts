import type { SchedulingPlan, SessionHeaderPlan } from '../inference/pool-plan.ts'
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
