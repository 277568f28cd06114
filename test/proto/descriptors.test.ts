/**
 * Our `proto/` against Envoy's own descriptors: same full name ⇒ same number, type, cardinality, oneof. The descriptors are not
 * part of this repository, so without them this suite only says that it did nothing.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import {
  createFileRegistry,
  type DescField,
  type DescMessage,
  type FileRegistry,
  fromBinary,
  ScalarType,
} from '@bufbuild/protobuf'
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { describe, expect, it } from '@jest/globals'
import { generatedFiles, messagesByName } from '../../src/xds/generated-files.ts'

const protoFolder = new URL('../../proto/', import.meta.url)
const envoyDescriptors = new URL('../../../shared/envoy-api/envoy-v1.39.binpb', import.meta.url)

/** Files that the descriptor set does not hold; their numbers were taken from the projects' own .proto files. */
const unchecked: readonly string[] = [
  'envoy/extensions/access_loggers/stream/v3/stream',
  'envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector',
  'envoy/extensions/http/early_header_mutation/header_mutation/v3/header_mutation',
  'envoy/extensions/load_balancing_policies/subset/v3/subset',
  'envoy/extensions/retry/host/previous_hosts/v3/previous_hosts',
  'grpc/health/v1/health',
]
/** Fields newer than v1.39, by full name. None yet. */
const newer: ReadonlySet<string> = new Set<string>()

const ours = generatedFiles().filter(file => !file.name.startsWith('google/protobuf/'))

/** Everything of a field that is on the wire or in its JSON. */
function shape(field: DescField): Record<string, unknown> {
  return {
    number: field.number,
    kind: field.fieldKind,
    element: field.fieldKind === 'list' ? field.listKind : field.fieldKind === 'map' ? field.mapKind : undefined,
    scalar: field.scalar === undefined ? undefined : ScalarType[field.scalar],
    mapKey: field.fieldKind === 'map' ? ScalarType[field.mapKey] : undefined,
    type: field.message?.typeName ?? field.enum?.typeName,
    oneof: field.oneof?.name,
    presence: field.presence,
    jsonName: field.jsonName,
  }
}

function compareMessage(message: DescMessage, envoy: FileRegistry, differences: string[]): void {
  const theirs = envoy.getMessage(message.typeName)
  if (theirs === undefined) {
    differences.push(`${message.typeName}: Envoy has no such message`)
    return
  }
  if (theirs.file.name !== message.file.name) differences.push(`${message.typeName}: in ${theirs.file.name} at Envoy`)
  for (const field of message.fields) {
    const fullName = `${message.typeName}.${field.name}`
    if (newer.has(fullName)) continue
    const counterpart = theirs.fields.find(other => other.name === field.name)
    const [mine, wanted] = [JSON.stringify(shape(field)), counterpart && JSON.stringify(shape(counterpart))]
    if (mine !== wanted) differences.push(`${fullName}: ours ${mine}, Envoy's ${wanted ?? 'missing'}`)
  }
  message.nestedMessages.forEach(nested => compareMessage(nested, envoy, differences))
}

describe('proto/', () => {
  it('is registered completely', () => {
    const onDisk = readdirSync(protoFolder, { recursive: true, encoding: 'utf8' })
      // Those of our own are nobody else's to compare with.
      .filter(path => path.endsWith('.proto') && !path.startsWith('signalbox/'))
      .map(path => path.slice(0, -'.proto'.length))
    expect(ours.map(file => file.name).sort()).toEqual(onDisk.sort())
  })

  if (!existsSync(envoyDescriptors)) {
    it('is NOT compared with Envoy', () => {
      process.stderr.write(
        `SKIPPED: ${envoyDescriptors.pathname} is missing, so proto/ was not compared with Envoy's descriptors\n`,
      )
    })
    return
  }

  const envoy = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(envoyDescriptors)))
  const checked = ours.filter(file => !unchecked.includes(file.name))

  it('has the messages and fields of Envoy', () => {
    const differences: string[] = []
    for (const file of checked) for (const message of file.messages) compareMessage(message, envoy, differences)
    expect(differences).toEqual([])
  })

  it('has the enums of Envoy', () => {
    const differences: string[] = []
    const nested = [...messagesByName(checked).values()].flatMap(message => message.nestedEnums)
    for (const ourEnum of [...checked.flatMap(file => file.enums), ...nested]) {
      const theirs = envoy.getEnum(ourEnum.typeName)
      for (const value of ourEnum.values) {
        const counterpart = theirs?.values.find(other => other.name === value.name)
        if (counterpart?.number !== value.number)
          differences.push(`${ourEnum.typeName}.${value.name} = ${value.number}`)
      }
    }
    expect(differences).toEqual([])
  })

  it('has the methods of Envoy', () => {
    for (const service of checked.flatMap(file => file.services)) {
      const theirs = envoy.getService(service.typeName)
      for (const method of service.methods) {
        const counterpart = theirs?.methods.find(other => other.name === method.name)
        expect([
          method.name,
          counterpart?.methodKind,
          counterpart?.input.typeName,
          counterpart?.output.typeName,
        ]).toEqual([method.name, method.methodKind, method.input.typeName, method.output.typeName])
      }
    }
  })

  it("knows which files Envoy's set lacks", () => {
    const known = new Set([...envoy.files].map(file => file.name))
    expect(
      ours
        .map(file => file.name)
        .filter(name => !known.has(name))
        .sort(),
    ).toEqual([...unchecked])
  })
})
