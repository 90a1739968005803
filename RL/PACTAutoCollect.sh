#!/bin/sh
# As the original's: all trainings of this folder, five trials each, into ./PACTData beside this file.
cd "$(dirname "$0")" || exit
exec pactmeter study run ../studies/training.toml --profile paper --only 'rl*' -o PACTData "$@"
