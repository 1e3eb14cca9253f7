#!/usr/bin/env bash
# Runs the five steps of docs/five-steps.md on the Roadmap pilot tracks and prints them with their output.
set -euo pipefail
data=$(realpath "${DIFFCHROM_SHARED_DATA:-../shared/data}")
cd "$(mktemp -d)"
mkdir E003 E116
for file in "$data"/roadmap_pilot/*.bigwig; do
    cell=$(basename "$file" | cut -d- -f1)
    ln -s "$file" "$cell/"
done
ln -s "$data/gtf/gencode_v10_genes_hg19.gtf.gz" genes.gtf.gz
ln -s "$data/expression/roadmap_rpkm.tsv.gz" rpkm.tsv.gz

step() {
    echo "    \$ $1"
    bash -c "$1" 2>&1 | cut -c1-140 | sed 's/^/    /'
    echo
}

step 'diffchrom prepare --gtf genes.gtf.gz --bigwigs E003/* --bigwigs E116/* --expression rpkm.tsv.gz'
step 'diffchrom train --out runs/mine'
step 'diffchrom predict runs/mine --split test --top 3 --down'
step 'diffchrom attend runs/mine --format bed --split test --top 1 | head -n 4'
step 'diffchrom baseline --method ridge'
