import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from '@jest/globals'
import { readTexts } from '../../config/object-set.ts'
import type { EnvoyResources } from '../../config/envoy-resources.ts'
import { compile } from '../compile.ts'
import { ageOf, type EnvoyAge, resourcesFor } from './older-envoys.ts'

const folder = fileURLToPath(new URL('../testdata/', import.meta.url))

function compiled(name: string): EnvoyResources {
  const set = readTexts([{ file: name, text: readFileSync(folder + name, 'utf8') }])
  return compile(set.items, { extProc: { addresses: ['127.0.0.1:9002'] } }).envoy
}

/** Values of every field of this name, wherever it is. */
function valuesOf(value: unknown, field: string): unknown[] {
  if (value === null || typeof value !== 'object') return []
  return Object.entries(value).flatMap(([key, inner]) => [
    ...(key === field ? [inner as unknown] : []),
    ...valuesOf(inner, field),
  ])
}

const release = (majorNumber: number, minorNumber: number) => ({ majorNumber, minorNumber })

describe('ageOf', () => {
  it.each([
    [undefined, 'current'],
    [release(2, 0), 'current'],
    [release(1, 41), 'current'],
    [release(1, 38), 'current'],
    [release(1, 37), 'before-1.38'],
    [release(1, 36), 'before-1.37'],
    [release(1, 35), 'too-old'],
    [release(0, 40), 'too-old'],
  ] as const)('%j is %s', (version, age) => {
    expect(ageOf(version)).toBe(age)
  })
})

describe('resourcesFor', () => {
  const files = readdirSync(folder).filter(name => name.endsWith('.yaml') && !name.endsWith('.golden.yaml'))

  it.each(files)('%s: current Envoys get what was compiled, older ones what they know', name => {
    const resources = compiled(name)
    const before = JSON.stringify(resources)
    expect(resourcesFor('current', resources)).toBe(resources)
    for (const age of ['before-1.38', 'before-1.37'] as const) {
      const older = resourcesFor(age, resources)
      for (const field of ['selectedHostKey', 'allowContentLengthHeader', 'bodyFormat'])
        expect([field, valuesOf(older, field)]).toEqual([field, []])
      // Unchanged resources keep their encoding.
      expect(older.endpoints).toBe(resources.endpoints)
      expect(older.clusters[0]).toBe(resources.clusters[0])
    }
    expect(JSON.stringify(resources)).toBe(before)
  })

  const buffers = ({ listeners }: EnvoyResources) => [
    valuesOf(listeners, 'perConnectionBufferLimitBytes'),
    // Listeners have no other windows.
    valuesOf(listeners, 'initialStreamWindowSize'),
  ]

  it('1.36 holds bodies in the buffer of the connection (HTTP/1) or stream (HTTP/2)', () => {
    const resources = compiled('minimal.yaml')
    const cap = 32 * 1024 * 1024
    const count = resources.listeners.length
    expect(count).toBeGreaterThan(0)
    expect(buffers(resourcesFor('before-1.37', resources))).toEqual([Array(count).fill(cap), Array(count).fill(cap)])
    expect(buffers(resourcesFor('before-1.38', resources))).toEqual([[], []])
  })

  const manager = (more: object) => ({
    name: 'l',
    filterChains: [
      {
        filters: [
          {
            name: 'hcm',
            typedConfig: {
              '@type':
                'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
              ...more,
            },
          },
        ],
      },
    ],
  })
  const ours = { httpFilters: [{ name: 'signalbox.ext_proc' }], http2ProtocolOptions: { maxConcurrentStreams: 7 } }
  const looks = (limit: string) => ({
    name: 'r',
    virtualHosts: [
      { routes: [{ typedPerFilterConfig: { 'signalbox.ext_proc': {} }, requestBodyBufferLimit: limit }] },
      { routes: [{ requestBodyBufferLimit: '99000000' }] },
    ],
  })
  const none: EnvoyResources = { clusters: [], endpoints: [], listeners: [], routes: [], secrets: [], others: [] }

  it('leaves listeners alone that others wrote, and other settings of ours', () => {
    const theirs = manager({ httpFilters: [{ name: 'router' }] })
    const resources = { ...none, listeners: [theirs, manager(ours)], routes: [looks('2000000')] }
    const older = resourcesFor('before-1.37', resources)
    expect(older.listeners[0]).toBe(theirs)
    expect(valuesOf(older.listeners[1], 'http2ProtocolOptions')).toEqual([
      { maxConcurrentStreams: 7, initialStreamWindowSize: 2_000_000 },
    ])
    expect(older.listeners[1]!['perConnectionBufferLimitBytes']).toBe(2_000_000)
  })

  it('asks for no more than Envoy accepts', () => {
    const older = resourcesFor('before-1.37', { ...none, listeners: [manager(ours)], routes: [looks('9000000000')] })
    expect(buffers(older)).toEqual([[4_294_967_295], [2_147_483_647]])
  })

  it.each(['before-1.38', 'before-1.37'] satisfies EnvoyAge[])(
    '%s: text of direct responses becomes their body',
    age => {
      const text = (inlineString: string, contentType?: string) => ({
        directResponse: {
          status: 404,
          bodyFormat: { textFormatSource: { inlineString }, ...(contentType && { contentType }) },
        },
      })
      const commands = text('%PROTOCOL%')
      const routes = [
        {
          name: 'json',
          ...text('{"a":"100%%"}', 'application/json'),
          responseHeadersToAdd: [{ header: { key: 'allow' } }],
        },
        { name: 'plain', ...text('no') },
        { name: 'commands', ...commands },
        { name: 'body', directResponse: { status: 403, body: { inlineString: 'x' } } },
      ]
      const type = (value: string) => ({
        header: { key: 'content-type', value },
        appendAction: 'OVERWRITE_IF_EXISTS_OR_ADD',
      })
      const older = resourcesFor(age, { ...none, routes: [{ name: 'r', virtualHosts: [{ routes }] }] })
      expect(older.routes).toEqual([
        {
          name: 'r',
          virtualHosts: [
            {
              routes: [
                {
                  name: 'json',
                  directResponse: { status: 404, body: { inlineString: '{"a":"100%"}' } },
                  responseHeadersToAdd: [{ header: { key: 'allow' } }, type('application/json')],
                },
                {
                  name: 'plain',
                  directResponse: { status: 404, body: { inlineString: 'no' } },
                  responseHeadersToAdd: [type('text/plain')],
                },
                { name: 'commands', ...commands },
                { name: 'body', directResponse: { status: 403, body: { inlineString: 'x' } } },
              ],
            },
          ],
        },
      ])
    },
  )
})
