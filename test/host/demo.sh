#!/bin/sh
# npm run demo: installs the project's packages when they are missing or older than the lock file, then shows the machine.
set -eu
cd "$(dirname "$0")/../.."
missing() {
  echo "npm run demo $1" >&2
  exit 1
}
[ "$(uname -s)" = Linux ] || missing 'needs Linux: it boots a Debian host with systemd in namespaces.'
[ "$(id -u)" = 0 ] || missing 'needs root: it mounts overlays and boots a host with systemd-nspawn.'
command -v apt-get >/dev/null || missing 'needs Debian or Ubuntu: it installs its tools with apt-get.'
command -v git >/dev/null || missing 'needs git: run apt-get install git.'
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  npm ci
fi
exec node_modules/.bin/node test/host/demo.ts "$@"
