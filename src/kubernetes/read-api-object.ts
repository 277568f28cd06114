import type { ConfigObject } from '../config/kinds/registry.ts'
import type { FieldPath, Problem } from '../config/problem.ts'
import { readDocument } from '../config/read-document.ts'
import type { Kept } from './reflector-options.ts'
import { apiVersionOf, type Resource } from './resources.ts'

/** An object of the API server as the configuration reads it. */
export interface ApiObject {
  /** Undefined: it can't be used; `warnings` tell why. */
  readonly item: ConfigObject | undefined
  readonly warnings: readonly Problem[]
}

const ORIGIN = { file: 'kubernetes' }

/**
 * Reads an object with the schema of its kind, more leniently than a file's: a field that we don't know is left out, because the
 * server has already accepted it and its CRD may be newer than we are. An object that can't be used is left out alone: the API
 * server has many writers, and one of them must not stop the others.
 */
export function readApiObject(object: unknown, resource: Resource): Kept<ApiObject> {
  const value = strip(object, resource)
  const fingerprint = JSON.stringify(value)
  const locate = () => ORIGIN
  const warnings: Problem[] = []
  let read = readDocument({ value, locate })
  const unknown = read.problems.filter(problem => problem.code === 'unknown-field' && problem.path !== undefined)
  if (unknown.length > 0) {
    for (const problem of unknown) {
      remove(value, problem.path!)
      warnings.push({ ...problem, severity: 'warning', message: `${problem.message}; it is left out` })
    }
    read = readDocument({ value, locate })
  }
  for (const problem of read.problems)
    warnings.push({ ...problem, severity: 'warning', message: `${problem.message}; the object is left out` })
  const item = read.items[0]
  return {
    value: { item: item === undefined || item.kind === 'EnvoyResource' ? undefined : item, warnings },
    fingerprint,
  }
}

/** A copy without what changes all the time and means nothing to us; with the type, which objects in lists may lack. */
function strip(object: unknown, resource: Resource): Record<string, unknown> {
  const { status: _status, metadata, ...rest } = object as Record<string, unknown>
  const {
    name,
    namespace,
    labels = {},
    annotations = {},
    creationTimestamp,
    generation,
  } = (metadata ?? {}) as Record<string, unknown>
  return {
    ...(structuredClone(rest) as Record<string, unknown>),
    apiVersion: apiVersionOf(resource),
    kind: resource.kind,
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      labels,
      annotations,
      creationTimestamp,
      ...(generation === undefined ? {} : { generation }),
    },
  }
}

function remove(value: unknown, path: FieldPath): void {
  let parent = value
  for (const part of path.slice(0, -1)) {
    if (typeof parent !== 'object' || parent === null) return
    parent = Reflect.get(parent, part)
  }
  const last = path.at(-1)
  if (typeof parent === 'object' && parent !== null && last !== undefined) Reflect.deleteProperty(parent, last)
}
