#!/bin/sh
# Sets up .venv beside the program: sh scripts/setup.sh app|test. run.sh and test.sh call it at every start; where nothing
# has changed since the last time it only looks, and says nothing. PYTHON names the Python to use instead of looking.
set -eu

case ${1-} in
    app) extras='' purpose='the app needs' ;;
    test) extras='[test]' purpose='the tests need' ;;
    *) echo "usage: sh scripts/setup.sh app|test" >&2; exit 2 ;;
esac
here=$(cd "$(dirname "$0")/.." && pwd)
venv=$here/.venv
stamp=$venv/set-up-for-$1
export PIP_DISABLE_PIP_VERSION_CHECK=1

fail() {
    echo "$*" >&2
    exit 1
}

# Which Python is in the environment, where it lies, what it should hold: once one of these is another, it is set up anew.
state() {
    "$venv/bin/python" -VV && echo "$here" && cat "$here/pyproject.toml" "$here"/requirements*.txt
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

usable() {
    new_enough "$venv/bin/python" &&
        { "$venv/bin/python" -m pip --version || "$venv/bin/python" -m ensurepip; } >/dev/null 2>&1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        set -- "$PYTHON"
    else
        set -- python3 python3.14 python3.13 python3.12 python3.11
    fi
    for python; do
        new_enough "$python" && return
    done
    return 1
}

# Debian and Ubuntu keep parts of Python in packages of their own.
apt_install() {
    command -v apt-get >/dev/null || return 1
    if [ "$(id -u)" = 0 ]; then
        sudo=''
    elif command -v sudo >/dev/null; then
        sudo='sudo'
    else
        return 1
    fi
    echo "Installing $* with apt-get"
    $sudo apt-get update -qq &&
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

if [ -e "$stamp" ] && state 2>/dev/null | cmp -s - "$stamp"; then
    exit
fi

if ! usable; then
    if ! find_python && [ -z "${PYTHON:-}" ] && ! command -v python3 >/dev/null; then
        apt_install python3 python3-venv || true
    fi
    find_python || fail "senet_viz needs Python 3.11 or newer, and ${PYTHON:-python3} is" \
        "$("${PYTHON:-python3}" -V 2>/dev/null || echo missing): install one, or name it, PYTHON=/path/to/python3."
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        apt_install "${python##*/}-venv" || fail "$python cannot make environments: have ${python##*/}-venv installed."
    fi
    echo "Making .venv with $("$python" -V)"
    "$python" -m venv --clear "$venv"
fi

echo "Installing what $purpose into .venv; the first time this downloads several gigabytes, PyTorch above all"
"$venv/bin/python" -m pip install --editable "$here$extras"
state > "$stamp.part"
mv "$stamp.part" "$stamp"
