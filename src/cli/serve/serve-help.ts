import { MEASURING_HELP } from './measuring-options.ts'
import { PEER_HELP } from './peer-options.ts'

export const SERVE_HELP = `Usage: signalbox serve --config FILE|FOLDER [options]
       signalbox serve --kubernetes [--config FILE|FOLDER] [options]

Runs Signalbox: the xDS server that configures Envoys, the ext_proc service that decides their requests, and the admin port.
Configuration is read again when it changes; a bad one is refused whole, with every error, and the last good one stays.

  --config PATH            file or folder of YAML or JSON; may be given several times
  --kubernetes             follow the InferencePools of a Kubernetes API server, what refers to them, and their pods
  --kubeconfig FILE        how to reach it (with --kubernetes) [$KUBECONFIG, else the pod's service account, else ~/.kube/config]
  --namespace NAME         follow one namespace only (with --kubernetes) [all]
  --ext-proc HOST:PORT     where the ext_proc service (and its gRPC health) listens [127.0.0.1:9002]; unix:/PATH for a socket
  --xds HOST:PORT          where the xDS server listens [127.0.0.1:18000]; 'off' where Envoys are configured by others
  --admin HOST:PORT        /metrics, /healthz, /readyz, /pools, /clients, /threads, /configuration [127.0.0.1:9090]; 'off'
  --advertise HOST         how Envoys reach this host [where we listen]

  --pool NAMESPACE/NAME    serve streams of gateways that we don't configure as the endpoint picker of this InferencePool
  --mode-override MODE     when such a gateway sends no bodies: none (decide on headers), buffered, full-duplex (Envoy 1.40). Only where its
                           filter has allow_mode_override: elsewhere it takes our question for a go-ahead [none]
  --tls MODE               ext_proc over TLS: off, self-signed, or CERTFILE,KEYFILE (read again when they change) [off]
  --client-ca FILE         require client certificates signed by this authority (with --tls)
  --xds-tls CERT,KEY       xDS and access logs over TLS: files with the certificate and its key (read again when they change) [plaintext]
  --xds-client-ca FILE     require client certificates there, signed by this authority (with --xds-tls)
  --tls-ca FILE            authority by which Envoys of our fleet verify our certificates and their names (with --tls CERTFILE,KEYFILE or
                           --xds-tls; read at the start) [they do not verify them]
  --tls-client CERT,KEY    files on Envoys' machines with the certificate that they show (with --client-ca or --xds-client-ca)

  --access-log-service on|off   in-flight counts fall by Envoy's gRPC access log; off: by the next metrics scrape [on]
  --descriptors FILE       a FileDescriptorSet, for raw Envoy resources with types or fields that Signalbox does not know
  --plugins FILE[,FILE …]  modules (JavaScript or TypeScript) with plug-ins of your own for an EndpointPickerConfig; see docs/own-plug-ins.md
  --embedded               carry the traffic too, with the embedded data plane (where there is no Envoy)
  --threads N              threads that decide requests [one per core, at most 64]. Several share the port of --ext-proc; Envoys that we configure reach
                           thread i (1, 2, …) at port + i as well (any free one with port 0). Of a socket PATH, the first thread has PATH itself,
                           the others PATH.1, PATH.2, …
  --transport own|node     HTTP/2 of the ext_proc service: our own, or node's [own]
  --trust all|verified     whose resets and control frames are not counted as a flood: everybody's who reaches the port; or those
                           of peers with a verified certificate only, and then others may come without one (with --client-ca) [all]
  --max-held-bytes N       request bytes held by all streams together; beyond it 503 [536870912]
  --max-connection-age S   seconds after which a gateway's connection is replaced, ±10 % [never]
  --max-streams N          requests of one gateway connection at a time, 1 to 1000000; more wait at the gateway, or are refused (REFUSED_STREAM) [4096]
  --max-connections N      gateways' connections to one thread at a time, 1 to 1000000; more get GOAWAY(ENHANCE_YOUR_CALM) [10000]
  --drain S                seconds for open streams at SIGTERM; then they end with UNAVAILABLE [20]
  --emit-endpoint-scores   tell the scores of a pick's candidates in the dynamic metadata envoy.lb, x-gateway-destination-endpoint-scores
  --explain-key-file FILE  requests with its content in the header x-signalbox-explain are told how they were decided; see docs/decisions.md
  --explain-clients-file FILE  … and those that come with one of its TLS client certificates (SHA-256 fingerprints); needs --client-ca
  --trace-file FILE        a sample of the decisions as JSON lines, for 'signalbox replay'; holds hashes of prompts only
  --trace-share N          share of the decisions in it, 0 to 1 (with --trace-file) [0.01]
  --trace-max-bytes N      of one file; three are kept: FILE, FILE.1, FILE.2 (with --trace-file) [67108864]
${MEASURING_HELP}
${PEER_HELP}
  --log-level LEVEL        trace, debug, info, warn, error, fatal, silent [info]
`
