/** Assembles a `DiscoveryResponse` from resources that are encoded already: bytes are copied once and nothing is parsed. */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import type { EncodedResource } from './registry.ts'

export interface DiscoveryAnswer {
  readonly typeUrl: string
  readonly version: string
  readonly nonce: string
  readonly resources: readonly EncodedResource[]
}

/** Field numbers of `envoy.service.discovery.v3.DiscoveryResponse` and `google.protobuf.Any`. */
const Response = { VERSION_INFO: 1, RESOURCES: 2, TYPE_URL: 4, NONCE: 5, CONTROL_PLANE: 6 } as const
const ControlPlane = { IDENTIFIER: 1 } as const
const AnyField = { TYPE_URL: 1, VALUE: 2 } as const

export function encodeDiscoveryResponse(answer: DiscoveryAnswer): Uint8Array {
  const head = new BinaryWriter()
  head.tag(Response.VERSION_INFO, WireType.LengthDelimited).string(answer.version)
  head.tag(Response.TYPE_URL, WireType.LengthDelimited).string(answer.typeUrl)
  head.tag(Response.NONCE, WireType.LengthDelimited).string(answer.nonce)
  const controlPlane = head.tag(Response.CONTROL_PLANE, WireType.LengthDelimited).fork()
  controlPlane.tag(ControlPlane.IDENTIFIER, WireType.LengthDelimited).string('signalbox').join()
  const parts: Uint8Array[] = [head.finish()]
  for (const resource of answer.resources) parts.push(anyPrefix(resource), resource.bytes)
  return Buffer.concat(parts)
}

const prefixes = new WeakMap<EncodedResource, Uint8Array>()

/** What stands before the resource's bytes: the tags and lengths of the list entry and the Any in it. Made once per resource. */
function anyPrefix(resource: EncodedResource): Uint8Array {
  let prefix = prefixes.get(resource)
  if (prefix === undefined) {
    const any = new BinaryWriter()
    any.tag(AnyField.TYPE_URL, WireType.LengthDelimited).string(resource.typeUrl)
    any.tag(AnyField.VALUE, WireType.LengthDelimited).uint32(resource.bytes.length)
    const anyHead = any.finish()
    const entry = new BinaryWriter()
      .tag(Response.RESOURCES, WireType.LengthDelimited)
      .uint32(anyHead.length + resource.bytes.length)
    prefix = Buffer.concat([entry.finish(), anyHead])
    prefixes.set(resource, prefix)
  }
  return prefix
}
