#!/usr/bin/env bash
# From the downloaded files in data/ to the paper's tables and figures in results/; start it again to go on.
# EPOCHS=2 ends every training after two epochs, for a rehearsal. Options are handed to `diffchrom sweep`:
# --seeds 3, --workers 8, --dask tcp://HOST:8786.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p results

if [ -d data/ProcessedData ]; then # the authors' own counts; the format has neither RPKM nor places
    [ -e paper.h5 ] || diffchrom prepare --deepdiff data/ProcessedData --store paper.h5
    diffchrom prepare --expression data/57epigenomes.RPKM.pc.gz --store paper.h5
else
    diffchrom prepare --gtf data/gencode.v10.annotation.gtf.gz --samples samples.tsv --regions tss,tes_bins \
        --expression data/57epigenomes.N.pc.gz data/57epigenomes.RPKM.pc.gz \
        --orient genome --split published --store paper.h5
fi

for plan in main classification figure5; do
    diffchrom sweep --plan $plan.toml ${EPOCHS:+--epochs "$EPOCHS"} "$@" > results/$plan.tsv
done

runs_of() { # SWEEP PRESET; a baseline at our settings has no preset in its name
    for run in "$1"/*/; do
        case $run in *.published.*) of=published ;; *) of=default ;; esac
        if [ $of = "$2" ]; then echo "$run"; fi
    done
}
for preset in published default; do
    diffchrom compare $(runs_of main $preset) --pairs pairs.txt --output results/figure4.$preset.tsv
    diffchrom compare $(runs_of main $preset) --pairs pairs.txt --summary --percent \
        --plot results/figure4.$preset.pdf --name-best --output results/table1.$preset.tsv
    diffchrom compare $(runs_of classification $preset) --pairs pairs-classification.txt --summary --percent \
        --plot results/appendix-figure2.$preset.pdf --name-best --output results/appendix-table3.$preset.tsv
    diffchrom attend figure5/*.$preset.seed0 --store paper.h5 --split test --up 8 --down -8 \
        --plot results/figure5.$preset.pdf --output results/figure5.$preset.tsv
    python beside.py $preset > results/beside-the-paper.$preset.md
done
diffchrom report main --output results/report.html
