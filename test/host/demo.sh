#!/bin/sh
# npm run demo: installs the project's packages when they are missing or older than the lock file, then shows the machine.
set -eu
cd "$(dirname "$0")/../.."
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  npm ci
fi
exec node_modules/.bin/node test/host/demo.ts "$@"
