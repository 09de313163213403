#!/bin/sh
# Puts uv into .tools/ and everything else into .venv, from uv.lock. Safe to run twice; quick when nothing changed.
set -eu
cd "$(dirname "$0")/.."
uv_version=0.13.8
stamp=.venv/.ktrain-stamp
wanted=$(cat uv.lock pyproject.toml hack/setup.sh | cksum)

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    exit 0
fi

find_python() {
    for name in python3.13 python3.12 python3.11 python3; do
        if command -v "$name" >/dev/null 2>&1 && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    echo "setup: ktrain needs Python 3.11 or newer, and none is on the PATH; install it and run make again" >&2
    exit 1
}

make_tools() {
    if "$python" -m venv .tools/uv >/dev/null 2>&1; then
        return
    fi
    # Debian keeps venv in a package of its own.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "setup: installing python3-venv"
        apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
        "$python" -m venv .tools/uv
    else
        echo "setup: $python cannot make virtual environments; install its venv package (Debian: apt-get install python3-venv) and run make again" >&2
        exit 1
    fi
}

python=$(find_python)
if [ ! -x .tools/uv/bin/uv ] || ! .tools/uv/bin/uv --version | grep -q " $uv_version"; then
    echo "setup: uv $uv_version into .tools/"
    make_tools
    .tools/uv/bin/pip install --quiet --disable-pip-version-check "uv==$uv_version"
fi
echo "setup: packages of uv.lock into .venv (the first time about 3 GB, most of it torch)"
# Only a new environment is told which Python: for an existing one another path to the same Python would remake it.
[ -x .venv/bin/python ] || .tools/uv/bin/uv venv --quiet --python "$python" .venv
# Inexact: what `make bench` and `make docs` have added stays.
.tools/uv/bin/uv sync --frozen --quiet --inexact
echo "$wanted" >"$stamp"
echo "setup: ready"
