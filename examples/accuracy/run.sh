#!/usr/bin/env bash
# Five-fold cross-validation of the default preset beside the baselines, and a learning curve; `table.py FOLDER` prints
# the table "Cross-validation" of docs/results.md from it. Further options go to `diffchrom train`, as in
#   run.sh DATA FOLDER --ensemble 3 --epochs 7
# METHODS names the baselines (default: ridge,gradient-boosting,random-forest), CURVE the numbers of training
# genes (default: 200 1000 4000; the published preset takes half an hour of 4,000). Start it again to go on.
set -euo pipefail
data=$(cd "${1:?folder of the data}" && pwd)
mkdir -p "${2:?folder for the results}" && cd "$2"
shift 2
methods=${METHODS:-ridge,gradient-boosting,random-forest}
genes="$data/gtf/roadmap_genes_hg19.gtf.gz"
rpkm="$data/expression/roadmap_rpkm.tsv.gz"

[ -e sample.h5 ] || diffchrom prepare --deepdiff "$data/deepdiff_sample" --store sample.h5
[ -e pilot.h5 ] || diffchrom prepare --gtf "$genes" --bigwigs "$data"/roadmap_pilot/*.bigwig \
    --expression "$rpkm" --min-coverage 1 --store pilot.h5
[ -e segmentation.h5 ] || diffchrom prepare --gtf "$genes" --bigwigs "$data"/segmentation/*.bw \
    --expression "$rpkm" --store segmentation.h5

for name in sample pilot segmentation; do
    diffchrom train --store $name.h5 --folds 5 --out $name/default "$@" > $name.default.tsv
    diffchrom baseline --store $name.h5 --method "$methods" --folds 5 --out $name/baselines > $name.baselines.tsv
    diffchrom compare $name/default $name/baselines/* --output $name.runs.tsv
    diffchrom compare $name/default $name/baselines/* --summary --output $name.paired.tsv
done

for n in ${CURVE:-200 1000 4000}; do
    split=chromosome.train$n
    diffchrom train --store segmentation.h5 --split $split --out curve/default.$n --resume "$@"
    diffchrom baseline --store segmentation.h5 --split $split --method ridge --out curve/ridge.$n --resume
    diffchrom train --store segmentation.h5 --split $split --variant raw+aux+siamese --preset published \
        --out curve/published.$n --resume
    diffchrom compare curve/default.$n curve/ridge.$n curve/published.$n --output curve.$n.tsv
done
