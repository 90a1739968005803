#!/bin/sh
# study.sh PYTHON NAME: CV, NLP, RL and stress, two short trials each, on an emulated machine whose
# power follows what the processors really do; then the report NAME.html and the table NAME.csv.
# Killed, it goes on where it was; `make clean` removes what it made.
set -eu
python=$1
name=$2
if ! command -v stress >/dev/null 2>&1; then
    echo "the study needs the Debian package stress"
    if [ "$(id -u)" != 0 ]; then
        echo "  fix: sudo apt-get install stress" >&2
        exit 1
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends stress
fi
# the emulated machine is a mount namespace with a FUSE filesystem
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
code=0
$as_root "$python" -P -m pactmeter bench run --psu hx1500i --rapl 1x --load follow -- \
    "$python" -P -m pactmeter study run studies/all.toml --profile tiny -o "$name" || code=$?
# what has failed is told in the report
"$python" -P -m pactmeter study report "$name" --html "$name.html" --csv "$name.csv" --force
exit "$code"
