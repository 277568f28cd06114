# The image of Signalbox: Node.js, the dependencies and the sources, which run unbuilt.
#   docker build -t signalbox .
#   docker build --build-arg NODE_IMAGE=registry.example/node:24 -t signalbox .
# NODE_IMAGE needs Node.js 24 or newer, npm and a shell (glibc or musl); BASE_IMAGE, what the result stands on, needs no npm.
ARG NODE_IMAGE=node:24-trixie-slim
ARG BASE_IMAGE=${NODE_IMAGE}

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /opt/signalbox
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error

FROM ${BASE_IMAGE}
WORKDIR /opt/signalbox
ENV NODE_ENV=production
COPY --from=dependencies /opt/signalbox/node_modules node_modules
COPY package.json LICENSE ./
COPY bin bin
COPY src src
# Any user will do, and nothing has to be written to. This one finds a compile cache, filled with what every command loads and with what is
# loaded late: it starts in half of the time and needs less memory. Others keep one in a home of theirs, or do without.
RUN mkdir -p node_modules/.cache/signalbox && chown 65532:65532 node_modules/.cache/signalbox
USER 65532:65532
RUN bin/signalbox --help >/dev/null && NODE_COMPILE_CACHE=node_modules/.cache/signalbox node --max-semi-space-size=2 --eval \
  "for (const late of ['threads/worker.ts', 'cli/serve/trace-exporter.ts']) import('/opt/signalbox/src/' + late).catch(() => {})"
# xDS, ext_proc, administration and metrics.
EXPOSE 18000 9002 9090
# Ready = a configuration is loaded and both servers accept streams.
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:9090/readyz').then(r => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["/opt/signalbox/bin/signalbox"]
CMD ["serve", "--config", "/etc/signalbox", "--xds", "0.0.0.0:18000", "--ext-proc", "0.0.0.0:9002", "--admin", "0.0.0.0:9090"]
