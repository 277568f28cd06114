export const EPP_HELP = `Usage: signalbox epp --pool-name NAME [flags]
       signalbox epp --endpoint-selector LABELS --endpoint-target-ports PORTS [flags]

Runs Signalbox as the endpoint picker of an InferencePool, with the flags of llm-d's endpoint picker (and of GIE's lwepp), so that a Deployment
only changes its image: flags without a command, 'signalbox --pool-name NAME', mean this one.
Flags are read as Go reads them: -flag, --flag value, --flag=value, --bool, --bool=false.

Pools
  --pool-name NAME                 the InferencePool; may be given several times, with NAMESPACE/NAME for those of other namespaces
  --pool-namespace NAME            [$NAMESPACE, else default]
  --pool-group GROUP               API group of the pools [inference.networking.k8s.io]
  --pools-of-service NAME          instead: all pools of the namespace whose endpointPickerRef names this Service
  --all-pools                      instead: all pools of the namespace; with --pool-namespace '' of all namespaces
  --endpoint-selector LABELS       instead: no InferencePool, but the pods of the namespace with these labels (a=b,c=d), at
  --endpoint-target-ports PORTS    these ports (1-8, comma-separated); the pool has the name of the Deployment in $POD_NAME
  --model-pool MODEL=POOL          the pool that serves a model (* for all others), for a filter of ours in the gateway that picks at once
                                   (signalbox manifests one-hop); may be given several times
  --kubeconfig FILE                [$KUBECONFIG, else the pod's service account, else ~/.kube/config]

Configuration
  --config-file FILE               an EndpointPickerConfig; read again when it changes
  --config-text YAML               the same as text
  --allow-experimental-plugins     plug-ins that llm-d calls Alpha [false]
  --emit-endpoint-scores           tell candidates' scores in the dynamic metadata envoy.lb, x-gateway-destination-endpoint-scores
  --disable-endpoint-subset-filter pass the gateway's subset hint over [false]
  --refresh-metrics-interval D     pause between two scrapes of an endpoint, at least 50ms [50ms]
  --metrics-staleness-threshold D  age of the last scrape from which an endpoint's load counts as unknown [2s]

Ports
  --grpc-port N                    ext_proc, and gRPC health too [9002]
  --grpc-health-port N             gRPC health in plaintext [9003]
  --metrics-port N                 /metrics, /healthz, /readyz, /pools and so on [9090]
  --metrics-endpoint-auth          only who may get the path (TokenReview, SubjectAccessReview) reads there; health is open [true]
  --metrics-cert-dir FOLDER        with tls.crt and tls.key: TLS on that port, health too, read again as --enable-cert-reload says [plaintext]
  --metrics-client-ca-file FILE    clients there must show a certificate that it has signed
  --grpc-max-recv-msg-size SIZE    longest ext_proc message, such as 4Mi [256Mi]
  --secure-serving                 ext_proc over TLS [true]
  --cert-path FOLDER               with tls.crt and tls.key [self-signed]
  --enable-cert-reload             read them again when they change [true]
  --tls-min-version V              VersionTLS12 or VersionTLS13 [VersionTLS12]
  --tls-cipher-suites NAMES        of TLS 1.2, by Go's names [node's]
  --health-checking                health on the ext_proc port; it always is there
  --drain-timeout D                after SIGTERM everything is served on, NOT_SERVING, for so long or until nobody is connected; then
                                   open streams get 90 s to finish [30s]

Replicas: all serve, and tell each other what they do (--peers; docs/replicas.md)
  --ha-enable-leader-election      instead only one of them is ready, the holder of the Lease epp-NAMESPACE-POOL.llm-d.ai [false]
  --leader-elect-lease-duration D  after which a leader that is not heard of is followed by another; whole seconds [15s]
  --leader-elect-renew-deadline D  after which a leader that cannot renew the Lease leads no longer [10s]
  --leader-elect-retry-period D    between two attempts to renew; to acquire up to 2.2 times as much [2s]

Log
  -v N                             0-2 info, 3-4 debug, 5 trace [2]
  --zap-log-level L                debug, info, error, or a number as for -v
  --zap-devel                      debug

Metrics and traces
  --compat-metrics                 llm-d's names of metrics (llm_d_epp_*, bbr_*) beside ours; docs/metrics.md [false]
  --enable-grpc-stream-metrics     ext_proc streams by status and duration [false]
  --tracing                        traces, where OTEL_EXPORTER_OTLP_ENDPOINT or --otlp-endpoint says where to; docs/tracing.md [true]

Of signalbox serve: --threads, --transport, --trust, --client-ca, --mode-override, --max-held-bytes, --max-connection-age, --max-streams,
--max-connections, --log-level, --peers, --peer-listen, --peer-tls, --plugins, --explain-key-file, --trace-file, --trace-share,
--trace-max-bytes, --request-metrics, --plugin-metrics, --otlp-endpoint, --otlp-protocol, --span-share.
Accepted without an effect, with a line of the log: --refresh-prometheus-metrics-interval, --grpc-max-send-msg-size, --enable-pprof,
--zap-encoder, --zap-stacktrace-level, --zap-time-encoding.
Refused: --*-metric.
`
