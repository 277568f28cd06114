import { loadUserPlugins } from '../inference/scheduling/plugins/user-plugins.ts'
import { startsWith } from './serve/start-error.ts'

/** Loads the modules that `--plugins` names. @throws StartError */
export async function loadPlugins(files: readonly string[]): Promise<void> {
  await startsWith('--plugins', () => loadUserPlugins(files))
}
