import { describe, expect, it } from '@jest/globals'
import { readTexts } from './object-set.ts'
import { formatProblem } from './problem.ts'

const read = (text: string) => readTexts([{ file: 'f.yaml', text }])
const errorsOf = (text: string) => read(text).errors.map(formatProblem)
const head = (kind: string, apiVersion: string, name = 'n') =>
  `apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata: {name: ${name}}\n`
const GATEWAY = head('Gateway', 'gateway.networking.k8s.io/v1')
const ROUTE = head('HTTPRoute', 'gateway.networking.k8s.io/v1')
const POOL = head('InferencePool', 'inference.networking.k8s.io/v1')
const BACKEND = head('SignalboxBackend', 'signalbox.dev/v1alpha1')
const PARAMETERS = head('SignalboxParameters', 'signalbox.dev/v1alpha1')

describe('readTexts', () => {
  it('fills in defaults', () => {
    const { items, errors } = read(`${ROUTE}spec:\n  rules:\n  - backendRefs: [{name: s, port: 80}]\n`)
    expect(errors).toEqual([])
    const [route] = items
    expect(route).toMatchObject({
      kind: 'HTTPRoute',
      metadata: { name: 'n', namespace: 'default', labels: {}, annotations: {} },
      spec: {
        parentRefs: [],
        hostnames: [],
        rules: [
          { filters: [], backendRefs: [{ group: '', kind: 'Service', name: 's', port: 80, weight: 1, filters: [] }] },
        ],
      },
    })
  })

  it('reports all errors of all documents with place and path', () => {
    const text = `${GATEWAY}spec:
  listeners:
  - {name: http, port: "80", protocl: HTTP}
---
${ROUTE}spec:
  parentRefs: [{name: gw}]
  rules:
  - matches: [{path: {type: Prefix}}, {headers: [{name: "a b", value: x}]}]
    backendRefs: [{name: x, weigth: 1}]
    timeouts: {request: 10 s}
---
kind: Deploymint
apiVersion: apps/v1
`
    expect(errorsOf(text)).toEqual([
      'f.yaml:6:5: error: Gateway default/n: spec.listeners[0].protocol: is required: a string (required)',
      'f.yaml:6:24: error: Gateway default/n: spec.listeners[0].port: must be a number, not "80": take the quotes off (wrong-type)',
      'f.yaml:6:39: error: Gateway default/n: spec.listeners[0].protocl: unknown field "protocl" (did you mean "protocol"?) (unknown-field)',
      'f.yaml:14:29: error: HTTPRoute default/n: spec.rules[0].matches[0].path.type: must be Exact, PathPrefix or RegularExpression, not "Prefix" (invalid-value)',
      'f.yaml:14:57: error: HTTPRoute default/n: spec.rules[0].matches[1].headers[0].name: must be a valid header name (invalid-value)',
      'f.yaml:15:37: error: HTTPRoute default/n: spec.rules[0].backendRefs[0].weigth: unknown field "weigth" (did you mean "weight"?) (unknown-field)',
      'f.yaml:16:25: error: HTTPRoute default/n: spec.rules[0].timeouts.request: must be a duration like 10s, 1h30m or 250ms, not "10 s" (invalid-value)',
      'f.yaml:18:7: error: kind: unknown kind "Deploymint" (did you mean "Deployment"?) (unknown-kind)',
    ])
  })

  it.each([
    ['CORS', '{type: CORS, cors: {}}', /the filter CORS is not supported/],
    ['ExtensionRef', '{type: ExtensionRef, extensionRef: {name: x}}', /the filter ExtensionRef is not supported/],
    ['an unknown filter', '{type: UrlRewrite}', /did you mean "URLRewrite"/],
    [
      'a Host change',
      '{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: Host, value: x}]}}',
      /can not be changed/,
    ],
    [
      'a header break',
      '{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: "x\\ny"}]}}',
      /control characters/,
    ],
    [
      'a prefix rewrite of an exact path',
      '{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /x}}}',
      /needs every match of the rule to be a PathPrefix/,
    ],
  ])('refuses %s', (_, filter, message) => {
    const rule = `  - matches: [{path: {type: Exact, value: /a}}]\n    filters: [${filter}]\n`
    expect(errorsOf(`${ROUTE}spec:\n  rules:\n${rule}`)).toEqual([expect.stringMatching(message)])
  })

  it.each([
    ['relative', 'v1'],
    ['with a double slash', '/a//b'],
    ['with a dot segment', '/a/../b'],
    ['with an encoded slash', '/a%2Fb'],
    ['with a query', '/a?b'],
  ])('refuses a path that is %s: it would never match', (_, value) => {
    expect(errorsOf(`${ROUTE}spec:\n  rules:\n  - matches: [{path: {value: "${value}"}}]\n`)).toHaveLength(1)
  })

  it('refuses regular expressions that RE2 has not', () => {
    const errors = ['(?=a)b', '(a)\\\\1', '(', 'a[^]'].flatMap(value =>
      errorsOf(
        `${ROUTE}spec:\n  rules:\n  - matches: [{headers: [{type: RegularExpression, name: a, value: "${value}"}]}]\n`,
      ),
    )
    expect(errors).toHaveLength(4)
  })

  it('reads the alpha InferencePool, and says what belongs to it', () => {
    const alpha = head('InferencePool', 'inference.networking.x-k8s.io/v1alpha2')
    const { items, errors } = read(
      `${alpha}spec:\n  selector: {app: x}\n  targetPortNumber: 8000\n  extensionRef: {name: epp, failureMode: FailOpen}\n`,
    )
    expect(errors).toEqual([])
    expect(items[0]).toMatchObject({
      spec: {
        selector: { matchLabels: { app: 'x' } },
        targetPorts: [{ number: 8000 }],
        endpointPickerRef: { name: 'epp', port: { number: 9002 }, failureMode: 'FailOpen' },
      },
    })
    expect(
      errorsOf(
        `${POOL}spec:\n  selector: {matchLabels: {app: x}}\n  targetPorts: [{number: 1}]\n  extensionRef: {name: epp}\n`,
      ),
    ).toEqual([expect.stringContaining('v1 calls it endpointPickerRef')])
  })

  it('accepts IP addresses and host names of endpoints, nothing else', () => {
    const endpoint = (address: string) => errorsOf(`${BACKEND}spec:\n  endpoints: [{address: "${address}", port: 1}]\n`)
    for (const good of ['10.0.0.1', '::1', 'host', 'a.b.example']) expect(endpoint(good)).toEqual([])
    for (const bad of ['', '10.0.0.256:1', 'http://x', '[::1]', '*.example', '1.2.3.4/8'])
      expect(endpoint(bad)).toHaveLength(1)
  })

  it('checks the parameters', () => {
    expect(errorsOf(`${PARAMETERS}spec: {}\n`)).toEqual([])
    const bad =
      '{timeouts: {message: 1m, upload: 1s}, limits: {maxRequestBodyBytes: 1000}, accessLog: {type: syslog}, routing: {modelHeader: x-envoy-m}}'
    expect(errorsOf(`${PARAMETERS}spec: ${bad}\n`)).toHaveLength(4)
  })

  it('refuses a second object of a name, and a second SignalboxParameters', () => {
    const pool = `${POOL}spec: {selector: {matchLabels: {a: b}}, targetPorts: [{number: 1}]}\n`
    expect(errorsOf(`${pool}---\n${pool}`)).toEqual([
      expect.stringMatching(/^f.yaml:8:18: .*a second InferencePool default\/n; the first is at f.yaml:3:18/),
    ])
    const other = head('SignalboxParameters', 'signalbox.dev/v1alpha1', 'other')
    expect(errorsOf(`${PARAMETERS}spec: {}\n---\n${other}spec: {}\n`)).toEqual([
      expect.stringContaining('only one SignalboxParameters'),
    ])
  })

  it('expands lists, drops what an API server adds', () => {
    const text = `apiVersion: v1
kind: List
items:
- apiVersion: inference.networking.k8s.io/v1
  kind: InferencePool
  metadata: {name: a, uid: x, resourceVersion: "1", managedFields: [], creationTimestamp: null}
  spec: {selector: {matchLabels: {a: b}}, targetPorts: [{number: 1}]}
  status: {parents: []}
- kind: Bad
  apiVersion: v1
`
    const { items, errors } = read(text)
    expect(items).toHaveLength(1)
    expect(items[0]).not.toHaveProperty('status')
    expect(errors.map(formatProblem)).toEqual([expect.stringMatching(/^f.yaml:9:9: .*unknown kind "Bad"/)])
  })

  it('ignores foreign kinds with a warning, and refuses wrong versions', () => {
    const { errors, warnings } = read(
      'kind: Namespace\napiVersion: v1\n---\nkind: Gateway\napiVersion: gateway.networking.k8s.io/v1beta1\n',
    )
    expect(warnings.map(formatProblem)).toEqual([expect.stringMatching(/f.yaml:1:1: warning: Namespace means nothing/)])
    expect(errors.map(formatProblem)).toEqual([
      expect.stringContaining('Gateway is read as gateway.networking.k8s.io/v1, not as'),
    ])
  })

  it('decodes secrets', () => {
    const secret = `${head('Secret', 'v1')}type: kubernetes.io/tls\ndata: {tls.crt: aGk=}\nstringData: {tls.key: k}\n`
    expect(read(secret).items[0]).toMatchObject({ data: { 'tls.crt': 'hi', 'tls.key': 'k' } })
    expect(errorsOf(`${head('Secret', 'v1')}data: {a: "not base64!"}\n`)).toEqual([
      expect.stringContaining('must be base64'),
    ])
  })

  it('takes raw Envoy resources as they are', () => {
    const { items, errors } = read(
      '"@type": type.googleapis.com/a.B\nname: x\nfoo_bar: 1\n---\n"@type": x\nname: y\n---\n"@type": type.googleapis.com/a.B\n',
    )
    expect(items).toEqual([
      expect.objectContaining({
        kind: 'EnvoyResource',
        type: 'a.B',
        name: 'x',
        resource: { '@type': 'type.googleapis.com/a.B', name: 'x', foo_bar: 1 },
      }),
    ])
    expect(errors.map(error => error.code)).toEqual(['invalid-type', 'no-name'])
  })

  it.each([
    ['a scalar', 'hello\n', 'not-an-object'],
    ['a list', '- a\n', 'not-an-object'],
    ['no kind', 'a: 1\n', 'no-kind'],
    ['no apiVersion', 'kind: Gateway\n', 'no-api-version'],
    ['an empty file', ' \n', 'empty-file'],
  ])('refuses %s', (_, text, code) => {
    expect(read(text).errors.map(error => error.code)).toEqual([code])
  })

  it('survives hostile keys', () => {
    const set = read(
      `${BACKEND}__proto__: {polluted: true}\nspec: {endpoints: [{address: 1.1.1.1, port: 1, labels: {__proto__: x, constructor: y}}]}\n`,
    )
    expect(set.errors.length).toBeGreaterThan(0)
    expect(Reflect.get({}, 'polluted')).toBeUndefined()
  })
})
