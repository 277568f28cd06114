const crd = (group: string, version: string, kind: string) =>
  `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: ${kind.toLowerCase()}s.${group}
  # Names under k8s.io need their approval.
  annotations: { api-approved.kubernetes.io: 'unapproved, for a test' }
spec:
  group: ${group}
  scope: Namespaced
  names: { kind: ${kind}, plural: ${kind.toLowerCase()}s, singular: ${kind.toLowerCase()} }
  versions:
    - name: ${version}
      served: true
      storage: true
      schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } }
`

/** The CRDs of what is followed, without schemas. */
export const INFERENCE_CRDS = [
  crd('inference.networking.k8s.io', 'v1', 'InferencePool'),
  crd('llm-d.ai', 'v1alpha2', 'InferenceModelRewrite'),
  crd('llm-d.ai', 'v1alpha2', 'InferenceObjective'),
].join('---')
