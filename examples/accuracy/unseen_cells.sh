#!/usr/bin/env bash
# How well models do on cells that they have not seen: every choice of one cell held out, and with four cells or more
# of two, of one model of all other pairs, beside the model of each pair itself.
#   unseen_cells.sh STORE A,B,C[,D...] FOLDER
# VARIANTS and BASELINES name what is fitted (default: additive; ridge; with commas between them), OPTIONS goes to every
# command (as in OPTIONS="--normalise quantile"), THREADS is the number of cores. Start it again to go on.
set -euo pipefail
store=${1:?store} cells=${2:?cells, with commas between them} out=${3:?folder for the results}
here=$(cd "$(dirname "$0")" && pwd)
IFS=, read -ra names <<< "$cells"
mkdir -p "$out"

# METHOD FOLDER [OPTION...]: one run with the command `what`; a run that is finished already stays.
fit() {
    folder=$out/$1.$2
    shift 2
    # shellcheck disable=SC2086
    diffchrom "${what[@]}" --store "$store" --threads "${THREADS:-1}" --resume --out "$folder" -q ${OPTIONS:-} "$@" \
        > /dev/null
}

# METHOD: all choices.
all_choices() {
    for ((i = 0; i < ${#names[@]}; i++)); do
        a=${names[i]}
        fit "$1" "without-$a" --cells "$cells" --hold-out "$a"
        for ((j = i + 1; j < ${#names[@]}; j++)); do
            b=${names[j]}
            fit "$1" "own-$a-$b" --pair "$a,$b"
            if ((${#names[@]} > 3)); then
                fit "$1" "without-$a-$b" --cells "$cells" --hold-out "$a,$b"
            fi
        done
    done
}

IFS=, read -ra variants <<< "${VARIANTS-additive}"
IFS=, read -ra baselines <<< "${BASELINES-ridge}"
for method in "${variants[@]}"; do
    what=(train --variant "$method" --no-ridge)
    all_choices "${method//:/-}"
done
for method in "${baselines[@]}"; do
    what=(baseline --method "$method")
    all_choices "$method"
done
python "$here/unseen_cells.py" "$out"
