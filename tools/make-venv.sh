#!/bin/sh
# make-venv.sh PYTHON FOLDER: a virtual environment with pip, or a clear word on what is missing.
set -eu
python=$1 folder=$2
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "PACT needs Python 3.11 or newer; '$python' is $("$python" -V 2>&1 || echo 'not there')" >&2
    echo "  fix: make PYTHON=python3.12 ..." >&2
    exit 1
fi
if [ -x "$folder/bin/pip" ]; then
    exit 0
fi
if "$python" -c 'import ensurepip' 2>/dev/null; then
    exec "$python" -m venv "$folder"
fi
# Debian and Ubuntu keep ensurepip in a package of its own; an installed pip can stand in for it
if "$python" -m pip --version >/dev/null 2>&1; then
    "$python" -m venv --without-pip "$folder"
    exec "$python" -m pip -q --python "$folder/bin/python" install pip
fi
echo "this Python can make no virtual environment (no ensurepip, no pip)" >&2
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing the Debian package python3-venv" >&2
    apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
    exec "$python" -m venv "$folder"
fi
echo "  fix: sudo apt-get install python3-venv" >&2
exit 1
