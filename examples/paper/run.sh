#!/usr/bin/env bash
# From the downloaded files to the tables and figures of the paper; what is done already is not done again.
# Options are handed to `diffchrom sweep`: --workers 8, --dask tcp://..., --epochs 2 for a rehearsal.
set -euo pipefail
cd "$(dirname "$0")"
diffchrom prepare --gtf data/gencode.v10.annotation.gtf.gz --samples samples.tsv \
    --expression data/57epigenomes.N.pc.gz --store roadmap.h5
diffchrom sweep --plan plan.toml "$@"
diffchrom compare sweep --output runs.tsv
diffchrom compare sweep --summary --plot figure4.pdf --output table1.tsv
diffchrom report sweep --output report.html
