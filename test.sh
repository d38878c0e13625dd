#!/bin/sh
# Runs the tests, and sets up .venv first where there is none. What follows goes to pytest: ./test.sh tests/gates
set -eu
cd "$(dirname "$0")"
sh scripts/setup.sh test
exec .venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"
