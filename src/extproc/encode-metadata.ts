/** Hand encoder of `dynamic_metadata`, a part of `ProcessingResponse`: a `google.protobuf.Struct` that holds one for each namespace. */
import { type Decision, DESTINATION_ENDPOINT } from './decision.ts'
import type { WireWriter } from './wire.ts'

/** Field number in `ProcessingResponse`. */
const DYNAMIC_METADATA = 8
const ENDPOINT_SCORES = 'x-gateway-destination-endpoint-scores'

/** Numbers by namespace and key: what is known only when the response is. */
export type MetadataNumbers = ReadonlyMap<string, ReadonlyMap<string, number>>

/** `dynamic_metadata`: the endpoint list for `envoy.lb`, and the decision record for access logs. */
export function writeMetadata(out: WireWriter, decision: Decision): void {
  if (decision.endpoints === '' && decision.recordNames.length === 0) return
  out.open(DYNAMIC_METADATA)
  if (decision.endpoints !== '') {
    openNamespace(out, 'envoy.lb')
    writeStringField(out, DESTINATION_ENDPOINT, decision.endpoints)
    if (decision.scores.length > 0) writeScores(out, decision)
    closeNamespace(out)
  }
  if (decision.recordNames.length > 0) {
    openNamespace(out, 'signalbox')
    for (let i = 0; i < decision.recordNames.length; i++)
      writeStringField(out, decision.recordNames[i]!, decision.recordValues[i]!)
    closeNamespace(out)
  }
  out.close()
}

/** `dynamic_metadata` of numbers alone. */
export function writeNumbers(out: WireWriter, numbers: MetadataNumbers): void {
  out.open(DYNAMIC_METADATA)
  for (const [namespace, fields] of numbers) {
    openNamespace(out, namespace)
    for (const [key, value] of fields) writeNumberField(out, key, value)
    closeNamespace(out)
  }
  out.close()
}

/** A `Struct.fields` entry whose value is a struct of numbers. */
function writeScores(out: WireWriter, { scoreNames, scores }: Decision): void {
  openNamespace(out, ENDPOINT_SCORES)
  for (let i = 0; i < scores.length; i++) writeNumberField(out, scoreNames[i]!, scores[i]!)
  closeNamespace(out)
}

/** One `Struct.fields` entry with a number. */
function writeNumberField(out: WireWriter, name: string, value: number): void {
  out.open(1)
  out.text(1, name)
  out.open(2)
  out.double(2, value)
  out.close()
  out.close()
}

/** `Struct.fields[namespace] = Value{struct_value: {` */
function openNamespace(out: WireWriter, namespace: string): void {
  out.open(1)
  out.text(1, namespace)
  out.open(2)
  out.open(5)
}

function closeNamespace(out: WireWriter): void {
  out.close()
  out.close()
  out.close()
}

/** One `Struct.fields` entry with a string value. */
function writeStringField(out: WireWriter, name: string, value: string): void {
  out.open(1)
  out.text(1, name)
  out.open(2)
  out.text(3, value)
  out.close()
  out.close()
}
