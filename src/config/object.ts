import type { FieldPath, Position, Problem } from './problem.ts'

export interface ObjectMeta {
  readonly name: string
  /** `default` where the text names none. */
  readonly namespace: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  /** RFC 3339; decides which of two equal routes is older. Absent in most files. */
  readonly creationTimestamp?: string
  readonly generation?: number
}

/** Where an object comes from. */
export interface Origin {
  locate(path: FieldPath): Position
}

/** A validated object with what every kind has. `Spec` holds the kind's own top-level fields, e.g. `{ spec: … }`. */
export type KindObject<Kind extends string, Body> = {
  readonly kind: Kind
  readonly metadata: ObjectMeta
  readonly origin: Origin
} & Body

/** `namespace/name` */
export function keyOf(object: { readonly metadata: ObjectMeta }): string {
  return `${object.metadata.namespace}/${object.metadata.name}`
}

/** A problem with a field of an object, at its place in the text. */
export function problemAt(
  object: { readonly kind: string; readonly metadata: ObjectMeta; readonly origin: Origin },
  severity: Problem['severity'],
  code: string,
  path: FieldPath,
  message: string,
): Problem {
  return {
    severity,
    code,
    message,
    position: object.origin.locate(path),
    object: `${object.kind} ${keyOf(object)}`,
    path,
  }
}
