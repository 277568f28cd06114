#!/usr/bin/env bash
# with-engine.sh COMMAND...
# Runs COMMAND with DOCKER_HOST pointing at a Docker engine of its own, which is gone afterwards with everything in it.
# Needs root and dockerd (Debian: apt-get install docker.io docker-compose). For machines on which no engine runs:
#   sudo test/containers/with-engine.sh npm run jest -- test/containers
set -euo pipefail
[ $# -gt 0 ] || { echo "usage: $0 COMMAND..." >&2; exit 2; }
for program in dockerd docker docker-compose; do
  command -v "$program" >/dev/null || { echo "$0: no $program here (Debian: apt-get install docker.io docker-compose)" >&2; exit 3; }
done
work=$(mktemp -d /tmp/signalbox-engine-XXXXXX)
engine=
stop() {
  if [ -n "$engine" ]; then kill "$engine" 2>/dev/null || true; wait "$engine" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM
export DOCKER_HOST=unix://$work/docker.sock
dockerd --host "$DOCKER_HOST" --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/pid" >"$work/log" 2>&1 &
engine=$!
for _ in $(seq 100); do
  if docker info >/dev/null 2>&1; then
    "$@" && status=0 || status=$?
    exit "$status"
  fi
  kill -0 "$engine" 2>/dev/null || break
  sleep 0.3
done
echo "$0: dockerd did not come up:" >&2
tail -15 "$work/log" >&2
exit 3
