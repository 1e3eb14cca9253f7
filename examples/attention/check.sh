#!/usr/bin/env bash
# Trains variants with two seeds each and checks the attention of the first: the table of docs/attend.md.
#   check.sh STORE FOLDER VARIANT [VARIANT...]
# OPTIONS are further ones of `train` (--pair A,B, --preset published, --split NAME). What is finished is kept;
# `checked.py FOLDER...` prints the table.
set -euo pipefail
store=${1:?store} folder=${2:?folder for the runs}
shift 2

for variant in "$@"; do
    run="$folder/${variant//[:+]/-}"
    for seed in 0 1; do
        [ -e "$run.seed$seed/predictions.tsv" ] ||
            diffchrom train --store "$store" --variant "$variant" --seed $seed --no-ridge ${OPTIONS:-} --out "$run.seed$seed"
    done
    [ -e "$run.check.tsv" ] || diffchrom attend "$run.seed0" --store "$store" --split test --check -o "$run.check.tsv"
done
