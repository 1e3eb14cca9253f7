#!/usr/bin/env bash
# Five-fold cross-validation of the default beside the baselines and the published preset, and a learning curve;
# `table.py FOLDER` prints the tables of docs/results.md from it. Start it again to go on where it was stopped.
#   run.sh DATA FOLDER
# METHODS names the baselines (default: all) and PUBLISHED the variants with the published preset (default: the
# seven) for the sample and the pilot; GENOME_METHODS the baselines of the segmentation (default: mean, ridge,
# gradient-boosting, random-forest, deepchrome; all take hours). CURVE gives the numbers of training genes (default:
# 200 1000 4000; then all), CURVE_EPOCHS the epochs of the published preset on all of them (default: 20; 90 take hours).
set -euo pipefail
data=$(cd "${1:?folder of the data}" && pwd)
mkdir -p "${2:?folder for the results}" && cd "$2"
methods=${METHODS:-all}
published=${PUBLISHED:-raw:d,raw:c,raw,aux,raw+aux,aux+siamese,raw+aux+siamese}
genome_methods=${GENOME_METHODS:-mean,ridge,gradient-boosting,random-forest,deepchrome}
genes="$data/gtf/gencode_v10_genes_hg19.gtf.gz"
rpkm="$data/expression/roadmap_rpkm_53cells.tsv.gz"

[ -e sample.h5 ] || diffchrom prepare --deepdiff "$data/deepdiff_sample" --store sample.h5
[ -e pilot.h5 ] || diffchrom prepare --gtf "$genes" --bigwigs "$data"/roadmap_pilot/*.bigwig \
    --expression "$rpkm" --min-coverage 1 --store pilot.h5
[ -e segmentation.h5 ] || diffchrom prepare --gtf "$genes" --bigwigs "$data"/segmentation/*.bw \
    --expression "$rpkm" --store segmentation.h5

# NAME BASELINES: a fold of the default and of every baseline is a job.
folds() {
    diffchrom sweep --store "$1.h5" --pairs "$3" --folds 5 --variants additive --presets default --baselines "$2" \
        --out "$1" > "$1.default.tsv"
}

for name in sample pilot; do
    [ $name = sample ] && pairs=Cell1,Cell2 || pairs=E003,E116
    folds $name "$methods" $pairs
    diffchrom sweep --store $name.h5 --pairs $pairs --folds 5 --variants "$published" --presets published --out $name \
        > $name.published.tsv
done
folds segmentation "$genome_methods" E116,E127
for name in sample pilot segmentation; do
    diffchrom compare $name --output $name.runs.tsv
    diffchrom compare $name --summary --output $name.paired.tsv
done

# SPLIT NAME [OPTION...]: the three methods of the learning curve.
curve() {
    split=$1 name=$2
    shift 2
    diffchrom train --store segmentation.h5 --pair E116,E127 --split "$split" --out "curve/default.$name" --resume
    diffchrom baseline --store segmentation.h5 --pair E116,E127 --split "$split" --method ridge --out "curve/ridge.$name" --resume
    diffchrom train --store segmentation.h5 --pair E116,E127 --split "$split" --variant raw+aux+siamese --preset published \
        --out "curve/published.$name" --resume "$@"
}

for n in ${CURVE:-200 1000 4000}; do
    curve "chromosome.train$n" "$n"
done
curve chromosome all --epochs "${CURVE_EPOCHS:-20}"
