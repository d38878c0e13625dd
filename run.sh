#!/bin/sh
# Opens the app, and sets up .venv first where there is none. What follows goes to "senet-viz app":
# ./run.sh --port 8600 -- --model package.module:factory
set -eu
here=$(cd "$(dirname "$0")" && pwd)
sh "$here/scripts/setup.sh" app
exec "$here/.venv/bin/python" -m senet_viz app "$@"
