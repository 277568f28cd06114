/** A pool of one endpoint, for tests of what an EndpointPickerConfig becomes: `default/p`. */
export function pickedPool(annotations = '{}'): string {
  return `
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: { name: p, annotations: ${annotations} }
spec: { selector: { matchLabels: { app: x } }, targetPorts: [{ number: 1 }] }
---
apiVersion: signalbox.dev/v1alpha1
kind: SignalboxBackend
metadata: { name: b, labels: { app: x } }
spec: { endpoints: [{ address: 10.0.0.1, port: 8000 }] }
`
}
