import type { ConfigObject } from '../config/kinds/registry.ts'
import { defaultParameters, type SignalboxParametersSpec } from '../config/kinds/signalbox-parameters.ts'
import { keyOf } from '../config/object.ts'
import type { ConfigItem, RawResource } from '../config/read-document.ts'
import { compareText } from '../config/problem.ts'

type OfKind<Kind extends ConfigObject['kind']> = Extract<ConfigObject, { readonly kind: Kind }>

/** The objects of one configuration by kind and name. All lists are in the order of `namespace/name`. */
export class ObjectIndex {
  readonly raw: readonly RawResource[]
  readonly parameters: SignalboxParametersSpec
  readonly #byKind = new Map<string, Map<string, ConfigObject>>()

  /** @param scrape settings of the command line, which go before those of the configuration */
  constructor(items: readonly ConfigItem[], scrape: Partial<SignalboxParametersSpec['scrape']> = {}) {
    const raw: RawResource[] = []
    const objects: ConfigObject[] = []
    for (const item of items) {
      if (item.kind === 'EnvoyResource') raw.push(item)
      else objects.push(item)
    }
    objects.sort((a, b) => compareText(keyOf(a), keyOf(b)))
    for (const object of objects) {
      let ofKind = this.#byKind.get(object.kind)
      if (ofKind === undefined) this.#byKind.set(object.kind, (ofKind = new Map()))
      ofKind.set(keyOf(object), object)
    }
    this.raw = raw.sort((a, b) => compareText(a.type, b.type) || compareText(a.name, b.name))
    const parameters = this.all('SignalboxParameters')[0]?.spec ?? defaultParameters()
    this.parameters = { ...parameters, scrape: { ...parameters.scrape, ...scrape } }
  }

  all<Kind extends ConfigObject['kind']>(kind: Kind): readonly OfKind<Kind>[] {
    return [...(this.#byKind.get(kind)?.values() ?? [])] as OfKind<Kind>[]
  }

  /** All objects, of every kind. */
  everything(): readonly ConfigObject[] {
    return [...this.#byKind.values()].flatMap(objects => [...objects.values()])
  }

  get<Kind extends ConfigObject['kind']>(kind: Kind, key: string): OfKind<Kind> | undefined {
    return this.#byKind.get(kind)?.get(key) as OfKind<Kind> | undefined
  }

  /** Whether ReferenceGrants let an object of one namespace refer to one of another (the same needs none). */
  granted(
    from: { readonly group: string; readonly kind: string; readonly namespace: string },
    to: { readonly group: string; readonly kind: string; readonly namespace: string; readonly name: string },
  ): boolean {
    if (from.namespace === to.namespace) return true
    return this.all('ReferenceGrant').some(
      grant =>
        grant.metadata.namespace === to.namespace &&
        grant.spec.from.some(
          item => item.group === from.group && item.kind === from.kind && item.namespace === from.namespace,
        ) &&
        grant.spec.to.some(
          item =>
            item.group === to.group && item.kind === to.kind && (item.name === undefined || item.name === to.name),
        ),
    )
  }
}
