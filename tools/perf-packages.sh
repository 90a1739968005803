#!/bin/sh
# perf-packages.sh PYTHON: Debian packages of what `make bench-counters` compares with. Lists what is
# missing; installs it as root. Never fails: what is missing then stands in the table.
set -u
python=$1
missing=
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need perf linux-perf
need swig swig
need g++ g++
headers='import os, sysconfig; os.stat(os.path.join(sysconfig.get_path("include"), "Python.h"))'
"$python" -c "$headers" 2>/dev/null || missing="$missing python3-dev"
[ -e /usr/include/perfmon/pfmlib.h ] || missing="$missing libpfm4-dev"
[ -z "$missing" ] && exit 0
echo "make bench-counters compares with tools that need these Debian packages:$missing"
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "  fix: sudo apt-get install$missing" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086  # a list of words
apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
    echo "some of them cannot be installed here" >&2
exit 0
