import type { PluginType } from './plugin-type.ts'

/** Plug-in types that users have brought, by name (./user-plugins.ts). For those who link types but must not know all of them. */
export const OWN_PLUGINS = new Map<string, PluginType>()
