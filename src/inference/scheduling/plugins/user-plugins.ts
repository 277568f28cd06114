/** Plug-ins of the user's own: JavaScript or TypeScript modules that `--plugins` names. */
import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { PLUGIN_KIT, type Plugins } from './plugin-kit.ts'
import type { PluginType } from './plugin-type.ts'
import { registerPlugin } from './registry.ts'

const ROLES: ReadonlySet<string> = new Set([
  'scorer',
  'filter',
  'picker',
  'decider',
  'profile-handler',
  'producer',
  'screener',
  'admitter',
  'saturation-detector',
  'fairness-policy',
  'ordering-policy',
  'usage-limit-policy',
  'parser',
  'data-source',
  'request-hook',
])

export class UserPluginError extends Error {
  readonly code = 'user-plugin'

  constructor(file: string, why: string, cause?: unknown) {
    super(`${file}: ${why}`, { cause })
    this.name = 'UserPluginError'
  }
}

/**
 * Imports the modules, in this order, and registers the plug-ins that their function `plugins` returns. To be done on every thread before
 * a plan names them, and on the main thread before a configuration is read. A module that was loaded already is not loaded again.
 *
 * @throws UserPluginError for a module that can't be loaded, exports no such function, or brings a type that exists already
 */
export async function loadUserPlugins(files: readonly string[]): Promise<void> {
  for (const file of files) {
    const path = resolve(file)
    if (loaded.has(path)) continue
    const made = await pluginsOf(file, path)
    for (const plugin of made) {
      const why =
        faultOf(plugin) ??
        (registerPlugin(plugin as PluginType) ? undefined : `"${(plugin as PluginType).type}" exists already`)
      if (why !== undefined) throw new UserPluginError(file, why)
    }
    loaded.add(path)
  }
}

const loaded = new Set<string>()

async function pluginsOf(file: string, path: string): Promise<readonly unknown[]> {
  const found = await stat(path).catch(() => undefined)
  if (found?.isFile() !== true)
    throw new UserPluginError(file, found === undefined ? 'there is no such file' : 'is no file')
  try {
    const { plugins } = (await import(pathToFileURL(path).href)) as { readonly plugins?: Plugins }
    const made: unknown = plugins?.(PLUGIN_KIT)
    if (Array.isArray(made)) return made
  } catch (error) {
    throw new UserPluginError(file, whyOf(error, path), error)
  }
  throw new UserPluginError(file, 'must export a function "plugins" that returns a list of plug-ins')
}

/** In one line; of a syntax error with its line, which node says in the stack alone. */
function whyOf(error: unknown, path: string): string {
  if (!(error instanceof Error)) return String(error)
  const [message] = error.message.trim().split('\n') as [string]
  const head = error.stack?.split('\n', 1)[0] ?? ''
  const line = error instanceof SyntaxError && head.includes(path) ? /:(\d+)$/.exec(head)?.[1] : undefined
  return line === undefined ? message : `line ${line}: ${message}`
}

/** What keeps a value from being a plug-in type; undefined: nothing. */
function faultOf(plugin: unknown): string | undefined {
  if (typeof plugin !== 'object' || plugin === null) return 'a plug-in is no object: make it with the kit'
  const { type, role, parameters } = plugin as Partial<PluginType>
  if (typeof type !== 'string' || !/^[a-z][a-z0-9.-]{0,62}$/.test(type))
    return `"${String(type)}" is no name for a plug-in type: small letters, digits, "-" and "."`
  if (role === undefined || !ROLES.has(role)) return `"${type}" has the role "${String(role)}": make it with the kit`
  if (typeof parameters?.safeParse !== 'function') return `"${type}" has no schema for its parameters`
  return undefined
}
