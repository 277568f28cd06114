import { describe, expect, it } from '@jest/globals'
import { readTexts } from '../config/object-set.ts'
import { formatProblem } from '../config/problem.ts'
import { compile, type CompileOptions } from './compile.ts'

const OPTIONS: CompileOptions = { extProc: { addresses: ['127.0.0.1:1'] } }

function compileText(text: string, options = OPTIONS) {
  const set = readTexts([{ file: 'f.yaml', text }])
  expect(set.errors.map(formatProblem)).toEqual([])
  return compile(set.items, options)
}

const gateway = (name: string, listeners: string) =>
  `apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: ${name}}\nspec:\n  listeners: [${listeners}]\n`
const route = (spec: string, metadata = '{name: r}') =>
  `apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: ${metadata}\nspec: ${spec}\n`
const pool = (metadata: string, extra = '') =>
  `apiVersion: inference.networking.k8s.io/v1\nkind: InferencePool\nmetadata: ${metadata}\nspec: {selector: {matchLabels: {app: x}}, targetPorts: [{number: 1}]${extra}}\n`
const backend = (address: string) =>
  `apiVersion: signalbox.dev/v1alpha1\nkind: SignalboxBackend\nmetadata: {name: b, labels: {app: x}}\nspec: {endpoints: [{address: "${address}", port: 8000}]}\n`
const parameters = (spec: string) =>
  `apiVersion: signalbox.dev/v1alpha1\nkind: SignalboxParameters\nmetadata: {name: p}\nspec: ${spec}\n`
const TO_POOL =
  '{parentRefs: [{name: a}], rules: [{backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: p}]}]}'
const HTTP = '{name: http, port: 80, protocol: HTTP}'
const join = (...documents: string[]) => documents.join('---\n')

const errorsOf = (text: string, options = OPTIONS) => compileText(text, options).errors.map(formatProblem)
const warningsOf = (text: string) => compileText(text).warnings.map(formatProblem)

