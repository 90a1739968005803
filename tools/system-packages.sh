#!/bin/sh
# system-packages.sh PYTHON: Debian packages that the tests need beyond Python. Lists what is
# missing; installs it as root, else says how.
set -eu
python=$1
missing=
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need gcc gcc
need chromium chromium
need stress stress
need stress-ng stress-ng
need pdflatex "texlive-latex-base texlive-latex-recommended texlive-science"
[ -e /usr/include/stdlib.h ] || missing="$missing libc6-dev"
ldconfig -p 2>/dev/null | grep -q libusb-1.0.so.0 || missing="$missing libusb-1.0-0"
ldconfig -p 2>/dev/null | grep -q libpfm.so.4 || missing="$missing libpfm4"
headers='import os, sysconfig; os.stat(os.path.join(sysconfig.get_path("include"), "Python.h"))'
"$python" -c "$headers" 2>/dev/null || missing="$missing python3-dev"
"$python" -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
[ -z "$missing" ] && exit 0
echo "the tests need these Debian packages:$missing"
if [ "$(id -u)" != 0 ]; then
    echo "  fix: sudo apt-get install$missing" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086  # a list of words
apt-get install -y -qq --no-install-recommends $missing
