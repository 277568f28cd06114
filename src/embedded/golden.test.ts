import { readdirSync, readFileSync } from 'node:fs'
import { expect, it } from '@jest/globals'
import { parse } from 'yaml'
import type { EnvoyResources } from '../config/envoy-resources.ts'
import { readConfiguration } from './configuration.ts'

const folder = new URL('../compile/testdata/', import.meta.url)

it.each(readdirSync(folder).filter(name => name.endsWith('.golden.yaml')))(
  'serves all of the compiled configuration %s',
  name => {
    const golden = parse(readFileSync(new URL(name, folder), 'utf8')) as Partial<EnvoyResources> & {
      envoy?: Partial<EnvoyResources>
    }
    const envoy = golden.envoy ?? golden
    const empty = { clusters: [], endpoints: [], listeners: [], routes: [], secrets: [], others: [] }
    const { listeners, routeTables, clusters } = readConfiguration({ ...empty, ...envoy })
    expect(listeners.length).toBe(envoy.listeners?.length ?? 0)
    expect(routeTables.size).toBe(envoy.routes?.length ?? 0)
    expect(clusters.length).toBe(envoy.clusters?.length ?? 0)
  },
)