describe('errors refuse the configuration', () => {
  it('two Gateways on one port, HTTP and HTTPS on one port, a host name twice: each is reported', () => {
    const listeners = `${HTTP}, {name: b, port: 80, protocol: HTTPS}, {name: c, port: 80, protocol: HTTP}`
    expect(errorsOf(join(gateway('a', listeners), gateway('z', HTTP)))).toEqual([
      expect.stringMatching(/^f.yaml:5:.*already used with the protocol HTTP \(f.yaml:5:.*\(port-conflict\)/),
      expect.stringMatching(
        /^f.yaml:5:.*listener "http" has the same port and no hostname either \(hostname-conflict\)/,
      ),
      expect.stringMatching(/^f.yaml:11:.*already used by Gateway default\/a \(f.yaml:5:.*\(port-conflict\)/),
    ])
  })

  it('a picked endpoint with a host name', () => {
    expect(errorsOf(join(gateway('a', HTTP), route(TO_POOL), pool('{name: p}'), backend('host.example')))).toEqual([
      expect.stringContaining('needs an IP address, not the host name "host.example" (not-an-ip)'),
    ])
  })

  it('unknown scorers and annotation values', () => {
    const text = join(
      gateway('a', HTTP),
      route(TO_POOL, '{name: r, annotations: {signalbox.dev/model-fact: all, signalbox.dev/body: streamed}}'),
      pool('{name: p, annotations: {signalbox.dev/unknown-models: forward}}'),
      backend('10.0.0.1'),
      parameters('{scheduling: {scorers: [{type: que-scorer}]}}'),
    )
    expect(errorsOf(text)).toEqual([
      expect.stringContaining('must be first or whole, not "all"'),
      expect.stringContaining('must be look or full-duplex, not "streamed"'),
      expect.stringContaining('must be Reject or Forward, not "forward"'),
      expect.stringContaining('there is no scorer "que-scorer" (did you mean "queue-scorer"?)'),
    ])
  })

  it('a default pool that is not there', () => {
    expect(errorsOf(gateway('a', HTTP), { ...OPTIONS, defaultPool: 'default/p' })).toEqual([
      expect.stringContaining('--pool default/p: no such InferencePool; there is none'),
    ])
  })

  it('adapters with two base models, lists that are none', () => {
    const map = (name: string, base: string, adapters: string) =>
      `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}, labels: {inference.networking.k8s.io/bbr-managed: "true"}}\ndata: {baseModel: "${base}", adapters: "${adapters}"}\n`
    expect(errorsOf(join(map('a', 'x', '[l]'), map('b', 'y', '[l]'), map('c', '', ''), map('d', 'z', 'k: v')))).toEqual(
      [
        expect.stringContaining('"l" already has the base model "x"'),
        expect.stringContaining('needs data.baseModel'),
        expect.stringContaining('must be a YAML list'),
      ],
    )
  })

  it('raw resources that take a generated name', () => {
    const raw = '"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster\nname: signalbox_ext_proc\n'
    expect(errorsOf(raw)).toEqual([expect.stringContaining('choose another name (duplicate-object)')])
  })

  it('a mirror to a pool', () => {
    const filters =
      '[{type: RequestMirror, requestMirror: {backendRef: {group: inference.networking.k8s.io, kind: InferencePool, name: p}}}]'
    const text = route(`{parentRefs: [{name: a}], rules: [{filters: ${filters}}]}`)
    expect(errorsOf(join(gateway('a', HTTP), text, pool('{name: p}'), backend('10.0.0.1')))).toEqual([
      expect.stringContaining('can not be mirrored to'),
    ])
  })
})

describe('references that lead nowhere are warnings and statuses', () => {
  it.each([
    ['no such Gateway', '{parentRefs: [{name: nope}], rules: []}', /there is no Gateway default\/nope/],
    ['no such listener', '{parentRefs: [{name: a, sectionName: x}], rules: []}', /no listener with that name/],
    [
      'no common host name',
      '{parentRefs: [{name: b}], hostnames: [x.org], rules: []}',
      /no listener has a host name of the route/,
    ],
    [
      'an unknown kind of backend',
      '{parentRefs: [{name: a}], rules: [{backendRefs: [{group: x, kind: Bucket, name: y}]}]}',
      /Bucket \(group "x"\) can't be a backend/,
    ],
    [
      'a Service without a port',
      '{parentRefs: [{name: a}], rules: [{backendRefs: [{name: y}]}]}',
      /there is no Service default\/y/,
    ],
    [
      'a header that is removed',
      '{parentRefs: [{name: a}], rules: [{matches: [{headers: [{name: X-Signalbox-Target, value: x}]}]}]}',
      /never matches/,
    ],
    ['no parent', '{rules: []}', /the route names no Gateway/],
  ])('%s', (_, spec, message) => {
    const gateways = [gateway('a', HTTP), gateway('b', '{name: http, port: 81, protocol: HTTP, hostname: y.org}')]
    const result = compileText(join(...gateways, route(spec)))
    expect(result.errors).toEqual([])
    expect(result.warnings.map(formatProblem).join('\n')).toMatch(message)
  })

  it('a route of another namespace needs the listener to allow it', () => {
    const result = compileText(
      join(
        gateway('a', HTTP),
        route('{parentRefs: [{name: a, namespace: default}], rules: []}', '{name: r, namespace: other}'),
      ),
    )
    expect(result.statuses.find(status => status.kind === 'HTTPRoute')).toMatchObject({
      parents: [{ conditions: [{ type: 'Accepted', status: 'False', reason: 'NotAllowedByListeners' }, {}] }],
    })
  })

  it('a pool without endpoints, and one without routes', () => {
    expect(warningsOf(join(gateway('a', HTTP), route(TO_POOL), pool('{name: p}'), pool('{name: q}')))).toEqual([
      expect.stringContaining('InferencePool default/p: spec.selector: no ready pod and no endpoint'),
      expect.stringContaining('InferencePool default/q: no route leads to this pool'),
    ])
  })
})

describe('when Signalbox is away', () => {
  const text = (poolSpec: string, spec = TO_POOL, settings = '{}') =>
    join(gateway('a', HTTP), route(spec), pool('{name: p}', poolSpec), backend('10.0.0.1'), parameters(settings))
  const OPEN = ', endpointPickerRef: {name: x, failureMode: FailOpen}'
  const CLOSE = ', endpointPickerRef: {name: x, failureMode: FailClose}'
  const entryRoute = (yaml: string) => {
    const { envoy, plan } = compileText(yaml)
    const entry = plan.entries.find(item => !item.listModels)!
    const routes = JSON.stringify(envoy.routes)
    const own: unknown = JSON.parse(routes)[0].virtualHosts[0].routes.find(
      (item: { name: string }) => item.name === entry.id,
    )
    return own as {
      route?: { cluster: string }
      typedPerFilterConfig: Record<string, { overrides: { failureModeAllow: boolean } }>
    }
  }

  it.each([
    ['the default is closed', '', '{}', false],
    ['the pool may open it', OPEN, '{}', true],
    ['the parameters may open it', '', '{failureMode: FailOpen}', true],
    ['the pool goes first', CLOSE, '{failureMode: FailOpen}', false],
  ])('%s', (_, poolSpec, settings, open) => {
    const own = entryRoute(text(poolSpec, TO_POOL, settings))
    expect(own.typedPerFilterConfig['signalbox.ext_proc']!.overrides.failureModeAllow).toBe(open)
    if (open) expect(own.route).toMatchObject({ cluster: 'pool/default/p' })
    else expect(own.route).toMatchObject({ cluster: 'signalbox_undecided' })
  })

  it.each([
    ['closed', CLOSE, 'signalbox_undecided'],
    ['open', OPEN, 'pool/default/p'],
  ])('a rule before the catch-all whose pool is %s', (_, first, cluster) => {
    // Without us the catch-all would take what the first rule's pool must not lose control of.
    const rules =
      '{parentRefs: [{name: a}], rules: [{matches: [{headers: [{name: x-gateway-model-name, value: m}]}], backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: q}]}, {backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: p}]}]}'
    const yaml = join(
      gateway('a', HTTP),
      route(rules),
      pool('{name: p}', OPEN),
      pool('{name: q}', first),
      backend('10.0.0.1'),
    )
    expect(entryRoute(yaml).route).toMatchObject({ cluster })
  })

  it('stays closed where only the body could tell the pool', () => {
    const spec = TO_POOL.replace(
      '{backendRefs',
      '{matches: [{headers: [{name: X-Gateway-Model-Name, value: m}]}], backendRefs',
    )
    expect(entryRoute(text(OPEN, spec)).route).toMatchObject({ cluster: 'signalbox_undecided' })
  })
})

describe('identity', () => {
  const base = join(gateway('a', HTTP), route(TO_POOL), pool('{name: p}'), backend('10.0.0.1'))
  it('an entry keeps its id while its content stays, and changes it with it', () => {
    const ids = (text: string) => compileText(text).plan.entries.map(entry => entry.id)
    expect(ids(base)).toEqual(ids(join(base, backend('10.0.0.2').replace('name: b,', 'name: other,'))))
    const changed = ids(join(base, parameters('{limits: {maxRequestBodyBytes: 2097152}}')))
    expect(changed).toHaveLength(ids(base).length)
    for (const id of changed) expect(ids(base)).not.toContain(id)
  })

  it('listeners keep their bytes when routes change', () => {
    const listeners = (text: string) => JSON.stringify(compileText(text).envoy.listeners)
    expect(listeners(base)).toBe(listeners(gateway('a', HTTP)))
  })

  it('the default entry is for gateways that are not ours', () => {
    const { plan } = compileText(base, { ...OPTIONS, defaultPool: 'default/p' })
    const entry = plan.entries.find(item => item.id === plan.defaultEntry)
    expect(entry).toMatchObject({ attach: 'gateway', body: 'full-duplex', listModels: true, messageTimeoutMs: 0 })
  })
})

describe('TRACE', () => {
  const traced = (matches: string) =>
    compileText(join(gateway('a', HTTP), route(`{parentRefs: [{name: a}], rules: [{matches: [${matches}]}]}`)))
      .envoy.routes.flatMap(({ virtualHosts }) => JSON.stringify(virtualHosts))
      .join('')
      .includes('no-trace')

  it('is refused, unless a rule asks for it', () => {
    expect(traced('{path: {value: /a}}')).toBe(true)
    expect(traced('{path: {value: /a}, method: GET}')).toBe(true)
    expect(traced('{path: {value: /a}, method: TRACE}')).toBe(false)
  })
})

describe('annotations of ours', () => {
  const annotated = (annotation: string) => `{name: r, annotations: {${annotation}}}`
  const ofRoute = (annotation: string) => errorsOf(route('{}', annotated(annotation)))

  it('have names that mean something', () => {
    expect(ofRoute('signalbox.dev/model-facts: whole')).toEqual([
      expect.stringMatching(
        /no annotation "signalbox.dev\/model-facts" \(did you mean "signalbox.dev\/model-fact"\?\) \(unknown-annotation\)$/,
      ),
    ])
    expect(ofRoute('signalbox.dev/constructor: x')).toEqual([expect.stringContaining('no annotation')])
    expect(ofRoute('example.com/model-fact: whole')).toEqual([])
  })

  it('have values that mean something', () => {
    expect(ofRoute('signalbox.dev/model-fact: hole')).toEqual([
      expect.stringContaining('must be first or whole, not "hole" (did you mean "whole"?)'),
    ])
    for (const value of ['0', '-1', 'many', '', '10mb'])
      for (const name of ['max-in-flight', 'max-held-bytes'])
        expect(errorsOf(pool(`{name: p, annotations: {signalbox.dev/${name}: "${value}"}}`))).toEqual([
          expect.stringContaining(`must be a quantity such as 500 or 64Mi, at least 1, not "${value}"`),
        ])
    expect(errorsOf(pool('{name: p, annotations: {signalbox.dev/unknown-models: reject}}'))).toEqual([
      expect.stringContaining('(did you mean "Reject"?)'),
    ])
  })

  it('stand where they have an effect', () => {
    const text = join(gateway('a', HTTP).replace('{name: a}', annotated('signalbox.dev/body: look')), route('{}'))
    expect(errorsOf(text)).toEqual([expect.stringContaining('it belongs on a HTTPRoute (misplaced-annotation)')])
  })
})

describe('a backendRef', () => {
  const refers = (ref: string) => {
    const text = join(
      gateway('a', HTTP),
      pool('{name: p}'),
      backend('10.0.0.1'),
      route(`{parentRefs: [{name: a}], rules: [{backendRefs: [${ref}]}]}`),
    )
    return warningsOf(text).filter(line => line.includes('unresolved-reference'))
  }

  it.each([
    ['{kind: InferencePool, name: p}', 'it needs group: inference.networking.k8s.io'],
    ['{kind: SignalboxBackend, name: b}', 'it needs group: signalbox.dev'],
    ['{kind: SignalboxBackend, group: signalbox.io, name: b}', 'it needs group: signalbox.dev'],
    ['{kind: Service, group: core, name: p, port: 1}', 'a Service has no group'],
    ['{name: p, port: 8000}', 'write kind: InferencePool, group: inference.networking.k8s.io'],
    ['{name: b}', 'write kind: SignalboxBackend, group: signalbox.dev'],
    ['{kind: Pool, name: b}', 'write kind: SignalboxBackend, group: signalbox.dev'],
  ])('%s: a hint', (ref, hint) => {
    expect(refers(ref)).toEqual([expect.stringContaining(hint)])
  })

  it('that leads nowhere at all gets none', () => {
    expect(refers('{name: x, port: 1}')).toEqual([expect.stringContaining('there is no Service default/x (')])
  })
})
