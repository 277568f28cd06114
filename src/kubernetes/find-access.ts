import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { AccessError, type ClusterAccess } from './cluster-access.ts'
import { loadKubeconfig } from './kubeconfig.ts'

/** Where a pod finds its service account. */
const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount'

/** Reads access anew; called again when the server refuses us, because tokens and certificates are replaced in their files. */
export type AccessLoader = () => Promise<ClusterAccess>

/**
 * Where access comes from, in the order of Kubernetes' own clients: the named file, `$KUBECONFIG`, the pod's service account,
 * `~/.kube/config`. Whether it is usable shows when the loader is called.
 */
export function findAccess(
  kubeconfig: string | undefined,
  env: NodeJS.ProcessEnv,
  folder = SERVICE_ACCOUNT,
): AccessLoader {
  if (kubeconfig !== undefined) return () => loadKubeconfig(kubeconfig)
  const fromEnv = env['KUBECONFIG']
  if (fromEnv !== undefined && fromEnv !== '') {
    const files = fromEnv.split(delimiter).filter(file => file !== '')
    if (files.length > 1)
      return () => Promise.reject(new AccessError('KUBECONFIG names several files: name one with --kubeconfig'))
    return () => loadKubeconfig(files[0]!)
  }
  const [host, port] = [env['KUBERNETES_SERVICE_HOST'], env['KUBERNETES_SERVICE_PORT']]
  if (host !== undefined && host !== '') return () => loadServiceAccount(host, port ?? '443', folder)
  return () => loadKubeconfig(join(homedir(), '.kube', 'config'))
}

async function loadServiceAccount(host: string, port: string, folder: string): Promise<ClusterAccess> {
  const read = async (name: string) => {
    try {
      return await readFile(join(folder, name), 'utf8')
    } catch (error) {
      throw new AccessError(`the pod's service account can't be read: ${(error as Error).message}`, { cause: error })
    }
  }
  const namespace = await readFile(join(folder, 'namespace'), 'utf8').catch(() => '')
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    ca: await read('ca.crt'),
    token: (await read('token')).trim(),
    insecure: false,
    ...(namespace.trim() === '' ? {} : { namespace: namespace.trim() }),
  }
}
