#!/usr/bin/env bash
# The sweeps, tables, figures and reports behind docs/results.md; further options go to `diffchrom sweep`.
# NAMES says which (default: sample pilot; segmentation, of all baselines on a whole genome, takes hours).
set -euo pipefail
plans=$(cd "$(dirname "$0")" && pwd)
data=$(cd "${1:?folder of the data}" && pwd)
mkdir -p "${2:?folder for the results}" && cd "$2"
shift 2

[ -e sample.h5 ] || diffchrom prepare --deepdiff "$data/deepdiff_sample" --store sample.h5
[ -e pilot.h5 ] || diffchrom prepare --gtf "$data/gtf/roadmap_genes_hg19.gtf.gz" \
    --bigwigs "$data"/roadmap_pilot/*.bigwig --expression "$data/expression/roadmap_rpkm.tsv.gz" \
    --min-coverage 1 --store pilot.h5

names=${NAMES:-sample pilot}
if [[ " $names " == *" segmentation "* && ! -e segmentation.h5 ]]; then
    diffchrom prepare --gtf "$data/gtf/roadmap_genes_hg19.gtf.gz" --bigwigs "$data"/segmentation/*.bw \
        --expression "$data/expression/roadmap_rpkm.tsv.gz" --store segmentation.h5
fi

for name in $names; do
    diffchrom sweep --plan "$plans/$name.toml" --store $name.h5 --out $name "$@" > $name.summary.tsv || failed=1
    diffchrom compare $name --output $name.runs.tsv
    diffchrom compare $name --summary --plot $name.figure4.svg --output $name.table1.tsv
    diffchrom report $name --output $name.report.html
    python "$plans/table.py" $name > $name.table.md
done
exit "${failed:-0}"
